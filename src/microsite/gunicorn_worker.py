"""gunicorn's threaded worker, with all waiting for the network outside of its threads.

A thread gets a connection when the head of a request has arrived whole, and a small body with it.
What of an answer does not fit into the socket's buffer is sent on without a thread. So whoever
sends or reads slowly, or says nothing at all, costs memory within bounds and no thread. What the
application itself reads or sends for long takes a slot: `core.slots`.

This stands on names of gunicorn that are not public, so `pyproject.toml` pins gunicorn exactly, and
`tests/servers/test_slow.py` fails when they move.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import re
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from http import HTTPStatus
from typing import Any

from gunicorn.http import errors
from gunicorn.workers.gthread import TConn, ThreadWorker

from microsite.gunicorn_channel import READ_BYTES, Channel

HEAD_BYTES = 32 * 2**10
BODY_BYTES = 256 * 2**10
"""A body that announces no more than this is collected before a thread sees its request."""
HELD_BYTES = 64 * 2**20
"""Bytes of all requests and answers together that wait for the network."""
WAITING_MAX = 2048
"""Connections without a thread; beyond it the oldest go."""
WAITING_PER_IP = 128
"""Beyond it the oldest of that IP address go, unless they came just now: an office comes back at once."""
JUST_NOW_SECONDS = 2.0
HEAD_SECONDS = 10.0
BODY_SECONDS = 30.0
SEND_SECONDS = 60.0
LINGER_SECONDS = 2.0
LINGER_BYTES = 4 * 2**20
IDLE_SECONDS = 60.0
"""How long a thread waits for one more piece of a large body, or for the next piece to be taken."""
DRAIN_SECONDS = 0.1
ACCEPTS_AT_ONCE = 64

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*(?=\r\n)", re.IGNORECASE)
_ANY_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:", re.IGNORECASE)
_UNKNOWN_LENGTH = re.compile(rb"\r\n(?:transfer-encoding|expect)[ \t]*:", re.IGNORECASE)
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{title}</h1><p>{sentence}</p></body>
</html>
"""
_SENTENCES = {
    400: "The request is not proper HTTP.",
    408: "The request did not arrive in time.",
    414: "The address is too long.",
    417: "That expectation cannot be met.",
    431: "The head of the request is too long.",
    500: "Something on our side failed.",
    501: "Bodies are taken as they are or in chunks, in no other coding.",
}


def announced_body(head: bytes) -> int | None:
    """Bytes of the body that a head announces; None where the application has to read to know."""
    if _UNKNOWN_LENGTH.search(head):
        return None
    named = len(_ANY_LENGTH.findall(head))
    lengths = _LENGTH.findall(head)
    if named == 0:
        return 0
    return int(lengths[0]) if named == len(lengths) == 1 else None


class Connection(TConn):
    """One connection, and what has arrived of its next request."""

    sock: Channel

    def __init__(self, cfg: Any, raw: socket.socket, client: Any, server: Any) -> None:
        super().__init__(cfg, Channel(raw), client, server)
        self.ip = _visitor(client[0]) if isinstance(client, tuple) else None
        self.received = bytearray()
        self.wanted = 0
        self.held = 0
        self.drained = 0
        self.since = 0.0
        self.deadline = 0.0


def _visitor(ip: str) -> str:
    """One word for one visitor: an IPv4 address, or the /64 of an IPv6 one."""
    parsed = ipaddress.ip_address(ip.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv4Address):
        return ip
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return parsed.exploded[:19]


