"""The hardened Socket.IO server: what a socket may send and hold, before and after it has proven who it is.

Socket.IO runs outside of Flask's request cycle. So a gate in front of it repeats the Host check, takes
only proper WebSocket handshakes, and counts the thread that a socket holds: for its member when the
handshake carries a valid cookie or Authorization, else for the IP address until it has joined.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import simple_websocket
from engineio.async_drivers._websocket_wsgi import SimpleWebSocketWSGI
from flask import Flask
from socketio.packet import CONNECT, DISCONNECT, EVENT, Packet
from sqlalchemy.exc import SQLAlchemyError
from wsproto.utilities import LocalProtocolError

from microsite.core.exceptions import DomainError
from microsite.core.hosts import host_accepted
from microsite.core.realtime import (
    HEARD,
    IDLE_SECONDS,
    MESSAGE_BYTES,
    NAMESPACE,
    SLOT,
    WEBSOCKET,
    identify,
    schedule_ping,
)
from microsite.core.slots import Holder, present_holder
from microsite.extensions import socketio

PATH = "/socket.io"
BUFFER_MAX = 4
STRANGER_BYTES = 8 * 2**10
"""What one message of a socket may have before it has joined."""
CLOSE, PONG, MESSAGE = "1", "3", "4"
"""The packets of Engine.IO that a client sends over a WebSocket."""
READER_SECONDS = 5.0
_logger = logging.getLogger("microsite")


class MalformedPacket(ValueError):
    """A packet that no client of ours sends."""


class StrictPacket(Packet):
    """A packet of Socket.IO that joins, leaves, or is an event of our namespace, without attachments.

    Acknowledgements and binary packets have no use here, and would hold memory for what they announce.
    """

    uses_binary_events = False

    def decode(self, encoded_packet: Any) -> int:
        try:
            super().decode(encoded_packet)
        except (ValueError, TypeError, IndexError, RecursionError) as error:
            raise MalformedPacket(type(error).__name__) from None
        if self.packet_type not in (CONNECT, DISCONNECT, EVENT):
            raise MalformedPacket(f"type {self.packet_type}")
        if self.namespace != NAMESPACE:
            raise MalformedPacket("another namespace")
        named = isinstance(self.data, list) and self.data and isinstance(self.data[0], str)
        if self.packet_type == EVENT and not named:
            raise MalformedPacket("an event without a name")
        return 0


class WholeSends:
    """A socket whose `send` sends everything, one sender at a time: simple-websocket ignores short writes."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        # Pings come every 25 s, so silence means that the peer is gone.
        sock.settimeout(IDLE_SECONDS)

    def send(self, data: bytes) -> int:
        with self._lock:
            self._sock.sendall(data)
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class BoundedWebSocket(simple_websocket.Server):
    """Reads no further while the messages that came are not handled yet, so that a flood waits at the sender.

    When reading ends, for whatever reason, whoever waits for a message is told.
    """

    def _thread(self) -> None:
        try:
            super()._thread()
        except Exception as error:
            _logger.info("reading a socket ended: %s", type(error).__name__)
        finally:
            self.end()

    def end(self) -> None:
        """Let neither thread of this socket wait any longer."""
        self.connected = False
        self.event.set()

    def _handle_events(self) -> bool:
        going = bool(super()._handle_events())
        while len(self.input_buffer) > BUFFER_MAX and self.connected:
            time.sleep(0.02)
        return going


class HardenedWebSocket(SimpleWebSocketWSGI):
    """The driver of engineio: whole sends, sizes that hold before a message is in memory, and a clean end."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:  # noqa: ARG002 - WSGI
        connection = self.app.__self__
        with ended(connection):
            wrapped = {
                name: WholeSends(taken_over(environ[name]))
                for name in ("gunicorn.socket", "werkzeug.socket")
                if name in environ
            }
            plain = environ | wrapped
            # No compression: what a few bytes become would be in memory before its size is looked at.
            plain.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
            self.ws = BoundedWebSocket(plain, max_message_size=STRANGER_BYTES)
            environ[WEBSOCKET] = self
            try:
                self.app(self)
            finally:
                self.break_off()
                self.ws.thread.join(READER_SECONDS)
        if "werkzeug.socket" in environ:
            # How the development server is told that the connection is not its own any more.
            raise ConnectionError
        # How gunicorn is told so.
        raise StopIteration

    def wait(self) -> Any:
        """The next packet of Engine.IO; None, as at the end, for one that no client of ours sends."""
        message = super().wait()
        if isinstance(message, str) and (
            message in (CLOSE, PONG) or (message[:1] == MESSAGE and message[1:2] in "0123456")
        ):
            return message
        return None

    def joined(self) -> None:
        """The socket is a member's now, and may send whole messages."""
        self.ws.max_message_size = MESSAGE_BYTES

    def break_off(self) -> None:
        """End the connection, whatever the peer goes on sending or does not read."""
        self.ws.end()
        with contextlib.suppress(OSError):
            self.ws.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close, and free the thread that reads. The peer may be gone already."""
        with contextlib.suppress(OSError, LocalProtocolError, simple_websocket.ConnectionClosed):
            super().close()
        self.break_off()


def taken_over(channel: Any) -> Any:
    """The bare socket behind the server's channel, which the server then leaves alone."""
    return channel.take_over() if hasattr(channel, "take_over") else channel


