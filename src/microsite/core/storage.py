"""Object storage: bytes under keys that the server made, written once, hashed on the way, safe before they have a name.

A writer holds a lock on its file until the row is committed (or the process dies), so the janitor can tell what is
being written from what a crash left behind, without guessing by age.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from flask import Flask, current_app

from microsite.core.exceptions import StorageFull

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
RESERVE = 32 * 2**20
"""Bytes of the disk that uploads leave free, so that the database can still write."""
LOOK_EVERY = 4 * 2**20


@dataclass(frozen=True)
class StoredObject:
    """What was written: its key, bytes, and SHA-256 in hex."""

    key: str
    size: int
    sha256: str


class Writer:
    """One object on its way in. As a context manager it removes everything unless the block ends well after `finish`."""

    def __init__(self, storage: LocalStorage) -> None:
        self.storage = storage
        self.key = secrets.token_hex(16)
        self.path = storage.partial / self.key
        self.size = 0
        self._hash = hashlib.sha256()
        self._looked = 0
        self.stored: StoredObject | None = None
        storage.check_room(0)
        self._file = _create_locked(self.path)

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Append. Raises StorageFull."""
        if self.size - self._looked >= LOOK_EVERY:
            self.storage.check_room(0)
            self._looked = self.size
        view = memoryview(chunk)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise _full_or(error) from error
        self._hash.update(chunk)
        self.size += len(chunk)

    def finish(self) -> StoredObject:
        """Flush to the disk and name the object into place. Raises StorageFull."""
        target = self.storage.path(self.key)
        try:
            os.fsync(self._file.fileno())
            target.parent.mkdir(mode=0o700, exist_ok=True)
            self.path.rename(target)
            self.path = target
            _sync_folder(target.parent)
        except OSError as error:
            raise _full_or(error) from error
        self.stored = StoredObject(self.key, self.size, self._hash.hexdigest())
        return self.stored

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None or self.stored is None:
            self.path.unlink(missing_ok=True)
        self._file.close()  # and with it the lock


class LocalStorage:
    """Objects as files of a folder: `objects/ab/abcdef…`, with what is being written in `partial/` on the same volume."""

    def __init__(self, root: Path) -> None:
        self.objects, self.partial = root / "objects", root / "partial"

    def prepare(self) -> None:
        for folder in (self.objects, self.partial):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, key: str) -> Path:
        if len(key) != 32 or not key.isalnum():
            raise ValueError(f"not a storage key: {key!r}")
        return self.objects / key[:2] / key

    def writer(self) -> Writer:
        return Writer(self)

    def open(self, key: str) -> BinaryIO:
        """The object for reading. Raises FileNotFoundError."""
        return open(self.path(key), "rb", buffering=0)

    def delete(self, key: str) -> None:
        """Remove an object; one that is gone already is fine."""
        self.path(key).unlink(missing_ok=True)

    def check_room(self, size: int) -> None:
        """Raise StorageFull unless `size` bytes fit and the reserve stays free."""
        stat = os.statvfs(self.partial)
        if stat.f_bavail * stat.f_frsize < size + RESERVE:
            raise StorageFull()

    def keys(self) -> Iterator[str]:
        """Every key that has bytes."""
        for folder in self.objects.iterdir():
            for entry in os.scandir(folder):
                yield entry.name

    def sweep(self, wanted: Callable[[list[str]], set[str]]) -> int:
        """Remove what crashes left: partials that nobody writes, objects that no row names. Returns how many."""
        removed = sum(_remove_if_idle(path) for path in list(self.partial.iterdir()))
        batch: list[str] = []
        for key in [*self.keys(), ""]:
            if key:
                batch.append(key)
            if batch and (len(batch) == 500 or not key):
                for orphan in set(batch) - wanted(batch):
                    # The lock says that nobody is about to commit a row for it, so a second look is final.
                    removed += _remove_if_idle(self.path(orphan), partial(_unwanted, wanted, orphan))
                batch = []
        return removed


def _create_locked(path: Path) -> FileIO:
    """A new file that nobody else touches. Raises StorageFull."""
    while True:
        try:
            file = open(path, "xb", buffering=0)  # noqa: SIM115 - the writer closes it
        except OSError as error:
            raise _full_or(error) from error
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # the janitor came between the two lines


def _remove_if_idle(path: Path, still: Callable[[], bool] = lambda: True) -> int:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not still():
                return 0
            path.unlink()
            return 1
    except (BlockingIOError, FileNotFoundError):
        return 0


def _unwanted(wanted: Callable[[list[str]], set[str]], key: str) -> bool:
    return not wanted([key])


def _full_or(error: OSError) -> Exception:
    return StorageFull() if error.errno in FULL else error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def storage() -> LocalStorage:
    """The storage of the present application."""
    found: LocalStorage = current_app.extensions["microsite.storage"]
    return found


def sweep() -> None:
    """Task: remove what crashes left behind; features say by the capability `stored_keys` which keys their rows name."""
    from microsite.core.db import release
    from microsite.core.feature import registry

    providers = registry().capability("stored_keys").values()

    def wanted(keys: list[str]) -> set[str]:
        found = set().union(*(provider(keys) for provider in providers))
        release()
        return found

    removed = storage().sweep(wanted)
    if removed:
        current_app.logger.warning("storage: %d leftovers of broken uploads removed", removed)


def init_app(app: Flask) -> None:
    app.extensions["microsite.storage"] = local = LocalStorage(Path(app.config["INSTANCE"], "files"))
    local.prepare()
