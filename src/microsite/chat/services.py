"""Verbs of chat. A message is acknowledged after its commit, and sent to others after it too."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from flask import current_app
from sqlalchemy import select, update

from microsite.core.clock import now
from microsite.core.db import db, release
from microsite.core.exceptions import Conflict, RateLimited, Unauthorized, ValidationFailed
from microsite.core.forms import unprintable
from microsite.core.identity import User
from microsite.core.realtime import live, publish
from microsite.core.slots import slot

from . import queries
from .models import ChatEvent, ChatPace, Membership, Room
from .policies import room_for

BODY_MAX = 10_000
NO_KEY = {"key_share": True}
"""A lock on a member that lets others refer to the row, as every message and session does."""
BURST, PER_SECOND = 60, 5.0
WAIT_MAX = 25


def partner(actor: User, username: str) -> User:
    """The member of that name whom the actor can write to. Raises ValidationFailed."""
    key = username.lower()[:64]
    known = select(User).where(User.username_key == key, User.disabled_at.is_(None))
    other: User | None = db.session.scalar(known) if key.isascii() and key.isprintable() else None
    if other is None or other.confirmed_at is None:
        raise ValidationFailed({"with": [f"Nobody here is called {username[:40]}."]})
    if other.id == actor.id:
        raise ValidationFailed({"with": ["That is you. Choose somebody else."]})
    return other


def open_direct(actor: User, username: str) -> tuple[Room, bool]:
    """The direct room of two members, and whether it is new. Writes no event. Raises ValidationFailed."""
    other = partner(actor, username)
    low, high = sorted((actor.id, other.id))
    db.session.get(
        User, low, with_for_update=NO_KEY, populate_existing=True
    )  # of two openers at once one waits
    key = f"{low}:{high}"
    room = db.session.scalar(select(Room).where(Room.direct_key == key))
    if room is not None:
        return room, False
    room = Room(kind="direct", direct_key=key)
    db.session.add(room)
    db.session.flush()
    db.session.add_all([Membership(room_id=room.id, user_id=user_id) for user_id in (low, high)])
    db.session.flush()
    return room, True


def checked_message(client_id: object, body: object) -> tuple[str, str]:
    """The client's id in one spelling, and the body. Raises ValidationFailed."""
    errors: dict[str, list[str]] = {}
    try:
        client_id = str(UUID(client_id)) if isinstance(client_id, str) and len(client_id) <= 45 else None
    except ValueError:
        client_id = None
    if client_id is None:
        errors["client_id"] = ["client_id must be a UUID that the client made for this message."]
    if not isinstance(body, str) or not 1 <= len(body) <= BODY_MAX:
        count = f"{len(body)} characters" if isinstance(body, str) else "no text"
        errors["body"] = [f"A message has 1 to {BODY_MAX} characters; this has {count}."]
    elif unprintable(body, lines=True):
        errors["body"] = ["This holds characters that cannot be shown."]
    if errors:
        raise ValidationFailed(errors)
    return str(client_id), str(body)


def post_message(actor: User, room_id: str, client_id: object, body: object) -> tuple[dict[str, Any], bool]:
    """Store a message once, whatever is lost and sent again; returns the event, and whether it is new.

    The number is taken under the room's lock in the same transaction, so that no reader sees 8 before 7. Raises
    NotFound, ValidationFailed, RateLimited, or Conflict when the same id comes with another body or room.
    """
    client_id, body = checked_message(client_id, body)
    _keep_pace(actor)
    room = room_for(actor, room_id, lock=True)
    known = db.session.scalar(
        select(ChatEvent).where(ChatEvent.sender_id == actor.id, ChatEvent.client_id == client_id)
    )
    if known is not None:
        if known.room_id != room.id or known.body != body:
            raise Conflict("This client_id was used for another message. Make a new one for each message.")
        return queries.event_json(known, actor.username), False
    room.last_seq += 1
    room.active_at = now()
    event = ChatEvent(
        room_id=room.id, seq=room.last_seq, type="message", sender_id=actor.id, client_id=client_id, body=body
    )
    db.session.add(event)
    db.session.flush()
    told = queries.event_json(event, actor.username)
    members = db.session.scalars(select(Membership.user_id).where(Membership.room_id == room.id)).all()
    publish("event", {"room": room.public_id, **told}, users=members, channel=room.public_id)
    return told, True


def _keep_pace(actor: User) -> None:
    """Bursts of 60, then 5 a second (the generic cell rate algorithm); the row also keeps one sender's messages in line."""
    pace = db.session.get(ChatPace, actor.id, with_for_update=True, populate_existing=True)
    if pace is None:
        db.session.get(User, actor.id, with_for_update=NO_KEY, populate_existing=True)
        pace = db.session.get(ChatPace, actor.id) or ChatPace(user_id=actor.id, due=0.0)
        db.session.add(pace)
    moment = time.time()
    wait = pace.due - moment - (BURST - 1) / PER_SECOND
    if wait > 0:
        raise RateLimited(round(wait + 0.5), "You write faster than the site takes it.")
    pace.due = max(pace.due, moment) + 1 / PER_SECOND
    db.session.flush()


def mark_read(actor: User, room_id: str, seq: int) -> Room:
    """Move the actor's pointer forward, never back. Raises NotFound, ValidationFailed."""
    room = room_for(actor, room_id)
    if not 0 <= seq <= room.last_seq:
        raise ValidationFailed({"seq": [f"seq is {seq}; this room's newest is {room.last_seq}."]})
    mine = (Membership.room_id == room.id, Membership.user_id == actor.id, Membership.last_read_seq < seq)
    db.session.execute(update(Membership).where(*mine).values(last_read_seq=seq))
    return room


def wait_for_events(actor: User, room_id: str, after: int, wait: int) -> dict[str, Any]:
    """The log after a number, waiting up to `wait` seconds for something new; holds no database connection meanwhile.

    `reset` says that the reader's number is not of this log: load the room anew. Raises NotFound, Unavailable.
    """
    answer, version = _read(actor, room_id, after)
    if answer["events"] or answer["reset"] or not wait:
        return answer
    with slot():
        deadline = time.monotonic() + min(wait, WAIT_MAX)
        # Other workers' news does not reach this one's memory, so with several the database is asked each second.
        pause = 1.0 if current_app.config["WORKERS"] > 1 else float(WAIT_MAX)
        while not answer["events"] and (left := deadline - time.monotonic()) > 0 and not live().closing:
            live().wait(room_id, version, min(left, pause))
            answer, version = _read(actor, room_id, after)
    return answer


def _read(actor: User, room_id: str, after: int) -> tuple[dict[str, Any], int]:
    """The log now, and the version of the room's news before it was read; the connection is given back."""
    version = live().versions[room_id]
    if not actor.is_active:  # a poll ends with its member's access
        raise Unauthorized()
    room = room_for(actor, room_id)
    events = queries.events_after(room, after)
    answer = {"events": events, "last_seq": room.last_seq, "reset": after > room.last_seq}
    release()
    return answer, version
