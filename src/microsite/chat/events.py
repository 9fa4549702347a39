"""Socket handlers: a thin way into the same services as the API's."""

from __future__ import annotations

from typing import Any

from flask import Flask, current_app, request
from flask_socketio import ConnectionRefusedError as Refused
from flask_socketio import emit, join_room

from microsite.core.db import atomic, db
from microsite.core.exceptions import DomainError, RateLimited, Unauthorized
from microsite.core.realtime import NAMESPACE, connected_user, identify, live, user_room
from microsite.extensions import socketio

from . import queries, services


def setup(_app: Flask) -> None:
    """Bind the handlers to the socket server of this application."""
    for name, handler in (("connect", connect), ("disconnect", disconnect), ("send", send)):
        socketio.on_event(name, handler, namespace=NAMESPACE)


def _sid() -> str:
    return str(request.sid)  # type: ignore[attr-defined]


def connect(auth: Any = None) -> None:
    """Let a member in by `auth: {token}`, by the Authorization header, or by the session cookie."""
    try:
        user, connection = identify(auth.get("token") if isinstance(auth, dict) else None)
        if not user.may("chat:use"):
            raise Unauthorized("Your role does not allow this.")
        live().add(_sid(), connection)
        join_room(user_room(user.id))
        emit("heads", queries.heads(user))
    except DomainError as refused:
        live().connections.pop(_sid(), None)
        raise Refused(refused.detail) from None
    finally:
        db.session.rollback()


def disconnect(*_reason: Any) -> None:
    """Forget the socket."""
    live().connections.pop(_sid(), None)


def send(message: Any = None, *_rest: Any) -> dict[str, Any]:
    """Store a message, and acknowledge it after its commit."""
    try:
        values = message if isinstance(message, dict) else {}
        with atomic():
            actor = connected_user(_sid())
            event, _ = services.post_message(
                actor, str(values.get("room", "")), values.get("client_id"), values.get("body")
            )
        return {"ok": True, "event": event}
    except DomainError as refused:
        error: dict[str, Any] = {"status": refused.status, "code": refused.code, "detail": refused.detail}
        if isinstance(refused, RateLimited):
            error["retry_after"] = refused.retry_after
        return {"ok": False, "error": error}
    except Exception:
        current_app.logger.exception("a message over the socket failed")
        return {
            "ok": False,
            "error": {"status": 500, "code": "internal_error", "detail": "The message could not be stored."},
        }
    finally:
        db.session.rollback()
