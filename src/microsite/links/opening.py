"""The JSON form of opening a link, outside /api/ since its address is the link itself."""

from __future__ import annotations

from typing import Any

from flask import request, url_for

from microsite.core.exceptions import BadRequest, TypeNotAllowed, ValidationFailed
from microsite.core.pages import absolute

from .services import Opened


def json_body() -> str | None:
    """The password in the body; an empty body counts as `{}`. Raises BadRequest, TypeNotAllowed, ValidationFailed."""
    raw = request.get_data(cache=True)
    if not raw.strip():
        return None
    if not request.is_json:
        raise TypeNotAllowed(
            f"This takes application/json, not {request.mimetype or 'a body without a type'}."
        )
    body = request.get_json(silent=True)
    if body is None:
        raise BadRequest("The body is not valid JSON.")
    if not isinstance(body, dict):
        raise ValidationFailed({"body": ["The body must be an object."]})
    unknown = sorted(set(body) - {"password"})
    if unknown:
        raise ValidationFailed({unknown[0]: [f"{unknown[0]} is not a field here."]})
    password = body.get("password")
    if password is not None and not isinstance(password, str):
        raise ValidationFailed({"password": ["The password must be text."]})
    return password


def opened_json(opened: Opened) -> dict[str, Any]:
    """What the winner gets."""
    if opened.link.kind == "text":
        return {"kind": "text", "text": opened.text}
    files = [
        {
            "name": item.name, "size": item.size, "media_type": item.media_type, "sha256": item.sha256,
            "url": absolute(url_for("links.download", ticket=opened.ticket, item_id=item.id)),
        }
        for item in opened.items
    ]  # fmt: skip
    return {"kind": "files", "files": files}