class CollectingWorker(ThreadWorker):
    """Connections that wait are in the poller, each with a deadline; the oldest are first.

    All methods run in the main thread, but for `handle_request`, `handle_error` and
    `_keepalive_after`.
    """

    waiting_per_ip: int | None = WAITING_PER_IP
    """None behind a proxy, whose address all connections have."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.waiting: dict[Connection, None] = {}
        self.waiting_by_ip: Counter[str] = Counter()
        self.waiting_max = WAITING_MAX
        self.held = 0
        self.swept_at = 0.0

    # --- waiting ---------------------------------------------------------------------------------

    def accept(self, listener: Any) -> None:
        """Take the connections that are there."""
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                raw, client = listener.accept()
            except OSError as error:
                if error.errno in (errno.EBADF, errno.EINVAL, errno.ENOTSOCK):
                    raise
                if error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                    self.log.warning("A connection was not accepted: %s", error.strerror)
                    self._drop_oldest()
                return
            self.nr_conns += 1
            connection = Connection(self.cfg, raw, client, listener.getsockname())
            self._make_room(connection.ip)
            self._wait(connection, selectors.EVENT_READ, self._collect, HEAD_SECONDS)

    def _make_room(self, ip: str | None) -> None:
        if len(self.waiting) >= self.waiting_max:
            self._drop_oldest()
        if self.waiting_per_ip is None or ip is None:
            return
        if self.waiting_by_ip[ip] >= self.waiting_per_ip:
            self._drop_oldest(ip, time.monotonic() - JUST_NOW_SECONDS)

    def _drop_oldest(self, ip: str | None = None, before: float | None = None) -> None:
        """Drop who has waited longest, since `before` at least; who is being answered, only where nobody else is."""
        answered = None
        for connection in self.waiting:
            if before is not None and connection.since > before:
                break
            if ip not in (None, connection.ip):
                continue
            if not connection.sock.unsent:
                self._drop(connection)
                return
            answered = answered or connection
        if answered is not None:
            self._drop(answered)

    def _wait(
        self,
        connection: Connection,
        events: int,
        callback: Callable[[Connection, Any], None],
        seconds: float,
    ) -> None:
        connection.sock.setblocking(False)
        connection.since = time.monotonic()
        connection.deadline = connection.since + seconds
        self.waiting[connection] = None
        self.waiting_by_ip[str(connection.ip)] += 1
        self.poller.register(connection.sock, events, partial(self._ready, connection, callback))
        self._count(connection)

    def _ready(self, connection: Connection, callback: Callable[[Connection, Any], None], sock: Any) -> None:
        """Go on with a connection, unless it was dropped for another one that was ready at the same moment."""
        if connection in self.waiting:
            callback(connection, sock)

    def _forget(self, connection: Connection) -> None:
        """Let a connection wait no longer."""
        del self.waiting[connection]
        self.held -= connection.held
        connection.held = 0
        self.waiting_by_ip[str(connection.ip)] -= 1
        if not self.waiting_by_ip[str(connection.ip)]:
            del self.waiting_by_ip[str(connection.ip)]
        self.poller.unregister(connection.sock)

    def _count(self, connection: Connection) -> None:
        """Count the bytes that wait; where they are too many, whoever has waited longest with some goes."""
        size = len(connection.received) + len(connection.sock.unsent)
        self.held += size - connection.held
        connection.held = size
        while self.held > HELD_BYTES:
            self._drop(next(other for other in self.waiting if other.held))

    def _drop(self, connection: Connection) -> None:
        self._forget(connection)
        self.nr_conns -= 1
        connection.close()

    def murder_keepalived(self, force: bool = False) -> None:
        """Drop whose time is over; gunicorn calls this about once a second."""
        moment = time.monotonic()
        if moment - self.swept_at < 0.25 and not force:
            return
        self.swept_at = moment
        for connection in list(self.waiting):
            if connection not in self.waiting or (connection.deadline > moment and not force):
                continue
            if connection.received and not force:
                self._refuse(connection, 408)
            else:
                self._drop(connection)

    def _cap_keepalive(self, deadline: float) -> None:
        """The worker stops: nobody but who is being answered is waited for any longer than this."""
        for connection in self.waiting:
            if not connection.sock.unsent:
                connection.deadline = min(connection.deadline, deadline)

    # --- a request that arrives --------------------------------------------------------------------

    def _collect(self, connection: Connection, _sock: Any) -> None:
        data = connection.sock.receive()
        if data:
            self._take(connection, data)
        elif data is not None:
            self._drop(connection)

    def _take(self, connection: Connection, data: bytes) -> None:
        """Add what has arrived, and hand the connection over when its request is whole."""
        if not connection.received:
            data = data.lstrip(b"\r\n")
            if not data:
                return
            connection.deadline = time.monotonic() + HEAD_SECONDS
        searched = max(0, len(connection.received) - 3)
        connection.received += data
        if not connection.wanted:
            end = connection.received.find(b"\r\n\r\n", searched)
            if end >= 0:
                self._look_at_head(connection, end + 4)
            elif len(connection.received) > HEAD_BYTES:
                self._refuse(connection, 431)
                return
        if connection.wanted and len(connection.received) >= connection.wanted:
            self._hand_over(connection)
        else:
            self._count(connection)

    def _look_at_head(self, connection: Connection, length: int) -> None:
        head = bytes(connection.received[:length])
        body = announced_body(head)
        channel = connection.sock
        channel.is_api = b" /api/" in head[:64].split(b"\r\n")[0]
        channel.body_waits = body is None or body > BODY_BYTES
        connection.wanted = length
        if body and not channel.body_waits:
            connection.wanted += body
            connection.deadline = time.monotonic() + BODY_SECONDS

    def _hand_over(self, connection: Connection) -> None:
        """Give a connection to a thread. What was collected is all that its parser may read of the head."""
        self._forget(connection)
        connection.sock.deadline = 0.0
        connection.sock.cut_off = False
        connection.data_ready = True
        connection.init()
        connection.parser.unreader.unread(bytes(connection.received))
        connection.received.clear()
        connection.wanted = 0
        self.enqueue_req(connection)

    def _refuse(self, connection: Connection, status: int) -> None:
        self._forget(connection)
        connection.received.clear()
        connection.sock.unsent += refusal(status, is_api=connection.sock.is_api)
        send_on = partial(self._send_on, going_on=False)
        self._wait(connection, selectors.EVENT_WRITE, send_on, LINGER_SECONDS)

    # --- a thread is done --------------------------------------------------------------------------

    def finish_request(self, connection: Connection, future: Future[bool]) -> None:
        """Send the rest of the answer, then wait for the next request or close."""
        try:
            self._go_on(connection, future)
        except Exception:
            self.log.exception("A connection could not go on")
            if connection in self.waiting:
                self._forget(connection)
            self.nr_conns -= 1
            connection.close()

    def _go_on(self, connection: Connection, future: Future[bool]) -> None:
        going_on = not future.cancelled() and future.exception() is None and future.result()
        if connection.sock.taken_over or connection.sock.fileno() < 0:
            self.nr_conns -= 1
            connection.close()
        elif connection.sock.unsent:
            send_on = partial(self._send_on, going_on=going_on)
            self._wait(connection, selectors.EVENT_WRITE, send_on, SEND_SECONDS)
        else:
            self._after_answer(connection, going_on=going_on)

    def _send_on(self, connection: Connection, _sock: Any, *, going_on: bool) -> None:
        channel = connection.sock
        try:
            sent = channel.raw.send(memoryview(channel.unsent)[:READ_BYTES])
        except BlockingIOError:
            return
        except OSError:
            self._drop(connection)
            return
        del channel.unsent[:sent]
        self._count(connection)
        if not channel.unsent:
            self._forget(connection)
            self._after_answer(connection, going_on=going_on)

    def _after_answer(self, connection: Connection, *, going_on: bool) -> None:
        if not going_on:
            self._linger(connection)
            return
        seconds = float(self.cfg.keepalive) if self.alive else LINGER_SECONDS
        self._wait(connection, selectors.EVENT_READ, self._collect, seconds)
        ahead = connection.parser.unreader.take_buffered()
        if ahead and connection in self.waiting:
            self._take(connection, ahead)

    def _linger(self, connection: Connection) -> None:
        """Close so that the client can read the answer before it sees the end (RFC 9112 section 9.6)."""
        try:
            connection.sock.raw.shutdown(socket.SHUT_WR)
        except OSError:
            self.nr_conns -= 1
            connection.close()
            return
        self._wait(connection, selectors.EVENT_READ, self._drain, LINGER_SECONDS)

    def _drain(self, connection: Connection, _sock: Any) -> None:
        data = connection.sock.receive()
        if data is None:
            return
        connection.drained += len(data)
        if not data or connection.drained > LINGER_BYTES:
            self._drop(connection)

    # --- in a thread -------------------------------------------------------------------------------

    def handle_request(self, request: Any, connection: Connection) -> bool:
        connection.sock.settimeout(IDLE_SECONDS)
        connection.sock.deadline = time.monotonic() + BODY_SECONDS
        return bool(super().handle_request(request, connection))

    def _keepalive_after(self, connection: Connection, keepalive: bool) -> bool:
        """Whether the connection can go on: not when the rest of a body would have to be waited for.

        Where a body was cut off by its deadline, what comes next is the rest of it, and no request.
        """
        if not keepalive or connection.sock.cut_off:
            return False
        # So that the time-out of the next line is told as one, not as the client's end.
        connection.sock.deadline = None
        return bool(connection.parser.finish_body(deadline=time.monotonic() + DRAIN_SECONDS))

    def handle_error(self, _request: Any, channel: Any, _client: Any, error: Exception) -> None:
        """Answer what never reached the application. Neither answer nor log has the address in it."""
        status = 500
        ours = errors.InvalidResponseHeader | errors.InvalidResponseHeaderName
        if isinstance(error, errors.ParseException) and not isinstance(error, ours):
            status = _status_of(error)
            self.log.info("A request was not proper HTTP: %s", type(error).__name__)
        else:
            self.log.exception("An error outside of the application")
        channel.sendall(refusal(status, is_api=channel.is_api))


def _status_of(error: errors.ParseException) -> int:
    known: dict[type, int] = {
        errors.LimitRequestLine: 414,
        errors.LimitRequestHeaders: 431,
        errors.UnsupportedTransferCoding: 501,
        errors.ExpectationFailed: 417,
    }
    return known.get(type(error), 400)


def refusal(status: int, *, is_api: bool) -> bytes:
    """The whole answer for a request that never reached the application; problem JSON (RFC 9457) for the API."""
    title, sentence = HTTPStatus(status).phrase, _SENTENCES[status]
    if is_api:
        code = "internal_error" if status == 500 else "bad_request"
        problem = {"type": "about:blank", "title": title, "status": status, "detail": sentence, "code": code}
        body, media_type = json.dumps(problem), "application/problem+json"
    else:
        body, media_type = _PAGE.format(title=title, sentence=sentence), "text/html; charset=utf-8"
    lines = (
        f"HTTP/1.1 {status} {title}",
        "Connection: close",
        f"Content-Type: {media_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'",
        "",
        body,
    )
    return "\r\n".join(lines).encode()
