"""Live connections: the hardened socket server, the one publish function, waiting for news, and cutting connections.

Truth is in the database; what is sent here is a hint, and losing it costs time only. Socket.IO runs outside Flask's
request cycle, so a WSGI gate in front of it repeats the Host check and counts the threads that sockets hold.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import simple_websocket
from engineio.async_drivers._websocket_wsgi import SimpleWebSocketWSGI
from flask import Flask, current_app
from sqlalchemy import select, update

from microsite.core.clock import now
from microsite.core.db import after_commit, db, release
from microsite.core.exceptions import DomainError, Unauthorized
from microsite.core.hosts import host_accepted
from microsite.core.identity import User
from microsite.core.sessions import SEEN_EVERY, SessionRow
from microsite.extensions import socketio

NAMESPACE = "/chat"
PATH = "/socket.io"
MESSAGE_BYTES = 160 * 2**10
IDLE_SECONDS = 60
QUEUE_MAX = 200
BUFFER_MAX = 4
JOIN_SECONDS = 15.0
SWEEP_SECONDS = 2.0


@dataclass(frozen=True)
class Connection:
    """One live socket: whose it is, and by which session, token or key it came in."""

    user_id: int
    session_id: int | None
    usable: Callable[[], bool]


class Live:
    """The connections of this process, and the news that its long polls wait for."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.connections: dict[str, Connection] = {}
        self.news = threading.Condition()
        self.versions: Counter[str] = Counter()
        self.closing = False
        self.sweeper: threading.Thread | None = None
        self.idle_since: dict[str, float] = {}
        self.lock = threading.Lock()

    def add(self, sid: str, connection: Connection) -> None:
        self.connections[sid] = connection

    def start_sweeper(self) -> None:
        """With the first socket, so that building the application starts no thread."""
        with self.lock:
            if self.sweeper is None:
                self.sweeper = threading.Thread(target=self._sweep_for_ever, name="sockets", daemon=True)
                self.sweeper.start()

    def signal(self, channel: str) -> None:
        """Wake whoever waits for this channel."""
        with self.news:
            self.versions[channel] += 1
            self.news.notify_all()

    def wait(self, channel: str, version: int, seconds: float) -> bool:
        """Wait for news of a channel newer than `version`; False when the time is over."""
        with self.news:
            return self.news.wait_for(lambda: self.closing or self.versions[channel] != version, seconds)

    def cut(self, doomed: Callable[[Connection], bool]) -> None:
        """Disconnect the sockets that `doomed` names."""
        for sid, connection in list(self.connections.items()):
            if doomed(connection):
                self.connections.pop(sid, None)
                socketio.server.disconnect(sid, namespace=NAMESPACE)

    def close(self) -> None:
        """The server ends: let polls answer, and break the transports, so that clients reconnect by themselves."""
        self.closing = True
        with self.news:
            self.news.notify_all()
        if socketio.server is not None:
            for connected in list(socketio.server.eio.sockets.values()):
                connected.close(wait=False)

    def _sweep_for_ever(self) -> None:
        while not self.closing:
            time.sleep(SWEEP_SECONDS)
            try:
                with self.app.app_context():
                    self.sweep()
            except Exception:
                self.app.logger.exception("the sweep of sockets goes on after an error")

    def sweep(self) -> None:
        """Cut what was revoked elsewhere, drop who reads too slowly, and count an open socket as activity."""
        connections = list(self.connections.values())
        held = {c.session_id for c in connections if c.session_id is not None}
        rows = {row.id: row for row in db.session.scalars(select(SessionRow).where(SessionRow.id.in_(held)))}
        users = {c.user_id for c in connections}
        active = set(
            db.session.scalars(select(User.id).where(User.id.in_(users), User.disabled_at.is_(None)))
        )
        stale = [
            row.id for row in rows.values() if now() - row.seen_at >= SEEN_EVERY and row.kind == "browser"
        ]
        alive = set(rows)
        release()
        if stale:
            with db.engine.begin() as connection:
                connection.execute(update(SessionRow).where(SessionRow.id.in_(stale)).values(seen_at=now()))
        self.cut(
            lambda c: (
                c.user_id not in active
                or (c.session_id is not None and c.session_id not in alive)
                or not c.usable()
            )
        )
        release()
        self._drop_idle_and_slow()

    def _drop_idle_and_slow(self) -> None:
        """Drop who was let in nowhere for a while, who was cut and stays, and who reads too slowly."""
        manager, engine = socketio.server.manager, socketio.server.eio
        joined = {manager.eio_sid_from_sid(sid, NAMESPACE) for sid in list(self.connections)}
        moment = time.monotonic()
        self.idle_since = {
            sid: self.idle_since.get(sid, moment) for sid in list(engine.sockets) if sid not in joined
        }
        for sid, connected in list(engine.sockets.items()):
            if (
                connected.queue.qsize() > QUEUE_MAX
                or moment - self.idle_since.get(sid, moment) > JOIN_SECONDS
            ):
                connected.close(wait=False, abort=True)


def live() -> Live:
    """The live connections of the present application."""
    found: Live = current_app.extensions["microsite.live"]
    return found


