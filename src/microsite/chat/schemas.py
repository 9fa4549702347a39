"""Shapes of the chat API."""

from __future__ import annotations

from marshmallow import validate
from marshmallow.fields import Boolean, Integer, List, Nested, Raw, String

from microsite.core.schemas import SHOWN_LINES, Input, ListOutput, Output, PageQuery, Whole

SEQ_MAX = 2**31 - 1


class RoomInput(Input):
    kind = String(required=True, validate=validate.OneOf(["direct"]))
    with_ = String(
        required=True, data_key="with", validate=validate.Length(1, 64), metadata={"description": "Username"}
    )


class RoomOutput(Output):
    id = String()
    kind = String(validate=validate.OneOf(["direct", "room"]))
    name = String()
    members = List(String())
    last_seq = Integer()
    last_read_seq = Integer()
    unread = Integer()


class RoomsOutput(ListOutput):
    items = List(Nested(RoomOutput))


class MessageInput(Input):
    client_id = String(
        required=True,
        metadata={"format": "uuid", "description": "A UUID that the client makes for this message"},
    )
    body = String(
        required=True, metadata={"minLength": 1, "maxLength": 10_000, "pattern": SHOWN_LINES.regex.pattern}
    )


class ChatEventOutput(Output):
    seq = Integer()
    type = String()
    id = String()
    client_id = String(allow_none=True)
    sender = String()
    body = String()
    created_at = String(metadata={"format": "date-time"})
    edited_at = String(allow_none=True, metadata={"format": "date-time"})
    attachments = List(Raw())


class MessagesQuery(PageQuery):
    before = Integer(
        load_default=None,
        validate=validate.Range(0, SEQ_MAX),
        metadata={"description": "Messages before this number, newest first"},
    )
    after = Integer(
        load_default=None,
        validate=validate.Range(0, SEQ_MAX),
        metadata={"description": "Messages after this number, oldest first"},
    )


class MessagesOutput(ListOutput):
    items = List(Nested(ChatEventOutput))


class EventsQuery(Input):
    after = Integer(load_default=0, validate=validate.Range(0, SEQ_MAX))
    wait = Integer(
        load_default=0,
        validate=validate.Range(0, 25),
        metadata={"description": "Seconds to wait for something new"},
    )


class ChatEventsOutput(Output):
    events = List(Nested(ChatEventOutput))
    last_seq = Integer()
    reset = Boolean()


class ReadInput(Input):
    seq = Whole(required=True, validate=validate.Range(0, SEQ_MAX))
