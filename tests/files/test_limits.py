"""Limits: size, kinds, and a quota that uploads at once cannot pass together."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.files.helpers import empty, put, rows, stored, upload, usage


def at_once(count: int, work: Callable[[int], int]) -> list[int]:
    """Run `work` in threads that start together; gives what they returned."""
    barrier, found = threading.Barrier(count), [0] * count

    def run(number: int) -> None:
        barrier.wait(20)
        found[number] = work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def test_largest_file(
    make_app: Callable[..., Any], make_key: Callable[..., dict[str, str]], instance: Path
) -> None:
    app = make_app(MAX_FILE_SIZE="1000")
    client, key = app.test_client(), make_key("anna", application=app)
    put(client, key, "fits", b"x" * 1000)
    assert upload(client, key, ("fits", b"x" * 1000)).status_code == 201
    for answer in (
        client.put("/api/v1/upload/large", data=b"x" * 1001, headers=key),
        upload(client, key, ("large", b"x" * 1001)),
    ):
        assert (answer.status_code, answer.json["code"]) == (413, "file_too_large")
        assert "1 kB" in answer.json["detail"]
    assert rows(app) == len(stored(instance)) == 2


@pytest.mark.parametrize("name", ["a.exe", "a", "a.txt.exe", "txt", "a.txt/", "a.", "a.txt\u202e.exe"])
def test_endings_that_are_not_listed(
    make_app: Callable[..., Any], make_key: Callable[..., dict[str, str]], instance: Path, name: str
) -> None:
    app = make_app(UPLOAD_EXTENSIONS="txt,.PDF")
    client, key = app.test_client(), make_key("anna", application=app)
    answers = [
        client.put(f"/api/v1/upload/{name}", data=b"x", headers=key),
        upload(client, key, (name, b"x")),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json["code"]) == (415, "type_not_allowed"), answer.json
    assert empty(app, instance)


@pytest.mark.parametrize(
    "name", ["a.txt", "A.TXT", "a.exe.txt", "a.pdf", "a.exe/b.txt", ".txt", "x" * 500 + ".txt"]
)
def test_endings_that_are_listed(
    make_app: Callable[..., Any], make_key: Callable[..., dict[str, str]], name: str
) -> None:
    app = make_app(UPLOAD_EXTENSIONS="txt,.PDF")
    put(app.test_client(), make_key("anna", application=app), name)


def test_quota_is_exact(
    make_app: Callable[..., Any], make_key: Callable[..., dict[str, str]], instance: Path
) -> None:
    app = make_app(USER_QUOTA="1000")
    client, key = app.test_client(), make_key("anna", application=app)
    first = put(client, key, "a", b"x" * 600)
    over = client.put("/api/v1/upload/b", data=b"x" * 401, headers=key)
    assert (over.status_code, over.json["code"]) == (507, "quota_exceeded")
    put(client, key, "b", b"x" * 400)
    assert client.put("/api/v1/upload/c", data=b"x", headers=key).status_code == 507
    put(client, key, "nothing", b"")
    assert client.delete(f"/api/v1/files/{first['id']}", headers=key).status_code == 204
    put(client, key, "c", b"x" * 600)
    assert usage(app) == 1000
    assert len(stored(instance)) == 3
    put(client, make_key("ben", application=app), "a", b"x" * 1000)  # everyone has a quota of one's own


def test_quota_holds_against_uploads_at_once(
    make_app: Callable[..., Any], make_key: Callable[..., dict[str, str]], instance: Path
) -> None:
    """Also for a member's very first files, when nothing has been counted yet."""
    app = make_app(USER_QUOTA="1000")
    key = make_key("anna", application=app)

    def send(number: int) -> int:
        body = {"buffered": True, "headers": key}
        return int(app.test_client().put(f"/api/v1/upload/{number}", data=b"x" * 300, **body).status_code)

    assert Counter(at_once(8, send)) == {201: 3, 507: 5}
    assert usage(app) == 900
    assert rows(app) == len(stored(instance)) == 3


def test_deleting_at_once_gives_the_bytes_back_once(
    app: Any, make_key: Callable[..., dict[str, str]], instance: Path
) -> None:
    client, key = app.test_client(), make_key("anna")
    put(client, key, "other", b"x" * 10_000)
    for _ in range(3):
        file = put(client, key, "a", b"x" * 1000)
        found = at_once(
            8,
            lambda _, file=file: int(
                app.test_client().delete(f"/api/v1/files/{file['id']}", headers=key).status_code
            ),
        )
        assert Counter(found) == {204: 1, 404: 7}
        assert usage(app) == 10_000
    assert len(stored(instance)) == 1


def test_number_of_files_is_limited(
    make_app: Callable[..., Any],
    make_key: Callable[..., dict[str, str]],
    instance: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Empty files count in no quota; each is a row all the same, and a file on the disk."""
    app = make_app()
    client, key = app.test_client(), make_key("anna", application=app)
    monkeypatch.setattr("microsite.files.services.FILES_MAX", 5)
    first = upload(client, key, *((f"{number}", b"") for number in range(4)))
    assert first.status_code == 201
    refused = upload(client, key, ("a", b""), ("b", b""))
    assert (refused.status_code, refused.json["code"]) == (507, "quota_exceeded")
    assert "You have 4 files, and 2 more came; 5 are the most here." in refused.json["detail"]
    assert rows(app) == len(stored(instance)) == 4
    put(client, key, "the last")
    assert client.delete(f"/api/v1/files/{first.json['items'][0]['id']}", headers=key).status_code == 204
    put(client, key, "room again")
