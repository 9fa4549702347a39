"""Sockets of strangers, of guests, and of members whose sign-in is over: what they may hold, and for how long."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psutil
import pytest
import requests
from sqlalchemy import update

from microsite import create_app
from microsite.core.clock import now
from microsite.core.db import atomic, db
from microsite.core.sessions import SessionRow
from tests.conftest import Server, wait_for
from tests.servers.test_chat import Live, bearer, browser_of, cookie, pair

MIB = 2**20


class Raw:
    """A WebSocket by hand, for what no client library would send."""

    def __init__(self, server: Server, source: str = "127.0.0.1", **headers: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), 10, source_address=(source, 0))
        fixed = {
            "Host": f"127.0.0.1:{server.port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in (fixed | headers).items())
        head = f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n{lines}\r\n"
        self.socket.sendall(head.encode())
        self.status = int(self.socket.recv(4096).split(b" ")[1])

    def send(self, data: str | bytes) -> Raw:
        payload = data.encode() if isinstance(data, str) else data
        head = bytes([0x81 if isinstance(data, str) else 0x82])
        if len(payload) < 126:
            head += bytes([0x80 | len(payload)])
        elif len(payload) < 2**16:
            head += bytes([0x80 | 126]) + struct.pack(">H", len(payload))
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", len(payload))
        # A mask of zeros leaves the payload as it is.
        self.socket.sendall(head + bytes(4) + payload)
        return self

    def is_closed(self, seconds: float = 10) -> bool:
        """Whether the server ends the connection, read to its end."""
        self.socket.settimeout(seconds)
        with contextlib.suppress(ConnectionError):
            while self.socket.recv(65536):
                pass
        return True

    def close(self) -> None:
        self.socket.close()


def memory(server: Server) -> int:
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)])


@pytest.fixture(scope="module")
def guest(shared_server: Server) -> dict[str, str]:
    return {"Authorization": shared_server.add("gast", "guest")["Authorization"]}


@pytest.fixture
def raw(shared_server: Server) -> Iterator[Callable[..., Raw]]:
    made: list[Raw] = []

    def make(server: Server = shared_server, **how: Any) -> Raw:
        made.append(Raw(server, **how))
        return made[-1]

    yield make
    for each in made:
        each.close()


MALFORMED = {
    "attachments": '459999999-/chat,["send",1]',
    "an acknowledgement with attachments": "469999999-/chat,1[]",
    "an acknowledgement": "43/chat,1[]",
    "another namespace": "40",
    "a namespace of nobody": "40/other,",
    "bytes": b"\x04" * 1000,
    "without end": "42/chat," + "[" * 5000,
    "no event": '42/chat,{"a":1}',
    "no name": "42/chat,[[]]",
    "no packet": "hello",
    "empty": "",
    "a pong with words": "3" + "[" * 5000,
    "base64": "bAAAA",
    "a long number": "42/chat," + "9" * 200 + "[]",
    "more than a stranger may": "40/chat," + " " * 20_000,
}


@pytest.mark.parametrize("kind", MALFORMED)
@pytest.mark.parametrize("who", ["a stranger", "a guest"])
def test_what_no_client_sends_ends_the_socket(
    shared_server: Server, raw: Callable[..., Raw], guest: dict[str, str], who: str, kind: str
) -> None:
    before = shared_server.out.read_text()
    hostile = raw(**guest) if who == "a guest" else raw()
    assert hostile.status == 101
    if who == "a guest":
        hostile.send("40/chat,")
    hostile.send(MALFORMED[kind])
    if (who, kind) != ("a guest", "more than a stranger may"):
        assert hostile.is_closed()
    assert "Traceback" not in shared_server.out.read_text()[len(before) :]


def test_announced_attachments_hold_no_memory(
    shared_server: Server, raw: Callable[..., Raw], guest: dict[str, str]
) -> None:
    requests.get(f"{shared_server.url}/", timeout=5)
    before = memory(shared_server)
    for who in (guest, {}):
        for _ in range(6):
            hostile = raw(**who)
            with contextlib.suppress(OSError):
                hostile.send('459999999-/chat,["send",1]')
                for _ in range(60):
                    hostile.send(os.urandom(150 * 2**10))
            assert hostile.is_closed()
    assert memory(shared_server) - before < 10 * MIB


def _open_connections(worker: psutil.Process, server: Server) -> int:
    found = worker.net_connections("tcp")
    return sum(each.status == "ESTABLISHED" and each.laddr.port == server.port for each in found)


def test_coming_back_again_and_again_holds_nothing(shared_server: Server, raw: Callable[..., Raw]) -> None:
    """Threads are told by the operating system: one that sleeps for a socket outlives it."""
    assert shared_server.process is not None
    worker = psutil.Process(shared_server.process.pid).children()[0]
    raw().close()
    threads = worker.num_threads()
    for number in range(300):
        each = Raw(shared_server, source=f"127.0.1.{1 + number % 50}")
        if number % 3 == 0:
            each.send("40/chat,")
        if number % 3 == 1:
            each.send("hello")
        each.close()
    # The pool may have filled up meanwhile: 128 threads, and a few of the house.
    wait_for(lambda: worker.num_threads() < max(threads, 128) + 20, 20, "the end of their threads")
    wait_for(
        lambda: not _open_connections(worker, shared_server),
        20,
        "the end of their connections",
    )


def test_handshakes_that_are_none_hold_nothing(shared_server: Server) -> None:
    for headers in (
        {"Sec-WebSocket-Key": "short"},
        {"Sec-WebSocket-Key": "%%%"},
        {"Sec-WebSocket-Version": "8"},
        {"Connection": "close"},
        {"Upgrade": "h2c"},
    ):
        each = Raw(shared_server, **headers)
        assert each.status == 400
        each.close()


def test_messages_that_are_too_long_give_their_slots_back(
    shared_server: Server, raw: Callable[..., Raw]
) -> None:
    """The thread that waits for a message is told of the end, whenever the one that reads gives up."""
    for number in range(60):
        hostile = raw(source=f"127.0.1.{1 + number % 50}")
        assert hostile.status == 101
        with contextlib.suppress(OSError):
            hostile.send("x" * 9000)
        assert hostile.is_closed()
    assert raw(source="127.0.2.9").status == 101


@pytest.mark.parametrize("extension", ["permessage-deflate; server_max_window_bits=abc", "x; y="])
def test_extensions_are_left_out(shared_server: Server, raw: Callable[..., Raw], extension: str) -> None:
    before = shared_server.out.read_text()
    hostile = raw(**{"Sec-WebSocket-Extensions": extension})
    assert hostile.status == 101
    hostile.close()
    assert "Traceback" not in shared_server.out.read_text()[len(before) :]


def test_a_stranger_who_says_nothing_is_sent_away(raw: Callable[..., Raw]) -> None:
    assert raw().is_closed(10)


def test_strangers_have_few_sockets_and_members_go_on(shared_server: Server, raw: Callable[..., Raw]) -> None:
    first, second, room = pair(shared_server)
    name = requests.get(f"{shared_server.url}/api/v1/me", headers=first, timeout=10).json()["username"]
    session = cookie(browser_of(shared_server, name))
    strangers = [raw(source=f"127.0.1.{1 + number % 50}") for number in range(160)]
    taken = [each for each in strangers if each.status == 101]
    assert 0 < len(taken) <= 28
    assert {each.status for each in strangers} == {101, 503}
    # By cookie, and by Authorization: counted for their member from the start.
    by_cookie = Live(shared_server, headers={"Cookie": session})
    by_header = Live(shared_server, headers=second)
    wait_for(lambda: by_cookie.heads and by_header.heads, what="both members' sockets")
    assert by_cookie.send(room, "still here")["ok"] is True
    wait_for(lambda: by_header.events, what="the message")
    stored = requests.put(
        f"{shared_server.url}/api/v1/upload/a.bin", data=bytes(MIB), headers=first, timeout=20
    )
    assert stored.status_code == 201
    by_cookie.close()
    by_header.close()


def test_one_address_of_strangers_does_not_shut_out_the_others(raw: Callable[..., Raw]) -> None:
    crowd = [raw(source="127.0.2.1") for _ in range(20)]
    assert {each.status for each in crowd} == {101, 503}
    assert raw(source="127.0.2.2").status == 101


def test_one_office_comes_back_at_once(serve: Callable[..., Server]) -> None:
    """Sockets with a valid cookie from one address are counted for their members, never for the address."""
    server = serve("--threads", "160")
    names = [f"m{uuid.uuid4().hex[:8]}" for _ in range(5)]
    for name in names:
        server.add(name)
    sessions = [cookie(browser_of(server, name)) for name in names]
    found: list[Raw] = []

    def come_back(number: int) -> None:
        found.append(Raw(server, Cookie=sessions[number % 5]))

    threads = [threading.Thread(target=come_back, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [each.status for each in found] == [101] * 60
    for each in found:
        each.close()


@pytest.mark.parametrize("how", ["token", "cookie"])
def test_a_socket_ends_with_what_let_it_in(shared_server: Server, how: str) -> None:
    """The token of 15 minutes is over, or the session's last hour: the API answers 401, and the socket ends."""
    first, _, room = pair(shared_server)
    name = requests.get(f"{shared_server.url}/api/v1/me", headers=first, timeout=10).json()["username"]
    if how == "token":
        live = Live(shared_server, auth=bearer(first))
    else:
        live = Live(shared_server, headers={"Cookie": cookie(browser_of(shared_server, name))})
    assert live.send(room, "before")["ok"] is True
    app = create_app(
        INSTANCE=str(shared_server.instance),
        DATABASE_URL=shared_server.environment["MICROSITE_DATABASE_URL"],
    )
    kind = "token" if how == "token" else "browser"
    with app.app_context():
        from microsite.auth.services import user_by_name

        user = user_by_name(name)
        assert user is not None
        over = update(SessionRow).where(SessionRow.user_id == user.id, SessionRow.kind == kind)
        with atomic():
            db.session.execute(over.values(expires_at=now() - timedelta(seconds=1)))
        db.engine.dispose()
    wait_for(lambda: not live.socket.connected, 10, "the end of the socket")
