"""Files: up, down, and what there is. Every transfer is checked by SHA-256."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from .errors import ClientError, Damaged, Unreachable
from .http import Http
from .results import result

BLOCK = 1 << 20
TRIES = 5
NAME_BYTES = 200
"""Of a name as it is kept; a file system takes 255, and a part's name is longer."""
Progress = Callable[[int], None]
"""Told how many more bytes went through."""


@dataclass(frozen=True, kw_only=True)
class File:
    """A file on the site; `size` is bytes, `sha256` hexadecimal digits."""

    id: str
    name: str
    size: int
    media_type: str
    sha256: str
    created_at: datetime
    content_url: str


class Files:
    """A member's files."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> Iterator[File]:
        """All files, newest first, asked for page by page."""
        return (result(File, found) for found in self._http.pages("api/v1/files"))

    def upload(self, path: str | os.PathLike[str], *, progress: Progress | None = None) -> File:
        """Upload one file. Raises OSError, Refused, Unreachable; Damaged when the site got other bytes."""
        path, digest = Path(path), hashlib.sha256()

        def blocks() -> Iterator[bytes]:
            with path.open("rb") as source:
                while block := source.read(BLOCK):
                    digest.update(block)
                    yield block
                    if progress:
                        progress(len(block))

        headers = {"Content-Length": str(path.stat().st_size)}
        address = f"api/v1/upload/{quote(path.name, safe='')}"
        file = result(File, self._http.ask("PUT", address, content=blocks(), headers=headers))
        if file.sha256 != digest.hexdigest():
            self.delete(file.id)
            raise Damaged(f"{path.name} arrived damaged and was deleted again; upload it once more.")
        return file

    def download(self, file: File, path: str | os.PathLike[str], *, progress: Progress | None = None) -> None:
        """Download one file to `path`. Raises OSError, Refused, Unreachable, Damaged."""
        fetch(self._http, file.content_url, Path(path), file.size, file.sha256, progress=progress)

    def delete(self, file_id: str) -> None:
        """Delete one file. Raises Refused."""
        self._http.ask("DELETE", f"api/v1/files/{file_id}")


def fetch(
    http: Http, url: str, path: Path, size: int, sha256: str, *, progress: Progress | None = None
) -> None:
    """Bytes of `url` into `path`, by way of a file beside it that ends in ".part", which a later call goes on from.

    A broken connection is taken up again five times. Raises OSError, Refused, Unreachable; Damaged, and nothing stays.
    """
    part = path.with_name(f"{path.name}.{sha256[:8]}.part")
    for left in reversed(range(TRIES)):
        try:
            _go_on(http, url, part, size, progress)
            break
        except Unreachable:
            if not left:
                raise
            time.sleep(TRIES - left)
    with part.open("rb") as whole:
        if hashlib.file_digest(whole, "sha256").hexdigest() != sha256:
            part.unlink()
            raise Damaged(f"{path.name} arrived damaged and was not kept.")
    part.replace(path)


def _go_on(http: Http, url: str, part: Path, size: int, progress: Progress | None) -> None:
    have = part.stat().st_size if part.exists() else 0
    if have > size:
        part.unlink()
        have = 0
    if have == size and part.exists():
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with http.stream("GET", url, headers=headers) as answer:
        resumed = answer.status_code == 206
        with part.open("ab" if resumed else "wb") as target:
            if progress and resumed:
                progress(have)
            for block in answer.iter_raw(BLOCK):
                target.write(block)
                if target.tell() > size:
                    raise Damaged(f"More than the {size} announced bytes came.")
                if progress:
                    progress(len(block))
    if part.stat().st_size != size:
        raise Unreachable(f"The connection broke after {part.stat().st_size} of {size} bytes.")


def free_path(folder: Path, name: str, taken: Container[str] = ()) -> Path:
    """Where a file that the site calls `name` may be put: never outside `folder`, never over another file, or one of `taken` (in lower
    case)."""
    plain = "".join("_" if c in '/\\:*?"<>|' or not c.isprintable() else c for c in name).strip(". ")
    stem, ending = os.path.splitext(plain or "file")
    ending = ending.encode()[:40].decode(errors="ignore")
    stem = stem.encode()[: NAME_BYTES - len(ending.encode())].decode(errors="ignore")
    for number in range(1000):
        path = folder / (f"{stem} ({number}){ending}" if number else stem + ending)
        if not path.exists() and str(path.absolute()).casefold() not in taken:
            return path
    raise ClientError(f"There are a thousand files called {stem}{ending} in {folder}.")
