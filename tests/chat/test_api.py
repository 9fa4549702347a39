"""The chat API: rooms, messages that are stored once, the log, reading."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import sign_in


@pytest.fixture
def people(
    client: Any, make_key: Callable[..., dict[str, str]]
) -> tuple[dict[str, str], dict[str, str], str]:
    """Keys of anna and bert, and their direct room."""
    anna, bert = make_key("anna"), make_key("bert")
    answer = client.post("/api/v1/rooms", json={"kind": "direct", "with": "bert"}, headers=anna)
    assert answer.status_code == 201
    return anna, bert, answer.json["id"]


def post(client: Any, key: dict[str, str], room: str, body: str, client_id: str | None = None) -> Any:
    values = {"client_id": client_id or str(uuid.uuid4()), "body": body}
    return client.post(f"/api/v1/rooms/{room}/messages", json=values, headers=key)


def test_a_direct_room_is_one_for_both_and_writes_no_event(client: Any, people: Any) -> None:
    anna, bert, room = people
    again = client.post("/api/v1/rooms", json={"kind": "direct", "with": "ANNA"}, headers=bert)
    assert (again.status_code, again.json["id"]) == (200, room)
    assert again.json == {
        "id": room, "kind": "direct", "name": "anna", "members": ["anna", "bert"], "last_seq": 0, "last_read_seq": 0, "unread": 0,
    }  # fmt: skip
    events = client.get(f"/api/v1/rooms/{room}/events", headers=anna)
    assert events.json == {"events": [], "last_seq": 0, "reset": False}


@pytest.mark.parametrize("name", ["nobody", "anna", "x\x00y"])
def test_a_direct_room_with_nobody_or_oneself_is_refused(client: Any, people: Any, name: str) -> None:
    answer = client.post("/api/v1/rooms", json={"kind": "direct", "with": name}, headers=people[0])
    assert answer.status_code == 422
    assert answer.json["code"] == "validation_failed"


def test_the_same_client_id_is_one_message_and_with_another_body_a_conflict(client: Any, people: Any) -> None:
    anna, _, room = people
    client_id = str(uuid.uuid4())
    first = post(client, anna, room, "hello", client_id)
    again = post(client, anna, room, "hello", client_id.upper())
    other = post(client, anna, room, "other", client_id)
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert first.json == again.json
    assert set(first.json) == {
        "seq",
        "type",
        "id",
        "client_id",
        "sender",
        "body",
        "created_at",
        "edited_at",
        "attachments",
    }
    assert (first.json["seq"], first.json["type"], first.json["sender"]) == (1, "message", "anna")
    assert other.json["code"] == "conflict"
    assert client.get(f"/api/v1/rooms/{room}/events", headers=anna).json["last_seq"] == 1


def test_two_members_may_make_the_same_client_id(client: Any, people: Any) -> None:
    anna, bert, room = people
    client_id = str(uuid.uuid4())
    assert [post(client, key, room, "hi", client_id).status_code for key in (anna, bert)] == [201, 201]


@pytest.mark.parametrize("body", ["", "x" * 10_001, "a\x00b", None, 7, "\ud800"])
def test_a_body_that_cannot_be_is_refused(client: Any, people: Any, body: Any) -> None:
    answer = client.post(
        f"/api/v1/rooms/{people[2]}/messages",
        json={"client_id": str(uuid.uuid4()), "body": body},
        headers=people[0],
    )
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("client_id", ["", "x", "1" * 200, None, 7])
def test_a_client_id_that_is_no_uuid_is_refused(client: Any, people: Any, client_id: Any) -> None:
    answer = client.post(
        f"/api/v1/rooms/{people[2]}/messages", json={"client_id": client_id, "body": "x"}, headers=people[0]
    )
    assert answer.status_code == 422, answer.text


def test_ten_thousand_characters_of_any_script_come_back_whole(client: Any, people: Any) -> None:
    anna, _, room = people
    body = "😀ñ\n" * 3_333 + "x"
    assert post(client, anna, room, body).status_code == 201
    assert client.get(f"/api/v1/rooms/{room}/messages", headers=anna).json["items"][0]["body"] == body


def test_messages_are_paged_before_and_after(client: Any, people: Any) -> None:
    anna, _, room = people
    for number in range(1, 8):
        post(client, anna, room, str(number))
    newest = client.get(f"/api/v1/rooms/{room}/messages?limit=3", headers=anna)
    assert [m["seq"] for m in newest.json["items"]] == [7, 6, 5]
    older = client.get(
        f"/api/v1/rooms/{room}/messages?limit=3&cursor={newest.json['next_cursor']}", headers=anna
    )
    assert [m["seq"] for m in older.json["items"]] == [4, 3, 2]
    assert 'rel="next"' in older.headers["Link"]
    after = client.get(f"/api/v1/rooms/{room}/messages?after=4", headers=anna)
    assert [m["seq"] for m in after.json["items"]] == [5, 6, 7]
    assert client.get(f"/api/v1/rooms/{room}/messages?before=3&after=1", headers=anna).status_code == 422


def test_a_reader_ahead_of_the_log_is_told_to_reload(client: Any, people: Any) -> None:
    assert client.get(f"/api/v1/rooms/{people[2]}/events?after=9", headers=people[0]).json["reset"] is True


def test_unread_counts_others_messages_until_they_are_read_and_the_pointer_never_goes_back(
    client: Any, people: Any
) -> None:
    anna, bert, room = people
    for body in ("1", "2", "3"):
        post(client, anna, room, body)
    post(client, bert, room, "4")

    def seen(key: dict[str, str]) -> tuple[int, int]:
        shown = client.get("/api/v1/rooms", headers=key).json["items"][0]
        return shown["unread"], shown["last_read_seq"]

    assert seen(bert) == (3, 0)
    assert seen(anna) == (1, 0)
    assert client.put(f"/api/v1/rooms/{room}/read", json={"seq": 2}, headers=bert).json["unread"] == 1
    client.put(f"/api/v1/rooms/{room}/read", json={"seq": 1}, headers=bert)
    assert seen(bert) == (1, 2)
    beyond = client.put(f"/api/v1/rooms/{room}/read", json={"seq": 99}, headers=bert)
    assert beyond.status_code == 422
    assert "4" in beyond.json["detail"]


def test_a_third_member_finds_no_room_on_any_verb(
    client: Any, people: Any, make_key: Callable[..., dict[str, str]]
) -> None:
    carl, room = make_key("carl"), people[2]
    answers = [
        client.get(f"/api/v1/rooms/{room}/messages", headers=carl),
        client.get(f"/api/v1/rooms/{room}/events", headers=carl),
        post(client, carl, room, "hi"),
        client.put(f"/api/v1/rooms/{room}/read", json={"seq": 0}, headers=carl),
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert client.get("/api/v1/rooms", headers=carl).json["items"] == []


def test_a_guest_answers_but_opens_no_room(client: Any, make_key: Callable[..., dict[str, str]]) -> None:
    guest, anna = make_key("guest1", role="guest"), make_key("anna")
    assert (
        client.post("/api/v1/rooms", json={"kind": "direct", "with": "anna"}, headers=guest).status_code
        == 403
    )
    room = client.post("/api/v1/rooms", json={"kind": "direct", "with": "guest1"}, headers=anna).json["id"]
    assert post(client, guest, room, "thanks").status_code == 201


def test_a_burst_of_sixty_passes_and_then_the_pace_is_five_a_second(client: Any, people: Any) -> None:
    anna, bert, room = people
    codes = [post(client, anna, room, str(n)).status_code for n in range(60)]
    assert codes == [201] * 60
    refused = next(
        answer
        for answer in (post(client, anna, room, "more") for _ in range(30))
        if answer.status_code != 201
    )
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert post(client, bert, room, "I am not slowed").status_code == 201


def test_messages_sent_at_once_get_dense_numbers_and_a_repeated_one_is_stored_once(
    app: Any, people: Any
) -> None:
    anna, bert, room = people
    repeated = str(uuid.uuid4())
    results: list[Any] = []
    start = threading.Barrier(8)

    def work(number: int) -> None:
        client = app.test_client()
        start.wait()
        for turn in range(5):
            results.append(post(client, (anna, bert)[number % 2], room, f"{number} {turn}"))
        results.append(post(client, anna, room, "again", repeated))

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    codes = [answer.status_code for answer in results]
    assert codes.count(201) == 41
    assert codes.count(200) == 7
    events = app.test_client().get(f"/api/v1/rooms/{room}/events", headers=anna).json["events"]
    assert [event["seq"] for event in events] == list(range(1, 42))


def test_rooms_opened_at_once_are_one_room(app: Any, make_key: Callable[..., dict[str, str]]) -> None:
    anna, bert = make_key("anna"), make_key("bert")
    start = threading.Barrier(8)
    answers: list[Any] = []

    def work(number: int) -> None:
        start.wait()
        key, other = ((anna, "bert"), (bert, "anna"))[number % 2]
        answers.append(
            app.test_client().post("/api/v1/rooms", json={"kind": "direct", "with": other}, headers=key)
        )

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json["id"] for answer in answers}) == 1


def test_messages_of_a_deleted_member_stay_without_the_name(app: Any, client: Any, people: Any) -> None:
    from microsite.auth.services import delete_user, user_by_name
    from microsite.core.db import atomic

    anna, bert, room = people
    post(client, bert, room, "I was here")
    with app.app_context(), atomic():
        user = user_by_name("bert")
        assert user is not None
        delete_user(user)
    assert (
        client.get(f"/api/v1/rooms/{room}/messages", headers=anna).json["items"][0]["sender"]
        == "deleted member"
    )
    assert client.get("/api/v1/rooms", headers=anna).json["items"][0]["name"] == "deleted member"
    assert client.get("/api/v1/me", headers=bert).status_code == 401


def test_pages_show_rooms_and_open_the_direct_one(app: Any, people: Any) -> None:
    room = people[2]
    browser = app.test_client()
    sign_in(browser, "anna")
    assert "bert" in browser.get("/chat/").text
    assert browser.get(f"/chat/{room}").status_code == 200
    assert browser.get("/chat/with/bert").status_code == 200
    from tests.conftest import form_token

    token = form_token(browser.get("/chat/with/bert"))
    opened = browser.post("/chat/with/bert", data={"csrf_token": token})
    assert (opened.status_code, opened.location) == (303, f"/chat/{room}")
    refused = browser.post("/chat/", data={"csrf_token": token, "username": "nobody"})
    assert refused.status_code == 422
    assert "Nobody here is called nobody." in refused.text
    assert browser.get("/chat/unknown").status_code == 404
    assert browser.get("/chat/with/nobody").status_code == 404
