"""Webhooks: a real receiver hears what happened, signed; nothing inside the operator's network is ever asked."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from microsite.core.db import db
from microsite.core.jobs import Job, run_due
from tests.conftest import add_member, sign_in
from tests.contract.walk import page_token
from tests.links.helpers import events, make_link, open_link, path_of


class Receiver(http.server.ThreadingHTTPServer):
    """Takes requests, and answers what it is told to."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server_port}/hook?of=anna"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.heard.append((dict(self.headers) | {"path": self.path}, body))
        self.send_response(server.status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


@pytest.fixture
def inside(make_app: Callable[..., Any]) -> Any:
    """A site whose operator lets webhooks go to the own network."""
    app = make_app(LINK_WEBHOOKS="any")
    with app.app_context():
        add_member("anna")
    return app


@pytest.fixture
def own_key(inside: Any) -> dict[str, str]:
    anna = inside.test_client()
    answer = anna.post("/api/v1/token", json={"username": "anna", "password": "correct horse battery"})
    return {"Authorization": f"Bearer {answer.json['access_token']}"}


def run_jobs(app: Any) -> None:
    with app.app_context():
        run_due()


def waiting(app: Any) -> list[Job]:
    with app.app_context():
        return [job for job in db.session.query(Job) if job.name == "links.webhook"]


def test_a_program_is_told_and_can_check_who_says_it(
    inside: Any, own_key: dict[str, str], receiver: Receiver
) -> None:
    client = inside.test_client()
    link = make_link(client, own_key, text="the secret", title="Door", webhook=receiver.url)
    assert open_link(client, link["path"]).status_code == 200
    run_jobs(inside)
    ((headers, body),) = receiver.heard
    told = json.loads(body)
    assert headers["path"] == "/hook?of=anna"
    assert told["type"] == "link.opened"
    assert told["data"]["link"] == {
        "id": link["id"], "kind": "text", "title": "Door", "uses": 1, "max_uses": 1,
    }  # fmt: skip
    assert told["data"]["address"] == "127.0.0.1"
    assert b"the secret" not in body
    assert link["path"].removeprefix("/l/").encode() not in body
    key = base64.b64decode(link["webhook_secret"].removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert waiting(inside) == []
    shown = inside.test_client()
    sign_in(shown, "anna")
    assert link["webhook_secret"] in shown.get(f"/links/{link['id']}").get_data(as_text=True)


def test_a_receiver_that_is_down_is_tried_again(
    inside: Any, own_key: dict[str, str], receiver: Receiver, time_machine: Any
) -> None:
    client = inside.test_client()
    link = make_link(client, own_key, webhook=receiver.url)
    receiver.status = 503
    open_link(client, link["path"])
    run_jobs(inside)
    assert len(waiting(inside)) == 1
    receiver.status = 204
    time_machine.move_to(datetime.now(UTC) + timedelta(minutes=5))
    run_jobs(inside)
    assert [headers["webhook-id"] for headers, _ in receiver.heard] == [
        receiver.heard[0][0]["webhook-id"]
    ] * 2
    assert waiting(inside) == []


@pytest.mark.parametrize("status", [302, 404, 410])
def test_a_refusal_is_final_and_told(
    inside: Any, own_key: dict[str, str], receiver: Receiver, status: int
) -> None:
    client = inside.test_client()
    link = make_link(client, own_key, webhook=receiver.url)
    receiver.status = status
    open_link(client, link["path"])
    run_jobs(inside)
    assert waiting(inside) == []
    assert len(receiver.heard) == 1, "no redirect is followed"
    assert events(client, own_key, link)[-1] == "webhook_failed"


@pytest.mark.parametrize(
    "url",
    ["http://example.org/", "https://", "ftp://example.org/", "https://a:b@example.org/", "https://exa mple/", "x",
     "https://example.org:99999/", "https://example.org/\u00e9", "https://[::1"],
)  # fmt: skip
def test_addresses_that_are_none(maker: Any, key: dict[str, str], url: str) -> None:
    answer = maker.post("/api/v1/links", json={"text": "a", "webhook": url}, headers=key)
    assert (answer.status_code, list(answer.json["errors"])) == (422, ["webhook"])


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::1]", "10.0.0.1", "169.254.169.254", "0.0.0.0"]
)
def test_nothing_inside_is_asked(
    app: Any, maker: Any, key: dict[str, str], receiver: Receiver, host: str
) -> None:
    link = make_link(maker, key, webhook=f"https://{host}:{receiver.server_port}/")
    open_link(maker, link["path"])
    run_jobs(app)
    assert receiver.heard == []
    assert waiting(app) == []
    assert events(maker, key, link)[-1] == "webhook_failed"


