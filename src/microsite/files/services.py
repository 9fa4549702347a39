"""Verbs of files. The bytes are safe before any of these runs; they write rows, and unlink after the commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import BinaryIO

from flask import Response, current_app, url_for
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from microsite.core.clock import now
from microsite.core.db import after_commit, db
from microsite.core.downloads import first_bytes, reader, send_object
from microsite.core.exceptions import NotFound, QuotaExceeded, TypeNotAllowed
from microsite.core.identity import User
from microsite.core.names import clean_name
from microsite.core.reservations import Allowance
from microsite.core.sharing import Inbox, Shareable, SharedItem, Watched
from microsite.core.storage import StoredObject, storage
from microsite.core.storage import sweep as sweep_storage

from .exceptions import TooManyFiles
from .models import FileUsage, StoredFile
from .names import ending, media_type
from .queries import used_bytes_of

FILES_MAX = 100_000
"""Files of one member, whatever their size: each is a row, and a file on the disk."""


def check_name(given: str) -> None:
    """Raise TypeNotAllowed unless the operator's list takes this ending; called before the bytes are read."""
    allowed = {word.lower().lstrip(".") for word in current_app.config["UPLOAD_EXTENSIONS"]}
    name = clean_name(given)
    if allowed and ending(name) not in allowed:
        raise TypeNotAllowed(f"{name} is not accepted; files here end in {', '.join(sorted(allowed))}.")


def allowance_of(owner: User) -> Allowance:
    """What the files of a member may have; uploads reserve within it, and `create_files` decides."""
    return Allowance(owner.id, current_app.config["USER_QUOTA"], partial(used_bytes_of, owner.id))


def create_files(actor: User, received: Sequence[tuple[str, StoredObject]]) -> list[StoredFile]:
    """Add rows for objects that are safe on the disk, all or none. Raises QuotaExceeded."""
    total = sum(stored.size for _, stored in received)
    _add_usage(actor, len(received), total)
    files = [
        StoredFile(
            owner_id=actor.id, name=clean_name(name), media_type=media_type(clean_name(name)), size=stored.size,
            sha256=stored.sha256, storage_key=stored.key,
        )
        for name, stored in received
    ]  # fmt: skip
    db.session.add_all(files)
    db.session.flush()
    return files


def _add_usage(actor: User, count: int, total: int) -> None:
    """Count files and bytes in one conditional UPDATE, so that uploads at once cannot pass a limit together."""
    quota = current_app.config["USER_QUOTA"]
    if db.session.get(FileUsage, actor.id) is None:
        with suppress(IntegrityError), db.session.begin_nested():  # another first upload may be faster
            db.session.execute(insert(FileUsage).values(user_id=actor.id, used_bytes=0, file_count=0))
    more = {
        "used_bytes": FileUsage.used_bytes + total,
        "file_count": FileUsage.file_count + count,
    }
    fits = (
        FileUsage.user_id == actor.id,
        more["used_bytes"] <= quota,
        more["file_count"] <= FILES_MAX,
    )
    done = db.session.execute(update(FileUsage).where(*fits).values(more))
    if done.rowcount == 1:  # type: ignore[attr-defined]
        return
    used, files = db.session.execute(
        select(FileUsage.used_bytes, FileUsage.file_count).where(FileUsage.user_id == actor.id)
    ).one()
    if files + count > FILES_MAX:
        raise TooManyFiles(FILES_MAX, files, count)
    raise QuotaExceeded(quota, used, total)


def rename_file(file: StoredFile, name: str) -> None:
    """Give a file another name, cleaned like that of an upload. Raises TypeNotAllowed."""
    check_name(name)
    file.name = clean_name(name)
    file.media_type = media_type(file.name)
    file.updated_at = now()


def delete_file(file: StoredFile) -> None:
    """Delete a file for good: the row now, the bytes after the commit. Raises NotFound when somebody was faster."""
    owner_id = file.owner_id
    less = {"used_bytes": FileUsage.used_bytes - file.size, "file_count": FileUsage.file_count - 1}
    store, key = storage(), file.storage_key
    done = db.session.execute(delete(StoredFile).where(StoredFile.id == file.id))
    if done.rowcount != 1:  # type: ignore[attr-defined]
        raise NotFound("There is no such file here.")
    db.session.execute(update(FileUsage).where(FileUsage.user_id == owner_id).values(less))
    after_commit(lambda: store.delete(key))


def delete_all(user: User) -> None:
    """Delete all files of a member who leaves."""
    for file in db.session.scalars(select(StoredFile).where(StoredFile.owner_id == user.id)):
        delete_file(file)


def send_file(file: StoredFile, *, inline: bool = False, watched: Watched | None = None) -> Response:
    """The bytes of a file, by the one door."""
    return send_object(
        file.storage_key, name=file.name, media_type=file.media_type, size=file.size, sha256=file.sha256,
        modified=file.updated_at, inline=inline, watched=watched,
    )  # fmt: skip


def sweep() -> None:
    """Task: the janitor of the storage."""
    sweep_storage()


def _shared(file: StoredFile) -> SharedItem:
    return SharedItem(file.public_id, file.name, file.size, file.media_type, file.sha256)


class _ShareableFiles:
    """Files as things that a link can hand out."""

    def own(self, actor: User, ids: Sequence[str]) -> list[SharedItem]:
        return self.existing(actor.id, ids) if actor.may("files:use") else []

    def existing(self, owner_id: int, ids: Sequence[str]) -> list[SharedItem]:
        possible = [i for i in ids if "\0" not in i]  # PostgreSQL does not even take the question
        query = select(StoredFile).where(StoredFile.owner_id == owner_id, StoredFile.public_id.in_(possible))
        found = {file.public_id: file for file in db.session.scalars(query)}
        return [_shared(found[i]) for i in ids if i in found]

    def send(self, owner_id: int, item_id: str, *, inline: bool, watched: Watched) -> Response:
        return send_file(self._file(owner_id, item_id), inline=inline, watched=watched)

    def page(self, item_id: str) -> str:
        return url_for("files.show", file_id=item_id)

    def reader(self, owner_id: int, item_id: str) -> Callable[[], BinaryIO]:
        return reader(self._file(owner_id, item_id).storage_key)

    def beginning(self, owner_id: int, item_id: str, count: int) -> bytes:
        return first_bytes(self._file(owner_id, item_id).storage_key, count)

    def _file(self, owner_id: int, item_id: str) -> StoredFile:
        query = select(StoredFile).where(StoredFile.owner_id == owner_id, StoredFile.public_id == item_id)
        file = db.session.scalar(query)
        if file is None:
            raise NotFound()
        return file


class _Inbox:
    """Members' files as a place where outsiders' files arrive; they are counted and kept like any other upload."""

    def may_receive(self, owner: User) -> bool:
        return owner.may("files:use")

    def check_name(self, name: str) -> str:
        check_name(name)
        return ending(clean_name(name))

    def allowance(self, owner: User) -> Allowance:
        return allowance_of(owner)

    def take(self, owner: User, received: Sequence[tuple[str, StoredObject]]) -> list[SharedItem]:
        return [_shared(file) for file in create_files(owner, received)]


SHAREABLE: Shareable = _ShareableFiles()
INBOX: Inbox = _Inbox()
