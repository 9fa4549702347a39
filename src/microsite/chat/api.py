"""JSON resources of chat."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint
from flask import make_response
from flask.typing import ResponseReturnValue
from flask_login import current_user

from microsite.core.access import requires
from microsite.core.db import atomic
from microsite.core.document import describe, json_answer
from microsite.core.exceptions import Conflict, RateLimited, ValidationFailed
from microsite.core.paging import listed
from microsite.core.schemas import PageQuery

from . import queries, services
from .policies import room_for
from .queries import RoomView
from .schemas import (
    ChatEventOutput,
    ChatEventsOutput,
    EventsQuery,
    MessageInput,
    MessagesOutput,
    MessagesQuery,
    ReadInput,
    RoomInput,
    RoomOutput,
    RoomsOutput,
)

TAG = {
    "name": "Chat",
    "description": "Rooms and their numbered logs. Socket.IO at `/socket.io` (WebSocket only, namespace `/chat`) tells the "
    "same events sooner. They may arrive there out of order: sort them by `seq`, and ask `events?after=` where a "
    "number is missing.",
}
api = APIBlueprint("chat", __name__, tag=TAG)


def room_json(view: RoomView) -> dict[str, Any]:
    return {
        "id": view.room.public_id, "kind": view.room.kind, "name": view.name, "members": view.members,
        "last_seq": view.room.last_seq, "last_read_seq": view.last_read_seq, "unread": view.unread,
    }  # fmt: skip


@api.get("/rooms")
@requires("chat:use")
@api.input(PageQuery, location="query")
@api.output(RoomsOutput)
def list_rooms(query_data: dict[str, Any]) -> Any:
    """The member's rooms, newest first."""
    page = queries.rooms_of(current_user, query_data["limit"], query_data["cursor"])
    items = [room_json(view) for view in queries.views_of(page.items, current_user)]
    return listed(page, items, limit=query_data["limit"])


@api.post("/rooms")
@requires("rooms:create")
@describe(answers={200: json_answer("The direct room that was there already", RoomOutput)})
@api.input(RoomInput)
@api.output(RoomOutput, status_code=201)
def open_room(json_data: dict[str, Any]) -> Any:
    """Open the direct room with a member: 201 when it is new, 200 when it was there."""
    with atomic():
        room, created = services.open_direct(current_user, json_data["with_"])
        answer = room_json(queries.views_of([room], current_user)[0])
    return answer, 201 if created else 200


@api.get("/rooms/<room_id>/messages")
@requires("chat:use")
@api.input(MessagesQuery, location="query")
@api.output(MessagesOutput)
def list_messages(room_id: str, query_data: dict[str, Any]) -> Any:
    """Messages of a room: newest first, or after a number oldest first."""
    before, after, limit = query_data["before"], query_data["after"], query_data["limit"]
    if before is not None and after is not None:
        raise ValidationFailed({"after": ["before and after exclude each other."]})
    room = room_for(current_user, room_id)
    page = queries.messages(room, limit, query_data["cursor"], before=before, after=after)
    items = [queries.event_json(event, sender) for event, sender, _ in page.items]
    # `after` says the order, so it stays in the addresses of the pages beside this one
    return listed(page, items, limit=limit, **({} if after is None else {"after": after}))


@api.post("/rooms/<room_id>/messages")
@requires("chat:use")
@describe(
    Conflict,
    RateLimited,
    answers={
        201: json_answer("The event", ChatEventOutput),
        200: json_answer("The first one, when this client_id came before", ChatEventOutput),
    },
)
@api.input(MessageInput)
def post_message(room_id: str, json_data: dict[str, Any]) -> ResponseReturnValue:
    """Send a message; the same client_id again answers with the first one."""
    with atomic():
        event, created = services.post_message(
            current_user, room_id, json_data["client_id"], json_data["body"]
        )
    return make_response(event, 201 if created else 200)


@api.get("/rooms/<room_id>/events")
@requires("chat:use")
@api.input(EventsQuery, location="query")
@api.output(ChatEventsOutput)
def list_events(room_id: str, query_data: dict[str, Any]) -> Any:
    """The log of a room after a number, waiting for something new if asked to.

    Up to 500 events, oldest first. `reset` says that the number is not of this log: load the messages anew, and go on
    from `last_seq`.
    """
    actor = current_user._get_current_object()
    return services.wait_for_events(actor, room_id, query_data["after"], query_data["wait"])


@api.put("/rooms/<room_id>/read")
@requires("chat:use")
@api.input(ReadInput)
@api.output(RoomOutput)
def mark_read(room_id: str, json_data: dict[str, Any]) -> Any:
    """Say how far the member has read; the pointer only moves forward."""
    with atomic():
        room = services.mark_read(current_user, room_id, json_data["seq"])
        return room_json(queries.views_of([room], current_user)[0])
