"""The one door for bytes out: every path that can return an object's bytes goes through `send_object`.

Single ranges (RFC 9110 section 14) are a seek and the server's own sendfile, so that the end of a large file costs
what its beginning costs.
"""

from __future__ import annotations

import io
import re
import socket
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from flask import Response, request
from werkzeug.http import http_date, is_resource_modified
from werkzeug.wsgi import FileWrapper
from zipstream import ZipStream

from microsite.core.db import release
from microsite.core.exceptions import NotFound, PreconditionFailed
from microsite.core.names import clean_name
from microsite.core.sharing import Watched
from microsite.core.slots import SMALL, Holder, Slot, take_slot
from microsite.core.storage import storage

BLOCK = 256 * 2**10
WATCH_SECONDS = 2.0
SANDBOX = "sandbox; default-src 'none'; frame-ancestors 'none'"
INLINE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "text/plain"})


class _Sending(io.FileIO):
    """An open object, positioned at the first byte to send, that ends after the last one and gives its slot back."""

    def __init__(self, path: Path, start: int, length: int, on_close: Callable[[], None]) -> None:
        super().__init__(path, "rb")
        self.seek(start)
        self._left = length
        self._on_close: Callable[[], None] | None = on_close

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(self._left if size is None or size < 0 else min(size, self._left)) or b""
        self._left -= len(data)
        return data

    def close(self) -> None:
        super().close()
        on_close, self._on_close = getattr(self, "_on_close", None), None
        if on_close:
            on_close()


def may_show(media_type: str) -> bool:
    """Whether a browser may show this type on our origin; everything else is a download."""
    return media_type in INLINE_TYPES or media_type.startswith(("audio/", "video/"))


