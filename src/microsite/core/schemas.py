"""Shapes that several features' APIs share: strict input, times, text, pages of a list."""

from __future__ import annotations

from typing import Any

from apiflask import Schema
from flask import current_app, request
from marshmallow import RAISE, ValidationError, validate
from marshmallow.fields import DateTime, Integer, String

from microsite.core.exceptions import TypeNotAllowed, ValidationFailed
from microsite.core.forms import unprintable


class Input(Schema):
    """A request body: unknown fields are refused."""

    class Meta:
        unknown = RAISE


class PageQuery(Input):
    """The query of a list."""

    limit = Integer(
        load_default=50, validate=validate.Range(1, 100), metadata={"description": "Rows, at most 100"}
    )
    cursor = String(
        load_default=None, validate=validate.Length(1, 200), metadata={"description": "From `next_cursor`"}
    )


def line(low: int, high: int) -> list[Any]:
    """Validators of a one-line text of `low` to `high` characters."""
    return [validate.Length(low, high), _printable]


def _printable(value: str) -> None:
    if unprintable(value):
        raise ValidationError("This holds characters that cannot be shown.")


def lines_of_text(low: int, high: int) -> list[Any]:
    """Validators of a text with line breaks of `low` to `high` characters."""
    return [validate.Length(low, high), _printable_lines]


def _printable_lines(value: str) -> None:
    if unprintable(value, lines=True):
        raise ValidationError("This holds characters that cannot be shown.")


class UTC(DateTime):
    """A time as RFC 3339 in UTC, with the Z."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **options: Any) -> Any:
        found = super()._serialize(value, attr, obj, **options)
        return found.replace("+00:00", "Z") if isinstance(found, str) else found


def utc(**options: Any) -> UTC:
    return UTC(format="iso", **options)


def check_request() -> None:
    """Refuse unknown query parameters (422) and bodies that are not JSON (415), for every address of the API."""
    view = current_app.view_functions.get(request.endpoint or "")
    spec: dict[str, Any] = getattr(view, "_spec", {})
    known = {
        name
        for schema, place in (a[:2] for a in spec.get("args", []))
        if place == "query"
        for name in schema.fields
    }
    unknown = sorted(set(request.args) - known - getattr(view, "query_names", set()))
    if unknown:
        raise ValidationFailed({name: [f"{name} is not a parameter of this address."] for name in unknown})
    has_body = bool(request.content_length) or "chunked" in request.headers.get("Transfer-Encoding", "")
    if "body" in spec and has_body and not request.is_json:
        given = request.mimetype or "no type"
        raise TypeNotAllowed(f"This address takes application/json, not {given}.")
