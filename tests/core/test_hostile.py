"""What a hostile or unlucky client may send, and what must not be found in the log afterwards."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from tests.conftest import PASSWORD, form_token


def test_json_without_an_end_is_a_bad_request(client: Any) -> None:
    body = "[" * 100_000
    for path, headers in (("/api/v1/token", {}), ("/l/unknown", {"Accept": "application/json"})):
        answer = client.post(path, data=body, content_type="application/json", headers=headers)
        assert answer.status_code == 400, answer.text


def test_a_number_that_no_row_can_have_is_not_found(anna: Any) -> None:
    token = form_token(anna.get("/account/"))
    answer = anna.post("/account/sessions/99999999999999999999/end", data={"csrf_token": token})
    assert answer.status_code == 404


def test_a_room_that_cannot_be_spelled_is_not_found(
    client: Any, make_key: Callable[..., dict[str, str]]
) -> None:
    key = make_key("anna")
    for room in ("%00", "%F0%9F%98%80"):
        assert client.get(f"/api/v1/rooms/{room}/events", headers=key).status_code == 404


def test_long_messages_come_in_several_answers(client: Any, make_key: Callable[..., dict[str, str]]) -> None:
    anna, _ = make_key("anna"), make_key("bert")
    room = client.post("/api/v1/rooms", json={"kind": "direct", "with": "bert"}, headers=anna).json["id"]
    for _ in range(55):
        values = {"client_id": str(uuid.uuid4()), "body": "😀" * 10_000}
        assert client.post(f"/api/v1/rooms/{room}/messages", json=values, headers=anna).status_code == 201
    seen: list[int] = []
    while True:
        answer = client.get(f"/api/v1/rooms/{room}/events?after={len(seen)}", headers=anna)
        assert len(answer.data) < 4_000_000
        if not answer.json["events"]:
            break
        seen += [event["seq"] for event in answer.json["events"]]
    assert seen == list(range(1, 56))


def test_the_log_names_no_link_even_when_storing_the_session_fails(
    make_app: Callable[..., Any], make_user: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from microsite.core.sessions import SqlSessionInterface

    app = make_app()
    make_user("anna", application=app)

    def broken(*_: Any) -> bool:
        raise OperationalError("UPDATE sessions", {}, Exception("database is locked"))

    client, address = app.test_client(), "/auth/login?next=/l/secret-token-of-a-link"
    fields = {"csrf_token": form_token(client.get(address)), "username": "anna", "password": PASSWORD}
    monkeypatch.setattr(SqlSessionInterface, "_store", broken)
    assert client.post(address, data=fields).status_code == 503
    logs = "".join(path.read_text() for path in Path(app.config["INSTANCE"], "logs").glob("*"))
    assert "an error outside the views" in logs or "does not answer" in logs
    assert "secret-token-of-a-link" not in logs


def test_an_old_password_under_way_does_not_survive_a_reset(app: Any, make_user: Callable[..., str]) -> None:
    from microsite.auth import services
    from microsite.core.db import atomic
    from microsite.core.passwords import hash_password

    make_user("anna")
    checked, changed = threading.Event(), threading.Event()
    answers: list[int] = []

    def guess() -> None:
        import microsite.auth.services as module

        real = module.check_password

        def slow(stored: str | None, password: str) -> bool:
            right = real(stored, password)
            checked.set()
            assert changed.wait(10)
            return right

        module.check_password = slow  # type: ignore[assignment]
        try:
            answer = app.test_client().post("/api/v1/token", json={"username": "anna", "password": PASSWORD})
            answers.append(answer.status_code)
        finally:
            module.check_password = real  # type: ignore[assignment]

    thread = threading.Thread(target=guess)
    thread.start()
    assert checked.wait(10)
    with app.app_context():
        hashed = hash_password("another good password")
        with atomic():
            user = services.user_by_name("anna")
            assert user is not None
            services.set_password(user, hashed)
    changed.set()
    thread.join()
    assert answers == [401]


@pytest.mark.parametrize("path", ["/api/v1/token", "/api/v1/keys", "/l/some-token"])
@pytest.mark.parametrize("body", ['{"name": }', "[", "{'a': 1}", "\x00"])
def test_malformed_json_is_told_that_it_is_none(app: Any, make_key: Any, path: str, body: str) -> None:
    headers = make_key("anna") | {"Accept": "application/json"}
    answer = app.test_client().post(path, data=body, content_type="application/json", headers=headers)
    assert (answer.status_code, answer.json["code"]) == (400, "bad_request")
    assert answer.json["detail"].startswith("The body is not valid JSON")