def publish(event: str, payload: dict[str, Any], *, users: Iterable[int], channel: str) -> None:
    """Send to every connection of these members once the present transaction is committed, and wake who waits."""
    rooms, here = [user_room(user_id) for user_id in users], live()

    def send() -> None:
        socketio.emit(event, payload, to=rooms, namespace=NAMESPACE)

    after_commit(lambda: here.signal(channel))
    after_commit(send)


def user_room(user_id: int) -> str:
    return f"user:{user_id}"


def cut_now(*, user_id: int | None = None, session_id: int | None = None) -> None:
    """Cut the live connections of a member or a session. Other processes notice within seconds."""
    live().cut(lambda c: c.session_id == session_id if session_id is not None else c.user_id == user_id)


def cut_connections(*, user_id: int | None = None, session_id: int | None = None) -> None:
    """Cut the live connections of a member or a session once the present transaction is committed."""
    after_commit(lambda: cut_now(user_id=user_id, session_id=session_id))


def connected_user(sid: str) -> User:
    """The member behind a socket, checked anew. Raises Unauthorized."""
    connection = live().connections.get(sid)
    user = db.session.get(User, connection.user_id) if connection else None
    if user is None or not user.is_active:
        raise Unauthorized()
    return user


# --- the hardened server -----------------------------------------------------------------------------------------


class _WholeSends:
    """A socket whose `send` sends everything, one sender at a time: simple-websocket ignores short writes."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        sock.settimeout(IDLE_SECONDS)  # pings come every 25 s, so silence means that the peer is gone

    def send(self, data: bytes) -> int:
        with self._lock:
            self._sock.sendall(data)
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class _Bounded(simple_websocket.Server):
    """Reads no further while the messages that came are not handled yet, so that a flood waits at the sender."""

    def _handle_events(self) -> bool:
        going = bool(super()._handle_events())
        while len(self.input_buffer) > BUFFER_MAX and self.connected:
            time.sleep(0.02)
        return going


class HardenedWebSocket(SimpleWebSocketWSGI):
    """The driver of engineio with whole sends, and a size limit that holds before a message is in memory."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:  # noqa: ARG002 - WSGI
        for name in ("gunicorn.socket", "werkzeug.socket"):
            if name in environ:
                environ = environ | {name: _WholeSends(environ[name])}
        self.ws = _Bounded(environ, max_message_size=MESSAGE_BYTES)
        answer = self.app(self)
        if self.ws.mode == "gunicorn":
            raise StopIteration  # gunicorn's way to say that the connection is not its own any more
        if self.ws.mode == "werkzeug":
            raise ConnectionError
        return answer

    def close(self) -> None:
        """Close, and free the thread that reads, whatever the peer goes on sending."""
        try:
            super().close()
        finally:
            with contextlib.suppress(OSError):
                self.ws.sock.shutdown(socket.SHUT_RDWR)


class SocketGate:
    """WSGI in front of Socket.IO: the Host check, and a slot for the thread that each socket holds."""

    def __init__(self, app: Flask, wsgi_app: Any) -> None:
        self.app, self.wsgi_app = app, wsgi_app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if not environ.get("PATH_INFO", "").startswith(PATH):
            return self.wsgi_app(environ, start_response)
        if not host_accepted(self.app, environ.get("HTTP_HOST", "")):
            return _plain(start_response, "400 Bad Request", "This site does not answer under that name.")
        if environ.get("HTTP_UPGRADE", "").lower() != "websocket":
            return _plain(start_response, "400 Bad Request", "Only WebSocket connections are taken here.")
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and not origin_accepted(self.app, origin, environ.get("HTTP_HOST", "")):
            return _plain(start_response, "403 Forbidden", "This came from another site.")
        held = self.app.extensions["microsite.slots"]
        try:
            held.acquire()
            self.app.extensions["microsite.live"].start_sweeper()
        except DomainError as refused:
            return _plain(start_response, "503 Service Unavailable", refused.detail, ("Retry-After", "5"))
        try:
            return self.wsgi_app(environ, start_response)
        finally:
            held.release()


def _plain(start_response: Any, status: str, text: str, *headers: tuple[str, str]) -> list[bytes]:
    body = text.encode()
    fixed = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    safe = [
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ]
    start_response(status, [*fixed, *safe, *headers])
    return [body]


def origin_accepted(app: Flask, origin: str, host: str) -> bool:
    """Whether a browser's Origin is this site: that of BASE_URL, or the very host that it speaks to."""
    return origin == app.config["BASE_URL"] or (urlsplit(origin).netloc == host and host_accepted(app, host))


def init_app(app: Flask) -> None:
    app.extensions["microsite.live"] = Live(app)

    def origins(origin: str, environ: dict[str, Any]) -> bool:
        return origin_accepted(app, origin, environ.get("HTTP_HOST", ""))

    socketio.init_app(
        app, async_mode="threading", transports=["websocket"], allow_upgrades=False, async_handlers=False,
        cors_allowed_origins=origins, cors_credentials=False, max_http_buffer_size=MESSAGE_BYTES, manage_session=False,
        message_queue=app.config["REDIS_URL"], channel="microsite", cookie=None, logger=False, engineio_logger=False,
    )  # fmt: skip
    engine = socketio.server.eio
    engine._async = engine._async | {"websocket": HardenedWebSocket}
    app.wsgi_app = SocketGate(app, app.wsgi_app)  # type: ignore[method-assign]
