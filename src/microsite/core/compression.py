"""gzip for pages and JSON. Static files are compressed by `core.static`, what members stored never.

A page holds secrets beside what its reader typed, and the length of a compressed page tells about both together
(BREACH). So every answer gets some bytes more that nobody can foretell: docs/decisions/0018.
"""

from __future__ import annotations

import hashlib
from gzip import GzipFile
from io import BytesIO

from flask import Flask, Response, current_app, request

COMPRESSIBLE = frozenset(
    "text/html text/css text/javascript application/javascript application/json application/problem+json "
    "application/manifest+json image/svg+xml".split()
)
LEAST = 1024
"""Bytes below which compressing gains nothing: the answer fits one packet anyway."""
LEVEL = 5
PADDING = 100
"""Bytes at most that are added to an answer."""


def accepts_gzip() -> bool:
    """Whether the client takes gzip, by RFC 9110 section 12.5.3; one that says nothing gets plain bytes."""
    return request.accept_encodings["gzip"] > 0


def _padding(data: bytes) -> int:
    """1 to PADDING, by a keyed digest: the same for the same answer, which may be asked for a thousand times."""
    key = hashlib.sha256(b"length of answers " + current_app.config["SECRET_KEY"].encode()).digest()
    return 1 + int.from_bytes(hashlib.blake2b(data, key=key, digest_size=8).digest()) % PADDING


def _padded_gzip(data: bytes) -> bytes:
    """`data` compressed, with a file name in the head (RFC 1952), which every reader skips, to hide the length."""
    name = "a" * _padding(data)
    buffer = BytesIO()
    with GzipFile(name, "wb", LEVEL, buffer, mtime=0) as file:
        file.write(data)
    return buffer.getvalue()


def compress(response: Response) -> Response:
    """Compress what is made in memory and is read as text; HEAD says the same as GET.

    What members stored passes as it is: it streams, and bears `Accept-Ranges`.
    """
    headers = response.headers
    passes = response.direct_passthrough or response.is_streamed
    if passes or response.mimetype not in COMPRESSIBLE or response.status_code in (204, 206, 304):
        return response
    if "Accept-Ranges" in headers or "Content-Encoding" in headers or "ETag" in headers:
        return response
    if len(data := response.get_data()) < LEAST:
        return response
    response.vary.add("Accept-Encoding")
    if accepts_gzip():
        response.set_data(_padded_gzip(data))
        response.content_encoding = "gzip"
    return response


def init_app(app: Flask) -> None:
    """Compress last: called before all that add to an answer."""
    app.after_request(compress)
