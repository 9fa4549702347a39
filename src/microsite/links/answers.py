"""The JSON form of opening a link, outside /api/ since its address is the link itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import request, url_for

from microsite.core.document import BINARY, PAGE, json_answer
from microsite.core.exceptions import BadRequest, TypeNotAllowed, ValidationFailed
from microsite.core.pages import absolute

from .models import Kind, Link
from .opening import Opened
from .receiving import Receiver
from .schemas import OPENED, BeforeOutput, ReceivedOutput

FIELDS = ("password", "proof")
BEFORE = {
    200: {
        "description": "What may be known before",
        "content": {"application/json": {"schema": BeforeOutput}, **PAGE},
    }
}
TO_PAGE = {"description": "To the page of what was opened, for browsers"}
CLAIMED = {
    200: {
        "description": "What the link hands out",
        "content": {
            "application/json": {"schema": {"oneOf": [*OPENED]}},
            "application/zip": {"schema": BINARY},
            **PAGE,
        },
    },
    303: TO_PAGE,
}
ZIP = {200: {"description": "A zip", "content": {"application/zip": {"schema": BINARY}}}}
RECEIVED = {201: json_answer("How many were kept", ReceivedOutput), 303: TO_PAGE}

"""What the document says of these answers."""


@dataclass(frozen=True)
class Given:
    """What a reader shows: the password, and of an encrypted note the proof of its key."""

    password: str | None = None
    proof: str | None = None


def json_body() -> Given:
    """The fields of the body; an empty body counts as `{}`. Raises BadRequest, TypeNotAllowed, ValidationFailed."""
    raw = request.get_data(cache=True)
    if not raw.strip():
        return Given()
    if not request.is_json:
        raise TypeNotAllowed(
            f"This takes application/json, not {request.mimetype or 'a body without a type'}."
        )
    body = request.get_json()
    if body is None:
        raise BadRequest("The body is null; it must be an object.")
    if not isinstance(body, dict):
        raise ValidationFailed({"body": ["The body must be an object."]})
    unknown = sorted(set(body) - set(FIELDS))
    if unknown:
        raise ValidationFailed({unknown[0]: [f"{unknown[0]} is not a field here."]})
    for name in FIELDS:
        if body.get(name) is not None and not isinstance(body[name], str):
            raise ValidationFailed({name: [f"The {name} must be text."]})
    return Given(body.get("password"), body.get("proof"))


def before_json(link: Link) -> dict[str, Any]:
    """What may be known before the claim."""
    known: dict[str, Any] = {"has_password": link.password_hash is not None}
    if link.proof_hash is not None:
        known["encrypted"] = True
    return known


def opened_json(opened: Opened) -> dict[str, Any]:
    """What the winner gets."""
    if opened.link.kind == Kind.TEXT:
        name = "text" if opened.link.proof_hash is None else "ciphertext"
        return {"kind": "text", name: opened.text}
    if opened.link.kind == Kind.UPLOAD:
        receiver = Receiver(opened)
        return {
            "kind": "upload", "max_size": receiver.limit, "types": receiver.types, "files_left": receiver.left,
            "url": absolute(url_for("links.send_in", ticket=opened.ticket)),
        }  # fmt: skip
    files = [
        {
            "name": item.name, "size": item.size, "media_type": item.media_type, "sha256": item.sha256,
            "url": absolute(url_for("links.download", ticket=opened.ticket, item_id=item.id)),
        }
        for item in opened.items
    ]  # fmt: skip
    return {"kind": "files", "files": files}
