"""Static files: urls that change with the content and are kept for a year, and compressed bytes.

The static files of the shell and of every feature, also of one from outside, are one tree with one stamp: a digest of
all of them. It stands in the path, `/static/v-3f9a51c2b7d0/chat/chat.js`, so that what a script imports by a relative
path inherits it, and a page never mixes the files of two deploys. A url without the present stamp is answered with
the present file, and asked for again each time.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import os
from collections.abc import Callable
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, request, send_file
from werkzeug.security import safe_join

from microsite.core.access import public
from microsite.core.compression import COMPRESSIBLE, LEAST, accepts_gzip
from microsite.core.slots import SMALL, take_slot, visitor

YEAR = "public, max-age=31536000, immutable"
LARGEST = 4 * 2**20
"""Bytes of the largest file that is compressed; its compressed bytes stay in memory."""

State = tuple[int, int, int, int]


def _state(path: str) -> State:
    """What differs when a file was written again; a deploy may keep the time of modification, never all of it."""
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class StaticFiles:
    """Digests and compressed bytes of the static files of one application, worked out once for each state of a file."""

    def __init__(self, folders: dict[str, str]) -> None:
        self.folders = folders
        self._digests: dict[str, tuple[State, str]] = {}
        self._compressed: dict[str, bytes] = {}

    def digest(self, path: str) -> str:
        """SHA-256 of the present content of a file, as hexadecimal digits. Raises OSError."""
        state = _state(path)
        known = self._digests.get(path)
        if known is None or known[0] != state:
            with open(path, "rb") as file:
                known = state, hashlib.file_digest(file, "sha256").hexdigest()
            self._digests[path] = known
        return known[1]

    def compressed(self, path: str, digest: str) -> bytes:
        """The content with this digest, compressed by gzip; made once."""
        if digest not in self._compressed:
            self._compressed[digest] = gzip.compress(Path(path).read_bytes(), 9, mtime=0)
        return self._compressed[digest]

    @cached_property
    def stamped(self) -> dict[str, str]:
        """Digest of every file, by path, when this process first named one."""
        paths = [path for folder in set(self.folders.values()) for path in Path(folder).rglob("*")]
        return {str(path): self.digest(str(path)) for path in sorted(paths) if path.is_file()}

    @cached_property
    def stamp(self) -> str:
        """Twelve hexadecimal digits that differ when any file differs."""
        together = hashlib.sha256()
        for endpoint, folder in sorted(self.folders.items()):
            for path, digest in self.stamped.items():
                if Path(path).is_relative_to(folder):
                    name = Path(path).relative_to(folder).as_posix()
                    together.update(f"{endpoint} {name} {digest}\n".encode())
        return together.hexdigest()[:12]

    def send(self, endpoint: str, filename: str, stamp: str | None = None) -> Response:
        """Answer with a file. One that is no longer what the stamp stands for is not kept: old pages ask for it."""
        path = safe_join(self.folders[endpoint], filename)
        if path is None or not os.path.isfile(path):
            abort(404)
        digest = self.digest(path)
        media_type = mimetypes.guess_type(filename)[0] or "application/octet-stream"
        varies = media_type in COMPRESSIBLE and LEAST <= os.path.getsize(path) <= LARGEST
        if varies and accepts_gzip() and "Range" not in request.headers:
            body = BytesIO(self.compressed(path, digest))
            response = send_file(body, media_type, conditional=False, etag=f"{digest}-gzip")
            response.content_encoding = "gzip"
        else:
            response = send_file(path, media_type, conditional=False, etag=digest)
            # a deploy may keep the time of a file whose content it changes
            del response.headers["Last-Modified"]
        if varies:
            response.vary.add("Accept-Encoding")
        kept = stamp == self.stamp and self.stamped.get(path) == digest
        response.headers["Cache-Control"] = YEAR if kept else "no-cache"
        length = response.content_length
        response.make_conditional(request, accept_ranges=True, complete_length=length)
        if (response.content_length or 0) > SMALL:
            # Whoever does not read it holds a thread.
            response.call_on_close(take_slot(visitor()).release)
            response.direct_passthrough = False
        return response


def _view(files: StaticFiles, endpoint: str) -> Callable[..., Response]:
    return public(lambda **values: files.send(endpoint, **values))


def init_app(app: Flask) -> None:
    """Take over every static folder; called when all features are registered."""
    folders = {"static": app.static_folder}
    folders |= {f"{name}.static": blueprint.static_folder for name, blueprint in app.blueprints.items()}
    files = StaticFiles({endpoint: folder for endpoint, folder in folders.items() if folder})
    for endpoint in files.folders:
        view = app.view_functions[endpoint] = _view(files, endpoint)
        for rule in list(app.url_map.iter_rules(endpoint)):
            below = rule.rule.removeprefix(f"{app.static_url_path}/").lstrip("/")
            app.add_url_rule(f"{app.static_url_path}/v-<stamp>/{below}", endpoint, view)

    def add_stamp(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint in files.folders and not app.debug:
            values.setdefault("stamp", files.stamp)

    app.url_defaults(add_stamp)