@contextlib.contextmanager
def ended(connection: Any) -> Iterator[None]:
    """Afterwards a connection of engineio is closed and forgotten, also when it never got going."""
    try:
        yield
    except (simple_websocket.ConnectionError, simple_websocket.ConnectionClosed, OSError) as error:
        _logger.info("a socket broke off: %s", type(error).__name__)
    finally:
        server = connection.server
        connection.close(wait=False, abort=True, reason=server.reason.TRANSPORT_CLOSE)
        server.sockets.pop(connection.sid, None)


class SocketGate:
    """WSGI in front of Socket.IO: who may knock, and a slot for the thread that each socket holds."""

    def __init__(self, app: Flask, wsgi_app: Any) -> None:
        self.app, self.wsgi_app = app, wsgi_app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if not environ.get("PATH_INFO", "").startswith(PATH):
            return self.wsgi_app(environ, start_response)
        host = environ.get("HTTP_HOST", "")
        if not host_accepted(self.app, host):
            return _plain(start_response, "400 Bad Request", "This site does not answer under that name.")
        if not is_handshake(environ):
            return _plain(start_response, "400 Bad Request", "Only WebSocket connections are taken here.")
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and not origin_accepted(self.app, origin, host):
            return _plain(start_response, "403 Forbidden", "This came from another site.")
        try:
            held = self.app.extensions["microsite.slots"].take(holder_of(self.app, environ))
        except DomainError as refused:
            retry = ("Retry-After", refused.headers["Retry-After"])
            return _plain(start_response, "503 Service Unavailable", refused.detail, retry)
        environ[SLOT] = held
        self.app.extensions["microsite.live"].start_sweeper()
        try:
            return self.wsgi_app(environ, start_response)
        finally:
            held.release()


def is_handshake(environ: dict[str, Any]) -> bool:
    """Whether this is the opening of a WebSocket (RFC 6455 section 4.2.1) for Engine.IO 4."""
    query = parse_qs(environ.get("QUERY_STRING", ""))
    try:
        key = base64.b64decode(environ.get("HTTP_SEC_WEBSOCKET_KEY", ""), validate=True)
    except (binascii.Error, ValueError):
        return False
    connection = environ.get("HTTP_CONNECTION", "").lower().split(",")
    return (
        environ["REQUEST_METHOD"] == "GET"
        and environ.get("HTTP_UPGRADE", "").lower() == "websocket"
        and "upgrade" in [word.strip() for word in connection]
        and environ.get("HTTP_SEC_WEBSOCKET_VERSION") == "13"
        and len(key) == 16
        and query.get("transport") == ["websocket"]
        and query.get("EIO") == ["4"]
        and "sid" not in query
    )


def holder_of(app: Flask, environ: dict[str, Any]) -> Holder:
    """Whom a handshake is counted for: the member behind its cookie or Authorization, else the IP address."""
    with app.request_context(environ):
        try:
            user, _ = identify()
        except (DomainError, SQLAlchemyError):
            return present_holder()
        return Holder("member", user.id)


def _plain(start_response: Any, status: str, text: str, *headers: tuple[str, str]) -> list[bytes]:
    body = text.encode()
    fixed = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ]
    start_response(status, [*fixed, *headers])
    return [body]


def origin_accepted(app: Flask, origin: str, host: str) -> bool:
    """Whether a browser's Origin is this site: that of BASE_URL, or the very host that it speaks to."""
    return origin == app.config["BASE_URL"] or (urlsplit(origin).netloc == host and host_accepted(app, host))


def strict_messages(app: Flask) -> Callable[[str, Any], None]:
    """What handles each message: a malformed one, and whoever is not let in, ends its socket."""
    server = socketio.server

    def handle(eio_sid: str, data: Any) -> None:
        environ = server.environ.get(eio_sid, {})
        environ[HEARD] = True
        try:
            server._handle_eio_message(eio_sid, data)
        except MalformedPacket as error:
            app.logger.info("a malformed packet ended its socket: %s", error)
        except Exception:
            app.logger.exception("an error ended a socket")
        else:
            if server.manager.sid_from_eio_sid(eio_sid, NAMESPACE) is not None:
                return
        finally:
            environ.pop(HEARD, None)
        connection = server.eio.sockets.get(eio_sid)
        if connection is not None:
            connection.close(wait=False)

    return handle


def init_app(app: Flask) -> None:
    def origins(origin: str, environ: dict[str, Any]) -> bool:
        return origin_accepted(app, origin, environ.get("HTTP_HOST", ""))

    socketio.init_app(
        app,
        async_mode="threading",
        transports=["websocket"],
        allow_upgrades=False,
        async_handlers=False,
        cors_allowed_origins=origins,
        cors_credentials=False,
        max_http_buffer_size=MESSAGE_BYTES,
        manage_session=False,
        message_queue=app.config["REDIS_URL"],
        channel="microsite",
        cookie=None,
        logger=False,
        engineio_logger=False,
        serializer=StrictPacket,
        namespaces=[NAMESPACE],
    )
    engine = socketio.server.eio
    engine._async = engine._async | {"websocket": HardenedWebSocket}
    engine.start_background_task = schedule_ping(engine.start_background_task)
    engine.on("message", strict_messages(app))
    app.wsgi_app = SocketGate(app, app.wsgi_app)  # type: ignore[method-assign]
