"""Read functions of chat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, bindparam, func, or_, select

from microsite.core.db import db
from microsite.core.identity import User
from microsite.core.paging import Listing, Page

from .models import ChatEvent, Membership, Room

ROOMS: Listing[Room] = Listing(
    "rooms", select(Room).join(Membership).where(Membership.user_id == bindparam("user_id")), Room.id
)
_MESSAGES = (
    select(ChatEvent, User.username, ChatEvent.seq)
    .outerjoin(User, User.id == ChatEvent.sender_id)
    .where(ChatEvent.room_id == bindparam("room_id"), ChatEvent.type == "message")
)
MESSAGES: Listing[Any] = Listing("messages", _MESSAGES, ChatEvent.seq)
MESSAGES_OLDEST_FIRST: Listing[Any] = Listing(
    "messages, oldest first", _MESSAGES, ChatEvent.seq, oldest_first=True
)
GONE = "deleted member"
EVENTS_MAX, EVENTS_STEP, CHARACTERS_MAX = 500, 20, 200_000


@dataclass(frozen=True)
class RoomView:
    """A room as one member sees it."""

    room: Room
    name: str
    members: list[str]
    last_read_seq: int
    unread: int


def views_of(rooms: Sequence[Room], viewer: User) -> list[RoomView]:
    """Rooms with their people and what is unread, in three queries whatever their number."""
    ids = [room.id for room in rooms]
    people: dict[int, list[str]] = {room_id: [] for room_id in ids}
    read: dict[int, int] = {}
    query = select(Membership.room_id, User.id, User.username, Membership.last_read_seq).join(
        User, User.id == Membership.user_id
    )
    for room_id, user_id, username, seq in db.session.execute(
        query.where(Membership.room_id.in_(ids)).order_by(User.username_key)
    ):
        people[room_id].append(username)
        if user_id == viewer.id:
            read[room_id] = seq
    unread = unread_counts(ids, viewer)
    return [
        RoomView(
            room,
            _shown_name(room, people[room.id], viewer),
            people[room.id],
            read.get(room.id, 0),
            unread.get(room.id, 0),
        )
        for room in rooms
    ]


def _shown_name(room: Room, members: list[str], viewer: User) -> str:
    if room.kind != "direct":
        return room.name
    return next((name for name in members if name != viewer.username), GONE)


def unread_counts(room_ids: Sequence[int], viewer: User) -> dict[int, int]:
    """Messages of others after the viewer's pointer, by room."""
    mine = and_(Membership.room_id == ChatEvent.room_id, Membership.user_id == viewer.id)
    others = or_(ChatEvent.sender_id.is_(None), ChatEvent.sender_id != viewer.id)
    query = select(ChatEvent.room_id, func.count()).join(Membership, mine)
    query = query.where(
        ChatEvent.room_id.in_(room_ids),
        ChatEvent.seq > Membership.last_read_seq,
        others,
        ChatEvent.type == "message",
    )
    return {room_id: count for room_id, count in db.session.execute(query.group_by(ChatEvent.room_id))}


def rooms_of(user: User, limit: int, cursor: str | None) -> Page[Room]:
    """A page of a member's rooms, newest first."""
    return ROOMS.page(limit, cursor, user_id=user.id)


def active_rooms(user: User, limit: int) -> Sequence[Room]:
    """A member's rooms, the one with the latest message first."""
    query = select(Room).join(Membership).where(Membership.user_id == user.id)
    return db.session.scalars(query.order_by(Room.active_at.desc(), Room.id.desc()).limit(limit)).all()


def heads(user: User) -> dict[str, int]:
    """The newest number of each of a member's rooms."""
    query = select(Room.public_id, Room.last_seq).join(Membership).where(Membership.user_id == user.id)
    return {public_id: last_seq for public_id, last_seq in db.session.execute(query)}


def _event_rows(room: Room, *conditions: Any) -> Any:
    query = select(ChatEvent, User.username).outerjoin(User, User.id == ChatEvent.sender_id)
    return query.where(ChatEvent.room_id == room.id, *conditions)


def events_after(room: Room, after: int, limit: int = EVENTS_MAX) -> list[dict[str, Any]]:
    """Entries of the log after a number, oldest first: up to `limit`, fewer where they are long."""
    found: list[dict[str, Any]] = []
    characters = 0
    while len(found) < limit and characters < CHARACTERS_MAX:
        step = (
            _event_rows(room, ChatEvent.seq > after)
            .order_by(ChatEvent.seq)
            .limit(min(EVENTS_STEP, limit - len(found)))
        )
        batch = [event_json(event, sender) for event, sender in db.session.execute(step)]
        if not batch:
            break
        found += batch
        characters += sum(len(event["body"]) for event in batch)
        after = batch[-1]["seq"]
    return found


def messages(
    room: Room, limit: int, cursor: str | None, *, before: int | None, after: int | None
) -> Page[Any]:
    """A page of messages: newest first, all or those before a number; oldest first after a number."""
    listing = MESSAGES if after is None else MESSAGES_OLDEST_FIRST
    return listing.page(limit, cursor, start=before if after is None else after, room_id=room.id)


def event_json(event: ChatEvent, sender: str | None) -> dict[str, Any]:
    """An entry as API, socket and page tell it."""
    return {
        "seq": event.seq, "type": event.type, "id": event.message_id, "client_id": event.client_id,
        "sender": sender or GONE, "body": event.body,
        "created_at": event.created_at.isoformat().replace("+00:00", "Z"), "edited_at": None, "attachments": [],
    }  # fmt: skip


def home_panel(user: User) -> dict[str, Any] | None:
    """The panel of rooms with something unread."""
    if not user.may("chat:use"):
        return None
    views = views_of(active_rooms(user, 30), user)
    return {
        "title": "Chat",
        "icon": "chat-dots",
        "template": "chat/_panel.html",
        "rooms": [v for v in views if v.unread][:5],
    }
