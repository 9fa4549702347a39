"""Shapes that several features' APIs share: strict input, times, text, pages of a list."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from apiflask import Schema
from flask import current_app, request
from marshmallow import RAISE, ValidationError, validate
from marshmallow.fields import Boolean, DateTime, Integer, String

from microsite.core.exceptions import TypeNotAllowed, ValidationFailed
from microsite.core.forms import unprintable


class Input(Schema):
    """A request body: unknown fields are refused."""

    class Meta:
        unknown = RAISE


class Output(Schema):
    """An answer: every field is always there, unless its metadata says `"optional": True`."""

    def on_bind_field(self, field_name: str, field_obj: Any) -> None:  # noqa: ARG002 - marshmallow's signature
        field_obj.required = not field_obj.metadata.get("optional")


class ListOutput(Output):
    """A page of a list; `items` stands in the shape of each list."""

    next_cursor = String(allow_none=True)
    prev_cursor = String(allow_none=True)


class PageQuery(Input):
    """The query of a list."""

    limit = Integer(
        load_default=50, validate=validate.Range(1, 100), metadata={"description": "Rows, at most 100"}
    )
    cursor = String(
        load_default=None,
        validate=validate.Length(1, 200),
        metadata={"description": "From `next_cursor` or `prev_cursor`"},
    )


class Shown(validate.Regexp):
    """The rule of `unprintable`; its pattern says the same to the document, but for half a pair, which is no text."""

    def __init__(self, *, lines: bool) -> None:
        self.lines = lines
        unfit = [code for code in UNFIT_BELOW if unprintable(chr(code), lines=lines)]
        runs = [list(run) for _, run in groupby(unfit, lambda code: code - unfit.index(code))]
        characters = "".join(f"\\u{run[0]:04x}-\\u{run[-1]:04x}" for run in runs)
        super().__init__(rf"\A[^{characters}]*\Z")

    def __call__(self, value: str) -> str:  # type: ignore[override]
        if unprintable(value, lines=self.lines):
            raise ValidationError("This holds characters that cannot be shown.")
        return value


UNFIT_BELOW = range(0x3000)
"""Where the characters are that cannot be shown."""
SHOWN = Shown(lines=False)
SHOWN_LINES = Shown(lines=True)


def line(low: int, high: int) -> list[Any]:
    """Validators of a one-line text of `low` to `high` characters."""
    return [validate.Length(low, high), SHOWN]


def lines_of_text(low: int, high: int) -> list[Any]:
    """Validators of a text with line breaks of `low` to `high` characters."""
    return [validate.Length(low, high), SHOWN_LINES]


class Whole(Integer):
    """An integer as JSON has it: 3.0 is one (RFC 8259 knows numbers only), "3" and 3.5 are none."""

    def __init__(self, **options: Any) -> None:
        super().__init__(strict=True, **options)

    def _validated(self, value: Any) -> Any:
        whole = isinstance(value, float) and value.is_integer()
        return super()._validated(int(value) if whole else value)


class Flag(Boolean):
    """true or false, and nothing that only looks like it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> bool:  # noqa: ARG002 - marshmallow's signature
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class UTC(DateTime):
    """A time as RFC 3339 in UTC, with the Z."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **options: Any) -> Any:
        found = super()._serialize(value, attr, obj, **options)
        return found.replace("+00:00", "Z") if isinstance(found, str) else found


def utc(**options: Any) -> UTC:
    return UTC(format="iso", **options)


def check_request() -> None:
    """Refuse unknown query parameters (422) and bodies that are not JSON (400, 415), for every address of the API."""
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
    if "body" in spec and has_body:
        request.get_json()  # webargs reads it again, but has no sentence for what is no JSON
