"""Read functions of files."""

from __future__ import annotations

from typing import Any

from flask import current_app
from sqlalchemy import bindparam, select

from microsite.core.db import db
from microsite.core.identity import User
from microsite.core.paging import Listing, Page

from .models import FileUsage, StoredFile

FILES: Listing[Any] = Listing(
    "files",
    select(*StoredFile.__table__.c).where(StoredFile.owner_id == bindparam("owner_id")),
    StoredFile.id,
)
USED_BYTES = select(FileUsage.used_bytes).where(FileUsage.user_id == bindparam("owner_id"))
"""Built once, since every list page runs it."""


def files_of(owner: User, limit: int, cursor: str | None) -> Page[Any]:
    """A page of a member's files, newest first: rows with the columns of StoredFile, which cost half of models."""
    return FILES.page(limit, cursor, owner_id=owner.id)


def used_bytes(owner: User) -> int:
    """Bytes of a member's files."""
    return used_bytes_of(owner.id)


def used_bytes_of(owner_id: int) -> int:
    """Bytes of the files of the member with this number."""
    return db.session.scalar(USED_BYTES, {"owner_id": owner_id}) or 0


def stored_keys(keys: list[str]) -> set[str]:
    """Which of these storage keys a row names."""
    return set(db.session.scalars(select(StoredFile.storage_key).where(StoredFile.storage_key.in_(keys))))


def home_panel(user: User) -> dict[str, Any] | None:
    """The panel of recent files and the space used."""
    if not user.may("files:use"):
        return None
    used, quota = used_bytes(user), current_app.config["USER_QUOTA"]
    return {
        "title": "Files", "icon": "folder2", "template": "files/_panel.html", "recent": files_of(user, 4, None).items,
        "used": used, "quota": quota, "percent": min(100, round(100 * used / quota)),
    }  # fmt: skip
