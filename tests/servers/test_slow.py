"""Clients that are slow, silent, or never read: pages go on, whatever they hold."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator

import pytest
import requests

from tests.conftest import Server
from tests.servers.wire import Wire

COUNT = 200
ADDRESSES = 50
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
HEAD = b"POST /auth/login HTTP/1.1\r\nHost: 127.0.0.1\r\n"


def body_of(kind: str, length: int) -> bytes:
    return HEAD + f"Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n".encode()


SLOW = {
    "silent": (b"", b""),
    "heads": (HEAD, b"X-a: b\r\n"),
    "form bodies": (body_of("application/x-www-form-urlencoded", 4000), b"a=b&"),
    "JSON bodies": (body_of("application/json", 4000), b" "),
    "large bodies": (body_of("application/json", 1_000_000), b" "),
    "bodies in chunks": (
        HEAD + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"1\r\n \r\n",
    ),
    "expectations": (
        HEAD + b"Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 4000\r\n\r\n",
        b" ",
    ),
    "forms of members that expect": (
        HEAD.replace(b"/auth/login", b"/account/details")
        + b"Sec-Fetch-Site: same-origin\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        + b"Expect: 100-continue\r\nContent-Length: 4000\r\n\r\n",
        b"a=b&",
    ),
    "next heads": (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /", b"a"),
}


class Crowd:
    """Many connections from many addresses, each of which sends a little now and then."""

    def __init__(self, server: Server, first: bytes, drip: bytes) -> None:
        self.drip = drip
        self.sockets: list[socket.socket] = []
        for number in range(COUNT):
            source = (f"127.0.1.{1 + number % ADDRESSES}", 0)
            self.sockets.append(
                socket.create_connection(("127.0.0.1", server.port), 5, source_address=source)
            )
        for each in self.sockets:
            each.sendall(first)

    def send_a_little(self) -> None:
        for each in self.sockets:
            with contextlib.suppress(OSError):
                each.sendall(self.drip)

    def close(self) -> None:
        for each in self.sockets:
            each.close()


@pytest.fixture
def crowd(shared_server: Server) -> Iterator[Callable[..., Crowd]]:
    made: list[Crowd] = []

    def make(first: bytes, drip: bytes = b"") -> Crowd:
        made.append(Crowd(shared_server, first, drip))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("kind", SLOW)
def test_pages_answer_while_many_are_slow(
    shared_server: Server, crowd: Callable[..., Crowd], kind: str
) -> None:
    slow = crowd(*SLOW[kind])
    in_time = 0
    for _ in range(20):
        slow.send_a_little()
        begun = time.monotonic()
        with contextlib.suppress(requests.RequestException):
            requests.get(f"{shared_server.url}/auth/login", timeout=5).raise_for_status()
            in_time += time.monotonic() - begun < 2
    assert in_time >= 19


def test_pages_answer_while_many_do_not_read(shared_server: Server) -> None:
    """Each asks for page after page through a tiny window, and reads none of them."""
    head = b"GET /static/vendor/socket.io.esm.min.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    readers = []
    for number in range(COUNT):
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        reader.bind((f"127.0.1.{1 + number % ADDRESSES}", 0))
        reader.connect(("127.0.0.1", shared_server.port))
        reader.sendall(head * 20)
        readers.append(reader)
    try:
        for _ in range(20):
            assert requests.get(f"{shared_server.url}/auth/login", timeout=5).status_code == 200
    finally:
        for reader in readers:
            reader.close()


def test_a_head_that_never_ends_is_refused_in_words(shared_server: Server) -> None:
    with Wire(shared_server) as wire:
        wire.send(b"GET /api/v1/me HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X-a: b\r\n" * 5000)
        answer = wire.answer()
    assert answer.status == 431


def test_a_request_that_stops_half_way_is_told_so(shared_server: Server) -> None:
    with Wire(shared_server) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: 127")
        answer = wire.answer(30)
    assert answer.status == 408
    assert "in time" in answer.body.decode()


def test_requests_in_one_packet_are_answered_in_turn(shared_server: Server) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with Wire(shared_server) as wire:
        wire.send(head * 3 + head[:10])
        assert _answers(wire, 3) == 3
        wire.send(head[10:])
        assert _answers(wire, 1) == 1


def _answers(wire: Wire, count: int) -> int:
    """Read until so many answers have come whole; their number."""
    wire.socket.settimeout(10)
    seen = b""
    while seen.count(b'{"status":"ok"}') < count:
        data = wire.socket.recv(4096)
        assert data, seen
        seen += data
    return seen.count(b"200 OK")


@pytest.mark.parametrize(
    ("path", "media_type"),
    [("/api/v1/", "application/problem+json"), ("/files/", "text/plain; charset=utf-8")],
)
def test_an_address_that_is_too_long(shared_server: Server, path: str, media_type: str) -> None:
    answer = requests.get(f"{shared_server.url}{path}{'a' * 9000}", timeout=10)
    assert (answer.status_code, answer.headers["Content-Type"]) == (414, media_type)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_whoever_waits_longest_goes_first(serve: Callable[..., Server]) -> None:
    """More silent connections than may wait: the newest is answered."""
    server = serve()
    silent: list[socket.socket] = []
    try:
        for number in range(2300):
            silent.append(
                socket.create_connection(
                    ("127.0.0.1", server.port), 5, source_address=(f"127.0.1.{1 + number % 50}", 0)
                )
            )
            if number % 100 == 99:
                assert requests.get(f"{server.url}/healthz", timeout=5).status_code == 200
        silent[0].settimeout(15)
        assert silent[0].recv(1) == b""
    finally:
        for each in silent:
            each.close()


def test_a_page_that_is_not_read_is_sent_whole_when_it_is(shared_server: Server) -> None:
    whole = requests.get(f"{shared_server.url}/static/vendor/socket.io.esm.min.js", timeout=10).content
    with Wire(shared_server) as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        wire.head("GET", "/static/vendor/socket.io.esm.min.js", {"Connection": "close"})
        answer = wire.answer()
    assert answer.body == whole


def test_an_office_that_comes_at_once_is_answered(shared_server: Server) -> None:
    """300 connections of one address in one moment: none is taken for an attack."""
    connections = [Wire(shared_server) for _ in range(300)]
    for wire in connections:
        wire.head("GET", "/healthz", {"Connection": "close"})
    statuses = [wire.answer().status for wire in connections]
    for wire in connections:
        wire.close()
    assert statuses == [200] * 300
