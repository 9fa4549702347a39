"""Who may do what with a file: its owner everything, others nothing, and to them it does not exist."""

from __future__ import annotations

from sqlalchemy import select

from microsite.core.db import db
from microsite.core.exceptions import NotFound
from microsite.core.identity import User

from .models import StoredFile


def file_for(actor: User, public_id: str) -> StoredFile:
    """The actor's file; the gate of every view. Raises NotFound, for other people's files too."""
    found = db.session.scalar(
        select(StoredFile).where(
            StoredFile.public_id == public_id[:40].replace("\0", "-"), StoredFile.owner_id == actor.id
        )
    )
    if found is None:
        raise NotFound("There is no such file here.")
    return found
