"""Socket handlers: a thin way into the same services as the API's."""

from __future__ import annotations

from typing import Any

from flask import Flask, current_app, request
from flask_login import current_user
from flask_socketio import ConnectionRefusedError as Refused
from flask_socketio import emit, join_room

from microsite.core.db import atomic, db
from microsite.core.exceptions import DomainError, RateLimited, Unauthorized
from microsite.core.feature import registry
from microsite.core.identity import User
from microsite.core.realtime import NAMESPACE, Connection, connected_user, live, user_room
from microsite.core.sessions import current_row_id
from microsite.extensions import socketio

from . import queries, services


def setup(_app: Flask) -> None:
    """Bind the handlers to the socket server of this application."""
    for name, handler in (("connect", connect), ("disconnect", disconnect), ("send", send)):
        socketio.on_event(name, handler, namespace=NAMESPACE)


def _sid() -> str:
    return str(request.sid)  # type: ignore[attr-defined]


def connect(auth: Any = None) -> None:
    """Let a member in by session cookie, or by `auth: {token}`."""
    try:
        user, connection = (
            _by_token(auth["token"]) if isinstance(auth, dict) and auth.get("token") else _by_cookie()
        )
        if not user.may("chat:use"):
            raise Unauthorized("Your role does not allow this.")
        live().add(_sid(), connection)
        join_room(user_room(user.id))
        emit("heads", queries.heads(user))
    except DomainError as refused:
        raise Refused(refused.detail) from None
    finally:
        db.session.rollback()


def _by_cookie() -> tuple[User, Connection]:
    if not current_user.is_authenticated:
        raise Unauthorized()
    user = current_user._get_current_object()
    return user, Connection(user.id, current_row_id(), lambda: True)


def _by_token(token: Any) -> tuple[User, Connection]:
    opener = registry().capability("credential")["auth"]
    user, session_id, usable = opener(str(token)[:2000])
    if user is None:
        raise Unauthorized("This token is not valid.")
    return user, Connection(user.id, session_id, usable)


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
