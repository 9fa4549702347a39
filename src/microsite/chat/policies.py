"""Who may do what in chat: members of a room read and write there; to others it does not exist."""

from __future__ import annotations

from sqlalchemy import select

from microsite.core.db import db
from microsite.core.exceptions import NotFound
from microsite.core.identity import User

from .models import Membership, Room


def room_for(actor: User, public_id: str, *, lock: bool = False) -> Room:
    """A room that the actor is in; the gate of every view. `lock` holds its row until the transaction ends. Raises NotFound."""
    if not public_id.isascii() or "\0" in public_id:
        raise NotFound("There is no such room here.")
    query = select(Room).join(Membership, Membership.room_id == Room.id)
    query = query.where(Room.public_id == public_id[:40], Membership.user_id == actor.id)
    if lock:
        query = query.with_for_update(of=Room).execution_options(populate_existing=True)
    found = db.session.scalar(query)
    if found is None:
        raise NotFound("There is no such room here.")
    return found
