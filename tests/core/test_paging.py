"""Lists page by page in both directions: sealed cursors, and what rows that come and go meanwhile change."""

from __future__ import annotations

import base64
import re
import uuid
from typing import Any

import pytest

from tests.files.helpers import put


def names(answer: Any) -> list[str]:
    return [item["name"].partition(".")[0] for item in answer.json["items"]]


@pytest.fixture
def listing(app: Any, make_key: Any) -> Any:
    """Ten files of anna, 0 to 9; a function that asks for a page of them."""
    client, key = app.test_client(), make_key("anna")
    for number in range(10):
        put(client, key, f"{number}.txt")

    def ask(cursor: str | None = None, limit: int = 3) -> Any:
        query = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        return client.get("/api/v1/files", query_string=query, headers=key)

    ask.client, ask.key = client, key  # type: ignore[attr-defined]
    return ask


def delete(listing: Any, *wanted: str) -> None:
    for item in listing(limit=100).json["items"]:
        if item["name"].partition(".")[0] in wanted:
            path = f"/api/v1/files/{item['id']}"
            assert listing.client.delete(path, headers=listing.key).status_code == 204


def test_there_and_back_again(listing: Any) -> None:
    pages = [listing()]
    while cursor := pages[-1].json["next_cursor"]:
        pages.append(listing(cursor))
    assert [names(page) for page in pages] == [["9", "8", "7"], ["6", "5", "4"], ["3", "2", "1"], ["0"]]
    assert pages[0].json["prev_cursor"] is None
    back = [pages[-1]]
    while cursor := back[-1].json["prev_cursor"]:
        back.append(listing(cursor))
    assert [names(page) for page in back] == [["0"], ["3", "2", "1"], ["6", "5", "4"], ["9", "8", "7"]]
    assert names(listing(back[2].json["next_cursor"])) == ["3", "2", "1"]


def test_the_link_header_says_both(listing: Any) -> None:
    second = listing(listing().json["next_cursor"])
    links = dict(re.findall(r'<([^>]+)>; rel="(next|prev)"', second.headers["Link"]))
    there = {relation: address for address, relation in links.items()}
    assert names(listing.client.get(there["prev"], headers=listing.key)) == ["9", "8", "7"]
    assert names(listing.client.get(there["next"], headers=listing.key)) == ["3", "2", "1"]


def test_new_rows_double_and_skip_none(listing: Any) -> None:
    second = listing(listing().json["next_cursor"])
    for number in range(10, 14):
        put(listing.client, listing.key, f"{number}.txt")
    first = listing(second.json["prev_cursor"])
    assert names(first) == ["9", "8", "7"]
    assert names(listing(first.json["prev_cursor"])) == ["12", "11", "10"]


def test_fewer_newer_rows_than_a_page_are_the_first_page(listing: Any) -> None:
    second = listing(listing(limit=2).json["next_cursor"])
    assert names(second) == ["7", "6", "5"]
    first = listing(second.json["prev_cursor"])
    assert names(first) == ["9", "8", "7"]
    assert first.json["prev_cursor"] is None


def test_the_row_of_a_cursor_may_be_deleted(listing: Any) -> None:
    second = listing(listing().json["next_cursor"])
    delete(listing, "7", "6", "4")
    assert names(listing(listing(limit=2).json["next_cursor"])) == ["5", "3", "2"]
    assert names(listing(second.json["next_cursor"])) == ["3", "2", "1"]
    assert names(listing(second.json["prev_cursor"], limit=1)) == ["8"]


def test_a_list_whose_end_was_deleted_leads_back(listing: Any) -> None:
    cursor = listing(limit=9).json["next_cursor"]
    delete(listing, "0", "1")
    last = listing(cursor)
    assert names(last) == []
    assert last.json["next_cursor"] is None
    assert names(listing(last.json["prev_cursor"])) == ["4", "3", "2"]


def test_no_number_can_be_read_or_made_up(listing: Any, make_key: Any) -> None:
    cursor = listing().json["next_cursor"]
    sealed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    assert (8).to_bytes(8, "big") not in sealed
    others = {
        cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :] for place in range(34)
    }
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    others |= {cursor[:-1] + letter for letter in letters if letter != cursor[-1]}
    for forged in (
        *others,
        cursor + "A",
        cursor[:-2],
        "é",
        "!" + cursor,
        base64.b64encode(b"before:4").decode(),
    ):
        assert listing(forged).status_code == 422, forged


def test_a_cursor_of_another_list_or_member_is_none(listing: Any, make_key: Any) -> None:
    cursor = listing().json["next_cursor"]
    ask = listing.client.get
    assert ask(f"/api/v1/files?cursor={cursor}", headers=make_key("bert")).status_code == 422
    for path in ("links", "rooms", "keys"):
        answer = ask(f"/api/v1/{path}?cursor={cursor}", headers=listing.key)
        assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")


@pytest.mark.parametrize("path", ["files", "links", "rooms", "keys"])
def test_every_list_has_both_cursors(app: Any, make_key: Any, path: str) -> None:
    answer = app.test_client().get(f"/api/v1/{path}", headers=make_key("anna")).json
    assert (answer["next_cursor"], answer["prev_cursor"]) == (None, None)


def test_messages_go_both_ways_in_both_orders(app: Any, make_key: Any, make_user: Any) -> None:
    client, key = app.test_client(), make_key("anna")
    make_user("bert")
    body = {"kind": "direct", "with": "bert"}
    address = f"/api/v1/rooms/{client.post('/api/v1/rooms', json=body, headers=key).json['id']}/messages"
    for number in range(1, 8):
        sent = {"client_id": str(uuid.uuid4()), "body": str(number)}
        assert client.post(address, json=sent, headers=key).status_code == 201

    def ask(**query: Any) -> Any:
        return client.get(address, query_string={"limit": 3} | query, headers=key)

    def numbers(answer: Any) -> list[int]:
        return [message["seq"] for message in answer.json["items"]]

    older = ask(cursor=ask().json["next_cursor"])
    assert numbers(older) == [4, 3, 2]
    assert numbers(ask(cursor=older.json["prev_cursor"])) == [7, 6, 5]
    assert numbers(ask(before=5)) == [4, 3, 2]
    oldest_first = ask(after=1)
    assert numbers(oldest_first) == [2, 3, 4]
    (link,) = re.findall(r'<([^>]+)>; rel="next"', oldest_first.headers["Link"])
    assert numbers(client.get(link, headers=key)) == [5, 6, 7]
    assert ask(cursor=oldest_first.json["next_cursor"]).status_code == 422
