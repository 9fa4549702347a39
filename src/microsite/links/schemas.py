"""Shapes of the link API."""

from __future__ import annotations

from marshmallow import validate
from marshmallow.fields import Boolean, Integer, List, Nested, String

from microsite.core.identity import Role
from microsite.core.schemas import Flag, Input, ListOutput, Output, Whole, line, lines_of_text, utc

from .forms import TEXT_MAX
from .models import Kind, State
from .services import USES_MAX

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

    max_files = Whole(load_default=20, validate=validate.Range(1, 1000))
    max_size = Whole(
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
    expires_in = Whole(validate=validate.Range(1, 10**10), metadata={"description": "Seconds"})
    max_uses = Whole(
        allow_none=True,
        validate=validate.Range(1, USES_MAX),
        metadata={"description": "null: unlimited until expiry"},
    )
    password = String(validate=validate.Length(1, 1024))
    title = String(validate=line(0, 120))
    note = String(validate=lines_of_text(0, 1000))
    notify = Flag(metadata={"description": "Tell the maker of openings by mail"})
    show_items = Flag(metadata={"description": "Names and sizes show before opening"})
    hold = Flag(metadata={"description": "The reader must hold the button of the page"})
    shorten_to = Whole(
        validate=validate.Range(60, 10**8),
        metadata={"description": "Seconds that the link has left after its first opening"},
    )
    name = String(validate=line(1, 64), metadata={"description": "A public name in place of a random token"})
    webhook = String(
        validate=line(1, 500),
        metadata={"description": "An https address that is told what happens: docs/webhooks.md"},
    )


class LinkChanges(Input):
    expires_in = Whole(validate=validate.Range(1, 10**10), metadata={"description": "Seconds from now"})
    max_uses = Whole(validate=validate.Range(1, USES_MAX))
    notify = Flag()


class OpeningInput(Input):
    """What a recipient shows."""

    password = String(allow_none=True)
    proof = String(allow_none=True, metadata={"description": "Of an encrypted note: docs/encrypted-notes.md"})


class BeforeOutput(Output):
    """What may be known of a link before it is opened."""

    has_password = Boolean()
    encrypted = Boolean(metadata={"optional": True})


class OpenedFileOutput(Output):
    name = String()
    size = Integer(metadata={"description": "Bytes"})
    media_type = String()
    sha256 = String()
    url = String(metadata={"description": "Gives the bytes for 15 minutes, in as many ranges as wanted"})


class OpenedFilesOutput(Output):
    kind = String(validate=validate.Equal("files"))
    files = List(Nested(OpenedFileOutput))


class OpenedTextOutput(Output):
    kind = String(validate=validate.Equal("text"))
    text = String()


class OpenedCiphertextOutput(Output):
    kind = String(validate=validate.Equal("text"))
    ciphertext = String()


class OpenedUploadOutput(Output):
    kind = String(validate=validate.Equal("upload"))
    max_size = Integer(metadata={"description": "Bytes"})
    types = List(String())
    files_left = Integer()
    url = String(metadata={"description": "Takes files: POST a form, or PUT one below it"})


class OpenedInvitationOutput(Output):
    kind = String(validate=validate.Equal("invitation"))
    url = String()


OPENED = (
    OpenedFilesOutput,
    OpenedTextOutput,
    OpenedCiphertextOutput,
    OpenedUploadOutput,
    OpenedInvitationOutput,
)


class ReceivedOutput(Output):
    received = Integer(metadata={"description": "Files that were kept"})


class LinkItemOutput(Output):
    id = String()
    name = String()
    size = Integer(metadata={"description": "Bytes"})
    media_type = String()


class LinkOutput(Output):
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
        metadata={
            "description": "What requests to the webhook are signed with; only with one",
            "optional": True,
        }
    )


class LinksOutput(ListOutput):
    items = List(Nested(LinkOutput))


class LinkEventOutput(Output):
    type = String()
    time = utc()
    address = String()
    agent = String()
    detail = String(metadata={"description": "The thing concerned, such as the name of a file"})


class LinkEventsOutput(ListOutput):
    items = List(Nested(LinkEventOutput))
