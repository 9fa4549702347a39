"""gzip for pages and JSON. Static files are compressed by `core.static`, what members stored never.

A page holds secrets beside what its reader typed, and the length of a compressed page tells about both together
(BREACH). So every answer gets a random number of bytes more, as in docs/decisions/0018.
"""

from __future__ import annotations

import secrets
from gzip import GzipFile
from io import BytesIO

from flask import Flask, Response, request

COMPRESSIBLE = frozenset(
    "text/html text/css text/javascript application/javascript application/json application/problem+json "
    "application/manifest+json image/svg+xml".split()
)
LEAST = 1024
"""Bytes below which compressing gains nothing: the answer fits one packet anyway."""
LEVEL = 5
PADDING = 100
"""Random bytes at most that are added to an answer."""


def accepts_gzip() -> bool:
    """Whether the client takes gzip, by RFC 9110 section 12.5.3; one that says nothing gets plain bytes."""
    return request.accept_encodings["gzip"] > 0


def _padded_gzip(data: bytes) -> bytes:
    """`data` compressed, with a file name of random length in the head (RFC 1952), which every reader skips."""
    name = "a" * (1 + secrets.randbelow(PADDING))
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
