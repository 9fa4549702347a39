"""Live connections: the one publish function, waiting for news, and cutting connections.

Truth is in the database; what is sent here is a hint, and losing it costs time only. The socket server itself is
in `sockets`.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from engineio.packet import PING, Packet
from flask import Flask, current_app, request
from flask_login import current_user
from sqlalchemy import select, update

from microsite.core.clock import now
from microsite.core.db import after_commit, db, release
from microsite.core.exceptions import Unauthorized
from microsite.core.feature import registry
from microsite.core.identity import User
from microsite.core.sessions import SEEN_EVERY, SessionRow, current_row_id, why_over
from microsite.core.slots import Holder
from microsite.extensions import socketio

NAMESPACE = "/chat"
MESSAGE_BYTES = 160 * 2**10
IDLE_SECONDS = 60
QUEUE_MAX = 200
JOIN_SECONDS = 3.0
"""How long a socket may be open before it joins."""
LOOK_SECONDS = 0.5
SWEEP_SECONDS = 2.0
SLOT = "microsite.slot"
WEBSOCKET = "microsite.websocket"
HEARD = "microsite.heard"
"""Where the environ of a socket has its slot, its transport, and that a message of it is being handled."""


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
        """A socket is let in, and counted for its member from now on. Raises Unavailable."""
        request.environ[SLOT].move(Holder("member", connection.user_id))
        request.environ[WEBSOCKET].joined()
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
        swept = 0.0
        while not self.closing:
            time.sleep(LOOK_SECONDS)
            try:
                self._ping()
                self._drop_idle_and_slow()
                if time.monotonic() - swept >= SWEEP_SECONDS:
                    swept = time.monotonic()
                    with self.app.app_context():
                        self.sweep()
            except Exception:
                self.app.logger.exception("the sweep of sockets goes on after an error")

    def sweep(self) -> None:
        """Cut what was revoked elsewhere or is over, and count an open socket as activity."""
        connections = list(self.connections.values())
        held = {c.session_id for c in connections if c.session_id is not None}
        rows = {row.id: row for row in db.session.scalars(select(SessionRow).where(SessionRow.id.in_(held)))}
        users = {c.user_id for c in connections}
        active = set(
            db.session.scalars(select(User.id).where(User.id.in_(users), User.disabled_at.is_(None)))
        )
        moment = now()
        alive = {row.id for row in rows.values() if why_over(row, moment) is None}
        stale = [
            row.id
            for row in rows.values()
            if row.id in alive and moment - row.seen_at >= SEEN_EVERY and row.kind == "browser"
        ]
        release()
        if stale:
            with db.engine.begin() as connection:
                connection.execute(update(SessionRow).where(SessionRow.id.in_(stale)).values(seen_at=moment))
        self.cut(
            lambda c: (
                c.user_id not in active
                or (c.session_id is not None and c.session_id not in alive)
                or not c.usable()
            )
        )
        release()

    def _ping(self) -> None:
        """Ping the sockets whose ping is due."""
        moment = time.monotonic()
        for connected in list(socketio.server.eio.sockets.values()):
            due = getattr(connected, "ping_due", None)
            if due is not None and due <= moment and not connected.closed:
                connected.ping_due = None
                connected.last_ping = time.time()
                connected.send(Packet(PING))

    def _drop_idle_and_slow(self) -> None:
        """Drop who was let in nowhere for a while, who was cut and stays, and who reads too slowly."""
        manager, engine = socketio.server.manager, socketio.server.eio
        joined = {manager.eio_sid_from_sid(sid, NAMESPACE) for sid in list(self.connections)}
        moment = time.monotonic()
        self.idle_since = {
            sid: self.idle_since.get(sid, moment) for sid in list(engine.sockets) if sid not in joined
        }
        for sid, connected in list(engine.sockets.items()):
            environ = socketio.server.environ.get(sid, {})
            idle = moment - self.idle_since.get(sid, moment)
            patience = JOIN_SECONDS if HEARD not in environ else IDLE_SECONDS
            if connected.queue.qsize() > QUEUE_MAX or idle > patience:
                websocket = environ.get(WEBSOCKET)
                connected.close(wait=False, abort=True)
                if websocket is not None:
                    websocket.break_off()


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


def identify(token: object = None) -> tuple[User, Connection]:
    """Who opens the socket of this request: by `token`, by the Authorization header, or by the session cookie.

    Raises Unauthorized.
    """
    header = request.authorization
    if token is None and header is not None and header.type == "bearer":
        token = header.token
    if not token:
        if not current_user.is_authenticated:
            raise Unauthorized()
        member: User = current_user._get_current_object()
        return member, Connection(member.id, current_row_id(), lambda: True)
    opener = next(iter(registry().capability("credential").values()))
    user, session_id, usable = opener(str(token)[:2000])
    if user is None:
        raise Unauthorized("This token is not valid.")
    return user, Connection(user.id, session_id, usable)


def connected_user(sid: str) -> User:
    """The member behind a socket, checked anew. Raises Unauthorized, also when what let the socket in is over."""
    connection = live().connections.get(sid)
    user = db.session.get(User, connection.user_id) if connection else None
    if connection is None or user is None or not user.is_active:
        raise Unauthorized()
    if connection.session_id is not None:
        row = db.session.get(SessionRow, connection.session_id)
        if row is None or why_over(row, now()) is not None:
            raise Unauthorized("What you signed in with is over. Sign in again.")
    return user


def schedule_ping(start: Callable[..., Any]) -> Callable[..., Any]:
    """Engineio's way to start a thread, without those that sleep until the next ping of a socket.

    They would outlive their sockets, and let whoever connects again and again fill the memory.
    """

    def start_unless_ping(target: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        if target.__name__ != "_send_ping":
            return start(target, *arguments, **named)
        connected: Any = target.__self__  # type: ignore[attr-defined]
        connected.ping_due = time.monotonic() + connected.server.ping_interval
        return None

    return start_unless_ping


def init_app(app: Flask) -> None:
    app.extensions["microsite.live"] = Live(app)
