"""Clients that are slow, silent, or never read: pages go on, whatever they hold."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import requests
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser

from microsite.gunicorn_channel import Channel
from microsite.gunicorn_worker import CollectingWorker, announced_body
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


@pytest.mark.parametrize("name", ["socket.io.esm.min.js", "bootstrap-icons.svg"])
def test_pages_answer_while_many_do_not_read(shared_server: Server, name: str) -> None:
    """Each asks for a file again and again through a tiny window, and reads none of it; the second has 1.1 MB."""
    head = f"GET /static/vendor/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
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
    [("/api/v1/", "application/problem+json"), ("/files/", "text/html; charset=utf-8")],
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


def test_what_comes_after_a_refused_body_is_no_request(shared_server: Server) -> None:
    """The refusal came before the body, which stalls: the bytes that follow belong to it."""
    with Wire(shared_server) as wire:
        wire.head("PUT", "/api/v1/upload/a", {"Content-Length": "300000"})
        assert wire.answer().status == 401
        wire.socket.settimeout(10)
        with contextlib.suppress(ConnectionError):
            wire.send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert wire.socket.recv(1000) == b""


@pytest.fixture
def pair_of_sockets() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield Channel(ours), theirs
    ours.close()
    theirs.close()


def test_the_rest_of_a_body_that_came_too_slowly_is_no_request(
    pair_of_sockets: tuple[Channel, socket.socket],
) -> None:
    channel, client = pair_of_sockets
    client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + b"x" * 1000)
    parser = RequestParser(Config(), channel, ("127.0.0.1", 1))
    request = next(parser)
    channel.deadline = time.monotonic()
    while request.body.read(65536):
        pass
    client.sendall(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    connection = SimpleNamespace(sock=channel, parser=parser)
    assert not CollectingWorker._keepalive_after(None, connection, True)  # type: ignore[arg-type]


def test_a_slow_reader_is_waited_for_piece_by_piece(
    pair_of_sockets: tuple[Channel, socket.socket],
) -> None:
    """The time-out is for one piece, not for all that is left of a long answer."""
    channel, client = pair_of_sockets
    channel.settimeout(1)
    data = bytes(range(256)) * 16_384
    received = bytearray()

    def read_slowly() -> None:
        while piece := client.recv(256 * 2**10):
            received.extend(piece)
            time.sleep(0.15)

    reader = threading.Thread(target=read_slowly)
    reader.start()
    channel.sendall(data)
    channel.flush()
    channel.shutdown(socket.SHUT_WR)
    reader.join(20)
    assert bytes(received) == data


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0),
        (b"POST / HTTP/1.1\r\nContent-Length: 12\r\n\r\n", 12),
        (b"POST / HTTP/1.1\r\ncontent-length:12 \r\nHost: a\r\n\r\n", 12),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 12\r\n\r\n", None),
        (b"POST / HTTP/1.1\r\nContent-Length: 9999999999999999999\r\n\r\n", None),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", None),
        (b"POST / HTTP/1.1\r\nContent-Length : 12\r\n\r\n", None),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", None),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n", None),
    ],
)
def test_what_a_head_announces(head: bytes, body: int | None) -> None:
    assert announced_body(head) == body
