"""The one way in for bytes: straight from the connection into storage, hashed and counted on the way.

Raw bodies and multipart forms (RFC 7578) end in the same writer. Nothing is read before rights, size and room were
checked, and no file is opened before the form's token was seen. What breaks off leaves nothing behind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from flask import request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from microsite.core.access import by_credential, check_csrf
from microsite.core.connection import read_as_it_comes
from microsite.core.exceptions import (
    BadRequest,
    FileTooLarge,
    TypeNotAllowed,
    UploadIncomplete,
    ValidationFailed,
)
from microsite.core.reservations import Allowance, Reservation, reserved
from microsite.core.slots import Holder, slot
from microsite.core.storage import StoredObject, Writer, storage

CHUNK = 2**20
IDLE_SECONDS = 120
FIELD_LIMIT = 64 * 2**10
FORM_OVERHEAD = 2**20
NO_FILE = "No file was chosen. Choose one or more."


@dataclass(frozen=True)
class Received:
    """One file that arrived whole, under the name that the sender gave."""

    name: str
    stored: StoredObject


def _chunks() -> Iterator[bytes]:
    """The body in pieces. Raises UploadIncomplete when it ends before its announced length."""
    expected, received = request.content_length, 0
    stream = request.environ["wsgi.input"]
    if expected is None and not request.environ.get("wsgi.input_terminated"):
        expected = 0
    read_as_it_comes(IDLE_SECONDS)
    while expected is None or received < expected:
        try:
            chunk = stream.read(CHUNK if expected is None else min(CHUNK, expected - received))
        except Exception as error:  # the server's parser has errors of its own for a cut connection
            raise UploadIncomplete(received, expected) from error
        if not chunk:
            break
        received += len(chunk)
        yield chunk
    if expected is not None and received != expected:
        raise UploadIncomplete(received, expected)


def check_length(limit: int, name: str = "This upload", *, overhead: int = 0) -> None:
    """Refuse by the announced length, before a byte is read. Raises FileTooLarge."""
    length = request.content_length
    if length is not None and length > limit + overhead:
        raise FileTooLarge(limit, length, name)


def _proven() -> bool:
    """Whether a credential opened this request, or the guard has checked a token in its header."""
    return by_credential() or bool(request.headers.get("X-CSRFToken"))


def announced_size() -> int:
    """Bytes of files that this request surely brings, by its Content-Length."""
    length = request.content_length or 0
    return max(0, length - FORM_OVERHEAD) if request.mimetype == "multipart/form-data" else length


@contextmanager
def receive_body(
    name: str, limit: int, allowance: Allowance, *, by: Holder | None = None
) -> Iterator[Received]:
    """Take the raw body as one file of up to `limit` bytes; kept only if the block ends well.

    Its bytes are reserved within the `allowance` when they are announced, or as they arrive. `by`: not a
    session but something else gives the right, for which the transfer is counted. Raises CsrfFailed,
    FileTooLarge, QuotaExceeded, UploadIncomplete, StorageFull, Unavailable.
    """
    check_length(limit, name)
    with reserved(allowance, announced_size()) as reservation:
        if by is None and not _proven():
            check_csrf("")  # a raw body has no place for the form's token
        with slot(by), storage().writer() as writer:
            for chunk in _chunks():
                _write(writer, chunk, limit, name, reservation)
            yield Received(name, writer.finish())


@contextmanager
def receive_form(
    limit: int, accept: Callable[[str], None], allowance: Allowance, *, by: Holder | None = None
) -> Iterator[list[Received]]:
    """Take every part named `file` of a multipart body; kept only if the block ends well.

    `accept` may refuse a name before its bytes are read. A browser's form proves itself by the header
    X-CSRFToken (checked by the guard) or by `csrf_token` as its first part. `allowance`, `by` and what is
    raised are as in `receive_body`, and ValidationFailed.
    """
    boundary = request.mimetype_params.get("boundary", "")
    if request.mimetype != "multipart/form-data":
        raise TypeNotAllowed(
            f"Files are sent as multipart/form-data here, not {request.mimetype or 'without a type'}."
        )
    if not boundary:
        raise BadRequest("The form does not say by which boundary its parts are divided.")
    check_length(limit, overhead=FORM_OVERHEAD)
    with reserved(allowance, announced_size()) as reservation, slot(by), ExitStack() as stack:
        form = _Form(limit, accept, by is not None or _proven(), stack, reservation)
        received = list(form.files(boundary.encode("latin-1", "replace")))
        if not received:
            raise ValidationFailed({"file": [NO_FILE]})
        yield received


def _write(writer: Writer, chunk: bytes | bytearray, limit: int, name: str, reservation: Reservation) -> None:
    if writer.size + len(chunk) > limit:
        raise FileTooLarge(limit, None, name)
    reservation.write(len(chunk))
    writer.write(chunk)


class _Form:
    """The parts of one form in their order: the first may be its token, and every `file` becomes a writer that is full."""

    def __init__(
        self,
        limit: int,
        accept: Callable[[str], None],
        proven: bool,
        stack: ExitStack,
        reservation: Reservation,
    ) -> None:
        self.limit = limit
        self.accept = accept
        self.proven = proven
        self.stack = stack
        self.reservation = reservation
        self.name, self.token = "", bytearray()
        self.writer: Writer | None = None
        self.in_token = self.unnamed = False

    def files(self, boundary: bytes) -> Iterator[Received]:
        for event in _events(boundary):
            if isinstance(event, Field | File):
                self._begin(event)
            elif isinstance(event, Data):
                self._take(event.data)
                if not event.more_data and self.writer is not None:
                    yield Received(self.name, self.writer.finish())
                    self.writer = None
        self._prove()

    def _begin(self, part: Field | File) -> None:
        self.writer, self.in_token, self.unnamed = None, False, False
        if isinstance(part, Field):
            self.in_token = part.name == "csrf_token"
            return
        self._prove()
        if part.name == "file":
            self.unnamed = not part.filename
            if part.filename:
                self._open(_name_as_sent(part))

    def _prove(self) -> None:
        if not self.proven:
            check_csrf(self.token.decode("ascii", "replace"))
        self.proven = True

    def _open(self, name: str) -> None:
        self.accept(name)
        self.name, self.unnamed = name, False
        self.writer = self.stack.enter_context(storage().writer())

    def _take(self, data: bytes | bytearray) -> None:
        if self.unnamed and data:  # an empty field of a browser has neither name nor bytes
            self._open("file")
        if self.writer is not None:
            _write(self.writer, data, self.limit, self.name, self.reservation)
        elif self.in_token:
            self.token += data
            if len(self.token) > FIELD_LIMIT:
                raise BadRequest("The form's token is too long.")


def _name_as_sent(event: File) -> str:
    """Werkzeug takes a backslash for an escape; browsers send it as it stands, and before a quote it is one."""
    head = event.headers["Content-Disposition"]
    found = re.search(r'filename="((?:[^"\\]|\\.)*)"', head, re.IGNORECASE)
    if found is None or "\\" not in found[1] or "filename*" in head.lower():
        return event.filename
    return found[1].replace('\\"', '"').replace("%22", '"')


class _Decoder(MultipartDecoder):
    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        # a name in an old encoding is kept as far as it can be read; Werkzeug would refuse the form
        return super()._parse_headers(data.decode("utf-8", "replace").encode())


def _events(boundary: bytes) -> Iterator[object]:
    decoder = _Decoder(boundary, max_form_memory_size=2 * CHUNK, max_parts=1000)
    try:
        for chunk in _chunks():
            decoder.receive_data(chunk)
            while not isinstance(event := decoder.next_event(), NeedData):
                yield event
        decoder.receive_data(None)
        while not isinstance(event := decoder.next_event(), Epilogue):
            yield event
    except RequestEntityTooLarge:
        raise BadRequest("The form has more than 1000 parts, or a part with too long a head.") from None
    except ValueError as error:
        raise BadRequest("The form is broken off or not well-formed. Nothing was kept.") from error