def disposition(name: str, *, inline: bool) -> str:
    """Content-Disposition (RFC 6266): the name in ASCII for old readers, and whole in UTF-8."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    ascii_name = re.sub(r"[^ !#$&()+,\-.0-9;=@A-Z^_`a-z{}~]", "_", ascii_name).strip() or "file"
    return f"{'inline' if inline else 'attachment'}; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(name, safe='')}"


def _range(size: int, etag: str, modified: datetime) -> tuple[int, int] | None:
    """First and last byte of the one range that was asked for; None for the whole. Raises ValueError for an impossible one."""
    asked = request.range if request.method == "GET" else None  # RFC 9110 defines Range for GET alone
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1:
        return None
    if "If-Range" in request.headers and is_resource_modified(
        _without_if_match(request.environ), etag=etag, last_modified=modified, ignore_if_range=False
    ):
        return None
    start, end = asked.ranges[0]
    if start < 0:  # the last bytes; more than there are means all of them, which Werkzeug would refuse
        start, end = max(0, size + start), None
    if start >= size:
        raise ValueError
    return start, min(end or size, size) - 1


def _check_preconditions(etag: str, modified: datetime) -> None:
    """What comes before all other conditions (RFC 9110 section 13.2.2). Raises PreconditionFailed."""
    if request.if_match:
        if not request.if_match.is_strong(etag.strip('"')) and not request.if_match.star_tag:
            raise PreconditionFailed("This is not the file that you know; it was changed meanwhile.")
    elif (
        request.if_unmodified_since is not None
        and modified.replace(microsecond=0) > request.if_unmodified_since
    ):
        raise PreconditionFailed("This was changed after the time that you gave.")


def _without_if_match(environ: dict[str, Any]) -> dict[str, Any]:
    """Werkzeug takes an If-Match that fails for "unmodified"; it was looked at before."""
    return {name: value for name, value in environ.items() if name != "HTTP_IF_MATCH"}


def send_object(
    key: str,
    *,
    name: str,
    media_type: str,
    size: int,
    sha256: str,
    modified: datetime,
    inline: bool = False,
    watched: Watched | None = None,
) -> Response:
    """Answer GET or HEAD with an object's bytes: whole, one range (206), unchanged (304), impossible (416) or not the one known (412).

    The caller has checked the policy. `inline` shows types from the safe list; all others are downloads. A `watched`
    one is asked every few seconds whether it may go on, and told when the object's end was handed over.
    Raises NotFound when the bytes are gone, Unavailable when too many transfers run.
    """
    inline = inline and may_show(media_type)
    shown_type = "text/plain; charset=utf-8" if media_type == "text/plain" else media_type
    etag = f'"{sha256}"'
    headers = {
        "Content-Type": shown_type,
        "Content-Disposition": disposition(name, inline=inline),
        "Content-Security-Policy": SANDBOX,
        "X-Content-Type-Options": "nosniff",
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Last-Modified": http_date(modified),
    }
    release()
    _check_preconditions(etag, modified)
    if not is_resource_modified(_without_if_match(request.environ), etag=etag, last_modified=modified):
        del headers["Content-Type"]
        return Response(status=304, headers=headers)
    try:
        part = _range(size, etag, modified)
    except ValueError:
        from werkzeug.exceptions import RequestedRangeNotSatisfiable

        raise RequestedRangeNotSatisfiable(length=size) from None
    start, last = part or (0, size - 1)
    length = last - start + 1
    headers["Content-Length"] = str(length)
    if part:
        headers["Content-Range"] = f"bytes {start}-{last}/{size}"
    status = 206 if part else 200
    if request.method == "HEAD":
        return Response(status=status, headers=headers)
    if watched is not None:
        watched.started(from_beginning=start == 0)  # may raise, so before a slot is taken
    body = _open(key, start, length, watched.holder if watched is not None else None)
    if watched is not None:
        blocks = iter(lambda: body.read(BLOCK), b"")
        sending = _WatchedBody(blocks, length, watched, body.close, tell=last == size - 1)
        return Response(sending, status, headers, direct_passthrough=True)
    wrapper = request.environ.get("wsgi.file_wrapper", FileWrapper)
    return Response(wrapper(body, BLOCK), status, headers, direct_passthrough=True)


def _open(key: str, start: int, length: int, holder: Holder | None) -> _Sending:
    # What is small is sent on by the server without a thread.
    held = take_slot(holder) if length > SMALL else None
    try:
        return _Sending(storage().path(key), start, length, held.release if held else lambda: None)
    except OSError as error:
        if held:
            held.release()
        raise NotFound("The bytes of this file are missing. Tell whoever runs the site.") from error


class _WatchedBody:
    """Blocks that are passed on while it is allowed.

    The end is told before the last block, so that nobody has all of it untold; so "finished" means: but for the last
    256 KiB, which may still be on their way.
    """

    def __init__(
        self,
        blocks: Iterable[bytes],
        length: int,
        watched: Watched,
        on_close: Callable[[], None],
        *,
        tell: bool,
    ) -> None:
        self.blocks, self.left, self.watched, self.on_close, self.tell = (
            blocks,
            length,
            watched,
            on_close,
            tell,
        )
        self.connection: Any = request.environ.get("gunicorn.socket")

    def __iter__(self) -> Iterator[bytes]:
        self._tell_end()  # of what is empty
        asked = time.monotonic()
        for block in self.blocks:
            if time.monotonic() - asked > WATCH_SECONDS:
                if not self.watched.may_go_on():
                    with suppress(
                        OSError, AttributeError
                    ):  # fewer bytes than announced: the peer must see an end
                        self.connection.shutdown(socket.SHUT_RDWR)
                    return
                asked = time.monotonic()
            self.left -= len(block)
            self._tell_end()
            yield block

    def _tell_end(self) -> None:
        if self.left <= 0 and self.tell:
            self.tell = False
            self.watched.finished()

    def close(self) -> None:
        self.on_close()


@dataclass(frozen=True)
class ZipMember:
    """One file of a zip; `size` is bytes."""

    name: str
    size: int
    open: Callable[[], BinaryIO]


def send_zip(members: list[ZipMember], name: str, watched: Watched, held: Slot | None = None) -> Response:
    """Answer with a stored zip (APPNOTE 6.3.9) that is made while it is sent: nothing is compressed, so its length is known."""
    archive, taken = ZipStream(sized=True), set[str]()
    for member in members:
        archive.add(_blocks_of(member), arcname=_unused(member.name, taken), size=member.size)
    headers = {
        "Content-Type": "application/zip",
        "Content-Disposition": disposition(_zip_name(name), inline=False),
        "Content-Security-Policy": SANDBOX,
        "X-Content-Type-Options": "nosniff",
        "Content-Length": str(len(archive)),
    }
    release()
    watched.started()  # may raise, so before a slot is taken
    if held is None:
        held = take_slot(watched.holder)
    sending = _WatchedBody(archive, len(archive), watched, held.release, tell=True)
    return Response(sending, 200, headers, direct_passthrough=True)


def _zip_name(title: str) -> str:
    """A title as the name of a file; what would be a path in it stays visible."""
    flat = title.replace("/", "-").replace("\\", "-")
    return clean_name(f"{flat}.zip")


def _blocks_of(member: ZipMember) -> Iterator[bytes]:
    with member.open() as file:
        while block := file.read(BLOCK):
            yield block


def _unused(name: str, taken: set[str]) -> str:
    """The name, or with a number before its ending where the zip has it already."""
    stem, dot, ending = name.rpartition(".") if "." in name[1:] else (name, "", "")
    candidate, number = name, 2
    while candidate.casefold() in taken:
        candidate, number = f"{stem} ({number}){dot}{ending}", number + 1
    taken.add(candidate.casefold())
    return candidate


def reader(key: str) -> Callable[[], BinaryIO]:
    """A function that opens an object, for `send_zip`; the caller has checked the policy."""
    store = storage()
    return lambda: store.open(key)


def first_bytes(key: str, count: int) -> bytes:
    """The beginning of an object, for a preview on a page; the caller has checked the policy."""
    with storage().open(key) as file:
        return file.read(count)
