"""Shapes of the link API."""

from __future__ import annotations

from apiflask import Schema
from marshmallow import validate
from marshmallow.fields import Boolean, Integer, List, Nested, String

from microsite.core.identity import Role
from microsite.core.schemas import Input, line, lines_of_text, utc

from .forms import TEXT_MAX
from .models import Kind, State

CIPHERTEXT_MAX = (TEXT_MAX * 4 + 28) * 4 // 3 + 4
"""A text of four bytes a character with nonce and tag, in base64url."""
BASE64URL = validate.Regexp(r"\A[A-Za-z0-9_-]*\Z", error="This is not base64url without padding.")


class EncryptedInput(Input):
    """A note that was encrypted before it came here: docs/encrypted-notes.md."""

    ciphertext = String(required=True, validate=[validate.Length(38, CIPHERTEXT_MAX), BASE64URL])
    proof_hash = String(
        required=True, validate=validate.Regexp(r"\A[0-9a-f]{64}\Z", error="64 hexadecimal digits.")
    )


class UploadInput(Input):
    """What outsiders may send in."""

    max_files = Integer(strict=True, load_default=20, validate=validate.Range(1, 1000))
    max_size = Integer(
        strict=True,
        load_default=None,
        allow_none=True,
        validate=validate.Range(1, 2**50),
        metadata={"description": "Bytes"},
    )
    types = List(
        String(validate=validate.Regexp(r"\A\.?[A-Za-z0-9]{1,16}\Z", error="An ending such as pdf.")),
        load_default=[],
        validate=validate.Length(0, 25),
    )


class InvitationInput(Input):
    role = String(required=True, validate=validate.OneOf([role.value for role in Role]))


class LinkInput(Input):
    files = List(String(validate=validate.Length(1, 40)), validate=validate.Length(1, 100))
    text = String(validate=lines_of_text(1, TEXT_MAX))
    encrypted = Nested(EncryptedInput)
    upload = Nested(UploadInput)
    invitation = Nested(InvitationInput)
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
    notify = Boolean(
        truthy={True}, falsy={False}, metadata={"description": "Tell the maker of openings by mail"}
    )
    show_items = Boolean(
        truthy={True}, falsy={False}, metadata={"description": "Names and sizes show before opening"}
    )
    hold = Boolean(
        truthy={True}, falsy={False}, metadata={"description": "The reader must hold the button of the page"}
    )
    shorten_to = Integer(
        strict=True,
        validate=validate.Range(60, 10**8),
        metadata={"description": "Seconds that the link has left after its first opening"},
    )
    name = String(validate=line(1, 64), metadata={"description": "A public name in place of a random token"})
    webhook = String(
        validate=line(1, 500),
        metadata={"description": "An https address that is told what happens: docs/webhooks.md"},
    )


class LinkChanges(Input):
    expires_in = Integer(
        strict=True, validate=validate.Range(1, 10**10), metadata={"description": "Seconds from now"}
    )
    max_uses = Integer(strict=True, validate=validate.Range(1, 10**9))
    notify = Boolean(truthy={True}, falsy={False})


class LinkItemOutput(Schema):
    id = String()
    name = String()
    size = Integer(metadata={"description": "Bytes"})
    media_type = String()


class LinkOutput(Schema):
    id = String()
    kind = String(validate=validate.OneOf([kind.value for kind in Kind]))
    title = String()
    note = String()
    created_at = utc()
    expires_at = utc()
    max_uses = Integer(allow_none=True)
    uses = Integer()
    has_password = Boolean()
    state = String(validate=validate.OneOf([state.value for state in State]))
    items = List(Nested(LinkItemOutput))


class NewLinkOutput(LinkOutput):
    url = String(metadata={"description": "The link itself, shown this once"})
    webhook_secret = String(
        metadata={"description": "What requests to the webhook are signed with; only with one"}
    )


class LinksOutput(Schema):
    items = List(Nested(LinkOutput))
    next_cursor = String(allow_none=True)


class LinkEventOutput(Schema):
    type = String()
    time = utc()
    address = String()
    agent = String()
    detail = String(metadata={"description": "The thing concerned, such as the name of a file"})


class LinkEventsOutput(Schema):
    items = List(Nested(LinkEventOutput))
    next_cursor = String(allow_none=True)
