"""What a second round of attackers found, each with the request that showed it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from microsite.core.db import atomic, checkpoint, db
from microsite.core.identity import User
from microsite.core.slots import slots
from tests.conftest import DATABASE, Server, sign_in
from tests.contract.walk import page_token
from tests.links.helpers import JSON, PAGE, events, make_link, open_link, path_of, put, state
from tests.servers.wire import Wire

IN_CHUNKS = {"Transfer-Encoding": "chunked", "Content-Type": "application/json"} | JSON


def test_downloads_of_a_link_that_is_deleted_meanwhile_give_their_slots_back(
    app: Any, maker: Any, key: dict[str, str]
) -> None:
    files = [put(maker, key, f"{n}.bin", bytes(500_000))["id"] for n in range(3)]
    anna = app.test_client()
    sign_in(anna, "anna")
    headers = {"X-CSRFToken": page_token(anna)}
    seen = set()
    for _ in range(8):
        link = make_link(maker, key, files=files, max_uses=None)
        one = path_of(open_link(app.test_client(), link["path"]).json["files"][0]["url"])
        doors = [one.partition("/i/")[0] + "/all", one] * 3

        def fetch(door: str) -> int:
            answer = app.test_client().get(door, headers=JSON, buffered=True)
            return int(answer.status_code)

        with ThreadPoolExecutor(7) as pool:
            running = [pool.submit(fetch, door) for door in doors]
            pool.submit(anna.post, f"/links/{link['id']}/delete", headers=headers).result()
            seen |= {one.result() for one in running}
    assert seen <= {200, 410}, seen
    with app.app_context():
        assert slots().taken == 0


def test_a_link_deleted_while_a_password_is_checked(
    app: Any, maker: Any, key: dict[str, str], visitor: Any
) -> None:
    link = make_link(maker, key, password="open sesame")
    anna = app.test_client()
    sign_in(anna, "anna")
    headers = {"X-CSRFToken": page_token(anna)}
    with ThreadPoolExecutor(1) as pool:
        wrong = pool.submit(open_link, visitor, link["path"], password="wrong")
        anna.post(f"/links/{link['id']}/delete", headers=headers)
        assert wrong.result().status_code in (401, 410)


def test_without_the_key_nobody_uses_up_the_tries_of_the_reader(
    maker: Any, key: dict[str, str], visitor: Any
) -> None:
    proof_hash = "ab" * 32
    encrypted = {"ciphertext": "A" * 60, "proof_hash": proof_hash}
    link = make_link(maker, key, encrypted=encrypted, password="open sesame")
    for _ in range(8):
        answer = open_link(visitor, link["path"], password="wrong")
        assert answer.status_code == 401
    assert "password_failed" not in events(maker, key, link)


@pytest.mark.parametrize("body", ['"x"', "NaN", "1", "[1]", '[["reason","a","b"]]', '{"reason":12345}'])
def test_json_is_no_form(maker: Any, key: dict[str, str], visitor: Any, body: str) -> None:
    link = make_link(maker, key, password="open sesame", files=[put(maker, key)["id"]])
    headers = PAGE | {"Content-Type": "application/json"}
    assert visitor.post(link["path"], data=body, headers=headers).status_code == 401
    plain = make_link(maker, key)
    opened = visitor.post(plain["path"], headers=PAGE).headers["Location"]
    assert visitor.post(f"{opened}/report", data=body, headers=headers).status_code == 422


@pytest.mark.parametrize("door", ["/api/v1/token", "/api/v1/links", "/l/nothing"])
def test_numbers_without_end(client: Any, key: dict[str, str], door: str) -> None:
    for body in ("9" * 5000, '{"password":' + "9" * 5000 + "}", '{"max_uses":-' + "9" * 5000 + "}"):
        headers = key | JSON | {"Content-Type": "application/json"}
        assert client.post(door, data=body, headers=headers).status_code in (400, 410, 422)


@pytest.mark.parametrize(
    "body", [b"zz\r\n", b"2\r\n{}xx0\r\n\r\n", b"-1\r\n", b"2\r\n{}\r\n0\r\nBad Trailer\r\n\r\n"]
)
def test_chunks_that_are_none(shared_server: Server, body: bytes) -> None:
    for door in ("/api/v1/token", "/l/nothing", "/auth/login"):
        with Wire(shared_server) as wire:
            answer = wire.head("POST", door, IN_CHUNKS).send(body).end().answer()
        assert answer.status in (400, 410), (door, answer)


def test_a_large_body_in_chunks_is_refused_and_not_cut(shared_server: Server) -> None:
    with Wire(shared_server) as wire:
        wire.head("POST", "/api/v1/token", IN_CHUNKS).chunk(b'{"username": "anna", "password": "a"}')
        answer = wire.try_chunks(b" " * 65536, 34).answer()
    assert (answer.status, answer.json()["code"]) == (413, "file_too_large")


def test_what_is_on_its_way_counts(app: Any, maker: Any, key: dict[str, str]) -> None:
    from microsite.core.exceptions import Conflict
    from microsite.links import opening
    from microsite.links.receiving import COMING, Receiver

    link = make_link(maker, key, upload={"max_files": 2})
    ticket = path_of(open_link(app.test_client(), link["path"]).json["url"]).split("/")[3]
    with app.test_request_context():
        found = opening.by_ticket(ticket)
        with Receiver(found) as first, Receiver(found) as second, Receiver(found) as third:
            first.accept("a.txt")
            second.accept("b.txt")
            with pytest.raises(Conflict, match="2 files altogether, and no more fit"):
                third.accept("c.txt")
        assert not COMING


def test_the_ending_that_counts_is_that_of_the_name_that_is_kept(
    app: Any, maker: Any, key: dict[str, str]
) -> None:
    target = path_of(
        open_link(app.test_client(), make_link(maker, key, upload={"types": ["pdf"]})["path"]).json["url"]
    )
    for name, status in (("pdf", 415), ("a.html%5C.txt", 415), ("a.pdf%2F", 415), ("x%0Ay.pdf", 201)):
        answer = app.test_client().put(target + name, data=b"x", headers=JSON)
        assert answer.status_code == status, (name, answer.json)


def test_an_inviter_who_may_no_longer_is_nobody_s_inviter(
    app: Any, visitor: Any, make_key: Callable[..., Any]
) -> None:
    made = visitor.post(
        "/api/v1/links", json={"invitation": {"role": "manager"}}, headers=make_key("mia", role="manager")
    )
    assert made.status_code == 201, made.json
    path = path_of(made.json["url"])
    assert visitor.get(path).status_code == 200
    with app.app_context(), atomic():
        db.session.execute(update(User).where(User.username == "mia").values(role="member"))
    for answer in (visitor.get(path), visitor.post(path), visitor.get(path, headers=JSON)):
        assert answer.status_code == 410


@pytest.mark.parametrize(
    "name", ["a-b-c", "the-admin", "admin-office", "help-desk", "login-page", "microsite-support"]
)
def test_names_that_are_believed(maker: Any, key: dict[str, str], make_user: Any, name: str) -> None:
    make_user("a_b-c")
    answer = maker.post("/api/v1/links", json={"text": "x", "name": name}, headers=key)
    assert (answer.status_code, list(answer.json["errors"])) == (422, ["name"])


def test_mails_to_others_are_limited(make_app: Callable[..., Any]) -> None:
    from tests.conftest import add_member

    app = make_app(MAIL_SERVER="127.0.0.1", MAIL_PORT="9")
    with app.app_context():
        add_member("anna")
    anna = app.test_client()
    sign_in(anna, "anna")
    token = page_token(anna)

    def share(recipients: str) -> int:
        form = {
            "text": "a",
            "expires_in": "3600",
            "max_uses": "1",
            "recipients": recipients,
            "csrf_token": token,
        }
        return int(anna.post("/links/", data=form).status_code)

    many = ",".join(f"r{n}@example.org" for n in range(20))
    assert [share(many) for _ in range(6)] == [201] * 5 + [429]
    assert share("ü@example.org") == 422
    page = anna.post(
        "/links/",
        data={
            "text": "many words",
            "expires_in": "3600",
            "max_uses": "1",
            "recipients": many,
            "csrf_token": token,
        },
    )
    assert int(page.headers["Retry-After"]) > 0
    assert "many words" in page.get_data(as_text=True)
    assert "many mails" in page.get_data(as_text=True)


@pytest.mark.skipif(DATABASE != "sqlite", reason="PostgreSQL overwrites by vacuum")
def test_an_erased_note_is_in_no_file(app: Any, maker: Any, key: dict[str, str], visitor: Any) -> None:
    note = "blue-key-under-the-mat " * 400
    link = make_link(maker, key, text=note)
    unread = make_link(maker, key, text=note)
    held = make_link(maker, key, text=note)
    assert open_link(visitor, link["path"]).json["text"] == note
    maker.delete(f"/api/v1/links/{unread['id']}", headers=key)
    where = visitor.post(held["path"], headers=PAGE).headers["Location"]
    visitor.post(f"{where}/end")
    with app.app_context():
        db.session.rollback()
        checkpoint()
    for file in Path(app.config["INSTANCE"]).rglob("*"):
        assert not file.is_file() or b"blue-key-under-the-mat" not in file.read_bytes(), file
    assert state(maker, key, link) == ("used", 1)
