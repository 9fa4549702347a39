"""Lists of files, renaming, and deleting."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import form_token
from tests.files.helpers import empty, put, stored, usage


def names(answer: Any) -> list[str]:
    return [item["name"] for item in answer.json["items"]]


def test_api_pages_by_cursor(app: Any, make_key: Callable[..., dict[str, str]]) -> None:
    client, key = app.test_client(), make_key("anna")
    for number in range(7):
        put(client, key, f"{number}.txt")
    first = client.get("/api/v1/files?limit=3", headers=key)
    assert names(first) == ["6.txt", "5.txt", "4.txt"]
    put(client, key, "late.txt")  # what comes meanwhile moves no row to another page
    link = re.fullmatch(r'<(http://127\.0\.0\.1:8000/api/v1/files\?\S+)>; rel="next"', first.headers["Link"])
    assert link, first.headers["Link"]
    second = client.get(link[1], headers=key)
    assert names(second) == ["3.txt", "2.txt", "1.txt"]
    third = client.get(f"/api/v1/files?limit=3&cursor={second.json['next_cursor']}", headers=key)
    assert names(third) == ["0.txt"]
    assert third.json["next_cursor"] is None
    assert 'rel="next"' not in third.headers["Link"]


def test_a_full_last_page_has_no_next(app: Any, make_key: Callable[..., dict[str, str]]) -> None:
    client, key = app.test_client(), make_key("anna")
    for number in range(2):
        put(client, key, f"{number}.txt")
    assert client.get("/api/v1/files?limit=2", headers=key).json["next_cursor"] is None


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "cursor=nonsense", "cursor=%00", "cursor=YmVmb3JlOi0x", "offset=1"],
)
def test_bad_queries_are_422(app: Any, make_key: Callable[..., dict[str, str]], query: str) -> None:
    answer = app.test_client().get(f"/api/v1/files?{query}", headers=make_key("anna"))
    assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")


def test_page_shows_page_size_rows(
    make_app: Callable[..., Any], make_key: Callable[..., dict[str, str]], sign_in_to: Callable[..., Any]
) -> None:
    app = make_app(PAGE_SIZE=3)
    client = sign_in_to(app)
    key = make_key("anna", application=app)
    for number in range(5):
        put(client, key, f"number-{number}.txt")

    def shown(address: str) -> list[str]:
        return re.findall(
            r'class="name" href="[^"]+">number-(\d)', client.get(address).get_data(as_text=True)
        )

    assert shown("/files/") == ["4", "3", "2"]
    older = re.search(r'href="(/files/\?cursor=[^"]+)"', client.get("/files/").get_data(as_text=True))
    assert older
    assert shown(older[1]) == ["1", "0"]
    last = client.get(older[1]).get_data(as_text=True)
    assert "Older</a>" not in last
    newer = re.search(r'href="(/files/\?cursor=[^"]+)">Newer</a>', last)
    assert newer
    assert shown(newer[1]) == ["4", "3", "2"]
    assert client.get("/files/?cursor=nonsense").status_code == 422


def test_empty_list(anna: Any) -> None:
    assert "Drop files here" in anna.get("/files/").get_data(as_text=True)
    assert anna.get("/api/v1/files").json == {"items": [], "next_cursor": None, "prev_cursor": None}


def test_rename_changes_the_type_and_the_time(app: Any, make_key: Callable[..., dict[str, str]]) -> None:
    client, key = app.test_client(), make_key("anna")
    file = put(client, key, "a.txt")
    answer = client.patch(f"/api/v1/files/{file['id']}", json={"name": "a.png"}, headers=key)
    assert (answer.status_code, answer.json["name"], answer.json["media_type"]) == (200, "a.png", "image/png")
    assert answer.json["sha256"] == file["sha256"]
    assert answer.json["created_at"] == file["created_at"]
    assert answer.json["updated_at"] > file["updated_at"]
    assert client.get(f"/api/v1/files/{file['id']}", headers=key).json == answer.json


@pytest.mark.parametrize(
    "change", [{"size": 1}, {"owner_id": 2}, {"name": None}, {"name": 7}, {"name": "a", "sha256": "x"}, []]
)
def test_other_changes_are_422(app: Any, make_key: Callable[..., dict[str, str]], change: Any) -> None:
    client, key = app.test_client(), make_key("anna")
    file = put(client, key, "a.txt")
    assert client.patch(f"/api/v1/files/{file['id']}", json=change, headers=key).status_code == 422
    assert client.get(f"/api/v1/files/{file['id']}", headers=key).json == file


def test_rename_keeps_to_the_allowed_endings(
    make_app: Callable[..., Any], make_key: Callable[..., dict[str, str]]
) -> None:
    app = make_app(UPLOAD_EXTENSIONS="txt")
    client, key = app.test_client(), make_key("anna", application=app)
    file = put(client, key, "a.txt")
    answer = client.patch(f"/api/v1/files/{file['id']}", json={"name": "a.html"}, headers=key)
    assert (answer.status_code, answer.json["code"]) == (415, "type_not_allowed")
    assert client.get(f"/api/v1/files/{file['id']}", headers=key).json["name"] == "a.txt"


def test_delete_gives_everything_back(
    app: Any, make_key: Callable[..., dict[str, str]], instance: Path
) -> None:
    client, key = app.test_client(), make_key("anna")
    file, other = put(client, key, "a.txt", b"x" * 100), put(client, key, "b.txt", b"y" * 10)
    answer = client.delete(f"/api/v1/files/{file['id']}", headers=key)
    assert (answer.status_code, answer.data) == (204, b"")
    assert len(stored(instance)) == 1
    assert usage(app) == 10
    for again in (client.delete, client.get):
        assert again(f"/api/v1/files/{file['id']}", headers=key).status_code == 404
    assert client.get(f"/api/v1/files/{file['id']}/content", headers=key).status_code == 404
    assert client.delete(f"/api/v1/files/{other['id']}", headers=key).status_code == 204
    assert empty(app, instance)


def test_page_asks_and_deletes(
    anna: Any, app: Any, make_key: Callable[..., dict[str, str]], instance: Path
) -> None:
    file = put(anna, make_key("anna"), "a.txt")
    question = anna.get(f"/files/{file['id']}/delete")
    assert "Delete a.txt?" in question.get_data(as_text=True)
    assert len(stored(instance)) == 1, "the question deletes nothing"
    assert anna.post(f"/files/{file['id']}/delete").status_code == 400
    answer = anna.post(f"/files/{file['id']}/delete", data={"csrf_token": form_token(question)})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/files/")
    assert "a.txt is deleted." in anna.get("/files/").get_data(as_text=True)
    assert empty(app, instance)


def test_page_of_a_file(anna: Any, make_key: Callable[..., dict[str, str]]) -> None:
    key = make_key("anna")
    text = put(anna, key, "a.txt", b"first <b>line</b> \xff")
    page = anna.get(f"/files/{text['id']}").get_data(as_text=True)
    assert "first &lt;b&gt;line&lt;/b&gt;" in page
    assert text["sha256"] in page
    picture = put(anna, key, "a.png")
    assert f'<img src="/files/{picture["id"]}/raw"' in anna.get(f"/files/{picture['id']}").get_data(
        as_text=True
    )
    drawing = put(anna, key, "a.svg", b"<svg/>")
    assert "There is no preview" in anna.get(f"/files/{drawing['id']}").get_data(as_text=True)
