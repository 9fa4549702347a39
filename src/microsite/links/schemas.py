"""Shapes of the link API."""

from __future__ import annotations

from apiflask import Schema
from marshmallow import validate
from marshmallow.fields import Boolean, Integer, List, Nested, String

from microsite.core.schemas import Input, line, lines_of_text, utc

from .forms import TEXT_MAX


class LinkInput(Input):
    files = List(String(validate=validate.Length(1, 40)), validate=validate.Length(1, 100))
    text = String(validate=lines_of_text(1, TEXT_MAX))
    expires_in = Integer(strict=True, validate=validate.Range(1, 10**10), metadata={"description": "Seconds"})
    max_uses = Integer(
        strict=True,
        allow_none=True,
        validate=validate.Range(1, 10**9),
        metadata={"description": "null: unlimited until expiry"},
    )
    password = String(validate=validate.Length(1, 1024))
    title = String(validate=line(0, 120))
    note = String(validate=lines_of_text(0, 1000))


class LinkItemOutput(Schema):
    id = String()
    name = String()
    size = Integer(metadata={"description": "Bytes"})
    media_type = String()


class LinkOutput(Schema):
    id = String()
    kind = String(validate=validate.OneOf(["files", "text"]))
    title = String()
    note = String()
    created_at = utc()
    expires_at = utc()
    max_uses = Integer(allow_none=True)
    uses = Integer()
    has_password = Boolean()
    state = String(validate=validate.OneOf(["open", "used", "expired", "revoked"]))
    items = List(Nested(LinkItemOutput))


class NewLinkOutput(LinkOutput):
    url = String(metadata={"description": "The link itself, shown this once"})


class LinksOutput(Schema):
    items = List(Nested(LinkOutput))
    next_cursor = String(allow_none=True)


class LinkEventOutput(Schema):
    type = String()
    time = utc()
    address = String()
    agent = String()


class LinkEventsOutput(Schema):
    items = List(Nested(LinkEventOutput))
    next_cursor = String(allow_none=True)
