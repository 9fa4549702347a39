"""Chat on a real server: sockets, polls, kills, a hostile peer."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
import requests
import simple_websocket
import socketio

from tests.conftest import PASSWORD, Server, form_token, wait_for

NAMESPACE = "/chat"


class Live:
    """A Socket.IO client that keeps what it hears."""

    def __init__(self, server: Server, **how: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self.heads: list[dict[str, int]] = []
        self.socket = socketio.Client(reconnection=False)
        self.socket.on("event", self.events.append, namespace=NAMESPACE)
        self.socket.on("heads", self.heads.append, namespace=NAMESPACE)
        self.socket.connect(
            server.url, namespaces=[NAMESPACE], transports=["websocket"], wait_timeout=10, **how
        )

    def send(self, room: str, body: Any, client_id: Any = None) -> Any:
        values = {"room": room, "client_id": client_id or str(uuid.uuid4()), "body": body}
        return self.socket.call("send", values, namespace=NAMESPACE, timeout=10)

    def close(self) -> None:
        self.socket.disconnect()


@pytest.fixture
def connect(shared_server: Server) -> Iterator[Callable[..., Live]]:
    made: list[Live] = []

    def make(server: Server = shared_server, **how: Any) -> Live:
        made.append(Live(server, **how))
        return made[-1]

    yield make
    for each in made:
        each.close()


def pair(server: Server) -> tuple[dict[str, str], dict[str, str], str]:
    """Two new members and their room."""
    names = [f"m{uuid.uuid4().hex[:8]}" for _ in range(2)]
    first, second = (server.add(name) for name in names)
    room = requests.post(
        f"{server.url}/api/v1/rooms", json={"kind": "direct", "with": names[1]}, headers=first, timeout=10
    ).json()["id"]
    return first, second, room


def bearer(headers: dict[str, str]) -> dict[str, str]:
    return {"token": headers["Authorization"].removeprefix("Bearer ")}


def browser_of(server: Server, username: str) -> requests.Session:
    browser = requests.Session()
    token = form_token(browser.get(f"{server.url}/auth/login", timeout=10))
    fields = {"csrf_token": token, "username": username, "password": PASSWORD}
    assert (
        browser.post(f"{server.url}/auth/login", data=fields, timeout=10, allow_redirects=False).status_code
        == 303
    )
    return browser


def cookie(browser: requests.Session) -> str:
    return "; ".join(f"{name}={value}" for name, value in browser.cookies.get_dict().items())


def test_a_message_is_acknowledged_and_reaches_both_members(
    shared_server: Server, connect: Callable[..., Live]
) -> None:
    first, second, room = pair(shared_server)
    one, two = connect(auth=bearer(first)), connect(auth=bearer(second))
    wait_for(lambda: one.heads and two.heads, what="heads")
    assert one.heads[0] == {room: 0}
    client_id = str(uuid.uuid4())
    acknowledged = one.send(room, "over the socket", client_id)
    assert acknowledged["ok"] is True
    assert one.send(room, "over the socket", client_id)["event"] == acknowledged["event"]
    conflict = one.send(room, "other", client_id)
    assert (conflict["ok"], conflict["error"]["code"]) == (False, "conflict")
    wait_for(lambda: one.events and two.events, what="the event at both")
    assert two.events == [{"room": room, **acknowledged["event"]}]
    stored = requests.get(
        f"{shared_server.url}/api/v1/rooms/{room}/events", headers=second, timeout=10
    ).json()
    assert stored["events"] == [acknowledged["event"]]


@pytest.mark.parametrize(
    "message", [None, 7, [], {}, {"room": "x"}, {"room": None, "client_id": [], "body": {}}]
)
def test_nonsense_over_the_socket_is_refused_in_words(
    shared_server: Server, connect: Callable[..., Live], message: Any
) -> None:
    live = connect(auth=bearer(pair(shared_server)[0]))
    answer = live.socket.call("send", message, namespace=NAMESPACE, timeout=10)
    assert answer["ok"] is False
    assert answer["error"]["detail"]


def handshake(server: Server, **headers: str) -> int:
    """The status of a WebSocket handshake with these headers."""
    fixed = {
        "Host": f"127.0.0.1:{server.port}", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    lines = "".join(f"{name}: {value}\r\n" for name, value in (fixed | headers).items())
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n{lines}\r\n".encode())
        return int(connection.recv(1000).split(b" ")[1])


def test_a_foreign_origin_or_host_gets_no_socket(shared_server: Server) -> None:
    own = shared_server.url
    assert handshake(shared_server) == 101
    assert handshake(shared_server, Origin=own) == 101
    for origin in (
        "http://evil.example",
        f"{own}.evil.example",
        f"{own}1",
        "null",
        "http://127.0.0.1",
        "http://localhost:1",
    ):
        assert handshake(shared_server, Origin=origin) == 403, origin
    assert handshake(shared_server, Host="evil.example") == 400
    assert handshake(shared_server, Host="evil.example", Origin="http://evil.example") == 400


def test_nobody_and_a_wrong_token_get_no_namespace(shared_server: Server) -> None:
    for how in ({}, {"auth": {"token": "mst_wrong"}}, {"auth": {"token": 7}}, {"auth": "x"}):
        with pytest.raises(socketio.exceptions.ConnectionError):
            Live(shared_server, **how)


def test_polling_transport_is_refused_and_carries_headers(shared_server: Server) -> None:
    answer = requests.get(f"{shared_server.url}/socket.io/?EIO=4&transport=polling", timeout=10)
    assert answer.status_code == 400
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_sign_out_cuts_the_socket_at_once_and_disabling_within_seconds(
    shared_server: Server, connect: Callable[..., Live]
) -> None:
    first, second, _ = pair(shared_server)
    names = [
        requests.get(f"{shared_server.url}/api/v1/me", headers=h, timeout=10).json()["username"]
        for h in (first, second)
    ]
    browser = browser_of(shared_server, names[0])
    mine, other = connect(headers={"Cookie": cookie(browser)}), connect(auth=bearer(second))
    token = form_token(browser.get(f"{shared_server.url}/account/", timeout=10))
    browser.post(f"{shared_server.url}/auth/logout", data={"csrf_token": token}, timeout=10)
    wait_for(lambda: not mine.socket.connected, 2, "the cut of the signed-out socket")
    assert other.socket.connected
    assert shared_server.command("user", "disable", names[1]).returncode == 0
    wait_for(lambda: not other.socket.connected, 8, "the cut of the disabled member's socket")


def test_a_waiting_poll_is_woken_by_a_message_and_otherwise_ends_empty(shared_server: Server) -> None:
    first, second, room = pair(shared_server)
    answers: list[Any] = []
    address = f"{shared_server.url}/api/v1/rooms/{room}/events"
    poll = threading.Thread(
        target=lambda: answers.append(requests.get(f"{address}?after=0&wait=20", headers=second, timeout=30))
    )
    begun = time.monotonic()
    poll.start()
    empty = requests.get(f"{address}?after=0&wait=1", headers=first, timeout=30)
    assert empty.json() == {"events": [], "last_seq": 0, "reset": False}
    requests.post(
        f"{shared_server.url}/api/v1/rooms/{room}/messages",
        json={"client_id": str(uuid.uuid4()), "body": "wake"},
        headers=first,
        timeout=10,
    )
    poll.join()
    assert answers[0].json()["events"][0]["body"] == "wake"
    assert time.monotonic() - begun < 15


def test_a_huge_message_is_cut_off_without_memory(serve: Callable[..., Server]) -> None:
    server = serve()
    first, _, _ = pair(server)
    process = psutil.Process(server.process.pid)  # type: ignore[union-attr]
    before = sum(p.memory_info().rss for p in [process, *process.children(recursive=True)])
    live = Live(server, auth=bearer(first))
    raw = simple_websocket.Client.connect(
        f"ws://127.0.0.1:{server.port}/socket.io/?EIO=4&transport=websocket"
    )
    raw.receive(timeout=5)
    with contextlib.suppress(simple_websocket.ConnectionClosed, OSError):
        for _ in range(2):
            raw.send("4" + "x" * 60_000_000)
    wait_for(
        lambda: not raw.connected or (raw.receive(timeout=0.1) is None and not raw.connected),
        20,
        "the end of the hostile socket",
    )
    after = sum(p.memory_info().rss for p in [process, *process.children(recursive=True)])
    assert after - before < 30 * 2**20
    assert live.socket.connected
    live.close()


def test_kill_in_the_middle_of_talk_loses_nothing_that_was_acknowledged(serve: Callable[..., Server]) -> None:
    server = serve()
    first, second, room = pair(server)
    acknowledged: list[dict[str, Any]] = []
    unanswered: list[tuple[str, str]] = []
    enough = threading.Event()

    def talk() -> None:
        for number in range(10_000):
            client_id, body = str(uuid.uuid4()), f"message {number}"
            try:
                answer = requests.post(
                    f"{server.url}/api/v1/rooms/{room}/messages",
                    json={"client_id": client_id, "body": body},
                    headers=first,
                    timeout=5,
                )
            except requests.RequestException:
                unanswered.append((client_id, body))
                return
            if answer.status_code == 201:
                acknowledged.append(answer.json())
            if len(acknowledged) >= 20:
                enough.set()

    thread = threading.Thread(target=talk)
    thread.start()
    assert enough.wait(20)
    server.kill()
    thread.join()
    server.start()
    client_id, body = unanswered[0]
    again = requests.post(
        f"{server.url}/api/v1/rooms/{room}/messages",
        json={"client_id": client_id, "body": body},
        headers=first,
        timeout=10,
    )
    assert again.status_code in (200, 201, 429)
    events = requests.get(f"{server.url}/api/v1/rooms/{room}/events", headers=second, timeout=10).json()[
        "events"
    ]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    stored = {event["client_id"]: event for event in events}
    assert len(stored) == len(events)
    assert all(stored[event["client_id"]] == event for event in acknowledged)


def test_sigterm_with_open_sockets_and_polls_ends_well_and_in_time(serve: Callable[..., Server]) -> None:
    server = serve()
    first, second, room = pair(server)
    lives = [Live(server, auth=bearer(first)) for _ in range(5)]
    answers: list[int] = []
    address = f"{server.url}/api/v1/rooms/{room}/events?wait=25"

    def wait() -> None:
        with contextlib.suppress(
            requests.ConnectionError
        ):  # one that was not read yet ends with its connection
            answers.append(requests.get(address, headers=second, timeout=40).status_code)

    polls = [threading.Thread(target=wait) for _ in range(5)]
    for poll in polls:
        poll.start()
    worker = psutil.Process(server.process.pid).children()[0]  # type: ignore[union-attr]
    wait_for(
        lambda: sum(c.status == "ESTABLISHED" for c in worker.net_connections("tcp")) >= 10,
        what="sockets and polls",
    )
    begun = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begun < 30
    for poll in polls:
        poll.join(5)
    assert not any(poll.is_alive() for poll in polls)
    assert set(answers) == {200}
    assert not any(live.socket.connected for live in lives)


@pytest.mark.redis
def test_two_workers_with_redis_tell_each_other_everything(
    serve: Callable[..., Server], redis_server: str
) -> None:
    server = serve("--workers", "2", REDIS_URL=redis_server)
    first, second, room = pair(server)
    ears = [Live(server, auth=bearer(second)) for _ in range(8)]
    sent = [Live(server, auth=bearer(first)).send(room, f"number {n}")["event"]["seq"] for n in range(10)]
    assert sent == list(range(1, 11))
    wait_for(
        lambda: all(len(ear.events) == 10 for ear in ears), 10, "all messages at all sockets of both workers"
    )
    for ear in ears:
        assert sorted(event["seq"] for event in ear.events) == sent
        ear.close()


def test_slow_readers_and_waiting_polls_do_not_silence_pages(serve: Callable[..., Server]) -> None:
    """40 waiting polls and 20 uploads that stand still: pages go on."""
    server = serve()
    first, second, room = pair(server)
    polls = [
        threading.Thread(
            target=lambda: requests.get(
                f"{server.url}/api/v1/rooms/{room}/events?wait=25", headers=second, timeout=60
            )
        )
        for _ in range(40)
    ]
    for poll in polls:
        poll.start()
    uploads = []
    for number in range(20):
        upload = socket.create_connection(("127.0.0.1", server.port))
        head = f"PUT /api/v1/upload/slow{number} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {first['Authorization']}\r\nContent-Length: 1000000\r\n\r\n"
        upload.sendall(head.encode() + b"x" * 1000)
        uploads.append(upload)
    partial = server.instance / "files" / "partial"
    wait_for(lambda: len(list(partial.iterdir())) == 20, 10, "all uploads on their way")
    browser = browser_of(
        server, requests.get(f"{server.url}/api/v1/me", headers=first, timeout=5).json()["username"]
    )
    for path in ("/", "/files/", "/links/", "/healthz", "/readyz"):
        assert browser.get(f"{server.url}{path}", timeout=5).status_code == 200
    requests.post(
        f"{server.url}/api/v1/rooms/{room}/messages",
        json={"client_id": str(uuid.uuid4()), "body": "x"},
        headers=first,
        timeout=5,
    )
    for poll in polls:
        poll.join(10)
    for upload in uploads:
        upload.close()
    wait_for(lambda: not list(partial.iterdir()), 10, "the end of the broken uploads")