def test_a_receiver_that_dribbles_is_cut_off(
    inside: Any, own_key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from microsite.links import webhooks

    monkeypatch.setattr(webhooks, "DEADLINE", 1)
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def dribble() -> None:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            while not over.wait(0.2):
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    thread = threading.Thread(target=dribble, daemon=True)
    thread.start()
    client = inside.test_client()
    link = make_link(client, own_key, webhook=f"http://127.0.0.1:{listening.getsockname()[1]}/")
    open_link(client, link["path"])
    began = time.monotonic()
    run_jobs(inside)
    assert time.monotonic() - began < 5
    assert len(waiting(inside)) == 1, "it is tried again"
    over.set()
    thread.join(5)
    listening.close()


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True), ("2606:2800:220:1::1", True), ("::ffff:93.184.216.34", True), ("::ffff:100.64.0.1", False),
        ("64:ff9b::a9fe:a9fe", False), ("64:ff9b:1::1", False), ("2002:a00:1::", False), ("fec0::1", False),
        ("::7f00:1", False), ("fe80::1%eth0", False), ("ff02::1", False), ("224.0.0.1", False), ("100.64.0.1", False),
        ("192.0.0.1", False), ("192.0.0.9", False), ("192.88.99.1", False), ("192.175.48.6", True), ("198.19.255.255", False),
        ("240.0.0.1", False), ("255.255.255.255", False), ("2001:1::1", False), ("2001:db8::1", False), ("3fff::1", False),
    ],
)  # fmt: skip
def test_what_is_public(address: str, public: bool) -> None:
    from microsite.links.webhooks import _is_public

    assert _is_public(address) is public


def test_what_never_answers_is_told_to_the_maker_and_no_failed_job(
    inside: Any, own_key: dict[str, str], time_machine: Any
) -> None:
    client = inside.test_client()
    link = make_link(client, own_key, webhook="http://127.0.0.1:1/")
    open_link(client, link["path"])
    begin = datetime.now(UTC)
    for minutes in (0, 1, 5, 30, 120):
        time_machine.move_to(begin + timedelta(minutes=minutes))
        run_jobs(inside)
    assert waiting(inside) == []
    sign_in(fresh := inside.test_client(), "anna")
    assert "The webhook could not be told" in fresh.get(f"/links/{link['id']}").get_data(as_text=True)


def test_switched_off(make_app: Callable[..., Any]) -> None:
    app = make_app(LINK_WEBHOOKS="off")
    with app.app_context():
        add_member("anna")
    anna = app.test_client()
    sign_in(anna, "anna")
    assert "Webhook" not in anna.get("/links/new").get_data(as_text=True)
    form = {
        "text": "a", "expires_in": "3600", "max_uses": "1", "webhook": "https://example.org/",
        "csrf_token": page_token(anna),
    }  # fmt: skip
    assert anna.post("/links/", data=form).status_code == 422


def test_switched_off_later(make_app: Callable[..., Any], receiver: Receiver) -> None:
    app = make_app(LINK_WEBHOOKS="any")
    with app.app_context():
        add_member("anna")
    client = app.test_client()
    token = client.post("/api/v1/token", json={"username": "anna", "password": "correct horse battery"}).json[
        "access_token"
    ]
    link = make_link(client, {"Authorization": f"Bearer {token}"}, webhook=receiver.url, max_uses=2)
    open_link(client, link["path"])
    app.config["LINK_WEBHOOKS"] = "off"
    open_link(client, link["path"])
    run_jobs(app)
    assert receiver.heard == []


def test_files_that_arrive_are_told(inside: Any, own_key: dict[str, str], receiver: Receiver) -> None:
    client = inside.test_client()
    link = make_link(client, own_key, upload={}, webhook=receiver.url)
    target = path_of(open_link(client, link["path"]).json["url"])
    assert client.put(f"{target}a.txt", data=b"x").status_code == 201
    run_jobs(inside)
    told = [json.loads(body) for _, body in receiver.heard]
    assert [one["type"] for one in told] == ["link.opened", "link.received"]
    assert told[1]["data"]["detail"] == "a.txt"
