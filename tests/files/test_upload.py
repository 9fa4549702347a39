"""Bytes on their way in: by page, by API form, and raw; whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import form_token
from tests.files.helpers import BOUNDARY, MULTIPART, body, empty, part, put, rows, stored, upload, usage

PAGE = {"Accept": "text/html"}


def send_form(client: Any, files: list[tuple[bytes, str]], **fields: str) -> Any:
    token = form_token(client.get("/files/"))
    data = {"csrf_token": token, "file": [(BytesIO(content), name) for content, name in files]} | fields
    return client.post("/files/", data=data, content_type="multipart/form-data", headers=PAGE)


# --- the page ----------------------------------------------------------------------------------------------------


def test_page_takes_several_files(anna: Any, app: Any, instance: Path) -> None:
    answer = send_form(anna, [(b"one", "one.txt"), (b"two!", "two.txt"), (b"", "nothing.txt")])
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/files/"
    page = anna.get("/files/").get_data(as_text=True)
    assert all(name in page for name in ("one.txt", "two.txt", "nothing.txt"))
    assert "3 files are here." in page
    assert rows(app) == len(stored(instance)) == 3
    assert usage(app) == 7


def test_page_says_that_no_file_was_chosen(anna: Any, app: Any, instance: Path) -> None:
    token = form_token(anna.get("/files/"))
    without = anna.post(
        "/files/", data={"csrf_token": token}, content_type="multipart/form-data", headers=PAGE
    )
    browser = anna.post(  # a browser sends one empty part for an empty field
        "/files/",
        data=body(part("csrf_token", token.encode()), part("file", b"", b"")),
        content_type=MULTIPART,
        headers=PAGE,
    )
    for answer in (without, browser):
        assert answer.status_code == 422
        assert "No file was chosen. Choose one or more." in answer.get_data(as_text=True)
    assert empty(app, instance)


def test_page_says_each_refusal_in_words(
    make_app: Callable[..., Any], sign_in_to: Callable[[Any], Any], instance: Path
) -> None:
    app = make_app(MAX_FILE_SIZE="1kB", USER_QUOTA="1500", UPLOAD_EXTENSIONS="txt,pdf")
    client = sign_in_to(app)
    large = send_form(client, [(b"x" * 1001, "large.txt")])
    assert large.status_code == 413
    assert "large.txt is too large; files may be up to 1 kB here." in large.get_data(as_text=True)
    kind = send_form(client, [(b"x", "program.exe")])
    assert kind.status_code == 415
    assert "program.exe is not accepted; files here end in pdf, txt." in kind.get_data(as_text=True)
    assert empty(app, instance)
    full = send_form(client, [(b"x" * 900, "a.txt"), (b"y" * 900, "b.txt")])
    assert full.status_code == 507
    assert "You use 0 B of 1.5 kB and this needs 1.8 kB. Delete something to make room." in full.get_data(
        as_text=True
    )
    assert empty(app, instance)


@pytest.mark.parametrize("token", [None, "", "forged"])
def test_form_without_its_token_writes_nothing(
    anna: Any, app: Any, instance: Path, token: str | None
) -> None:
    parts = [] if token is None else [part("csrf_token", token.encode())]
    answer = anna.post("/files/", data=body(*parts, part("file", b"bytes", b"a.txt")), content_type=MULTIPART)
    assert answer.status_code == 400
    assert "Reload it and try again." in answer.get_data(as_text=True)
    assert empty(app, instance)


def test_token_after_the_file_is_too_late(
    anna: Any, app: Any, instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = form_token(anna.get("/files/")).encode()
    opened: list[object] = []
    from microsite.core.storage import LocalStorage

    real = LocalStorage.writer
    monkeypatch.setattr(LocalStorage, "writer", lambda self: opened.append(self) or real(self))
    late = body(part("file", b"bytes", b"a.txt"), part("csrf_token", token))
    assert anna.post("/files/", data=late, content_type=MULTIPART).status_code == 400
    assert not opened, "a file was opened before the form had proven itself"
    assert empty(app, instance)
    in_time = body(part("csrf_token", token), part("file", b"bytes", b"a.txt"))
    assert anna.post("/files/", data=in_time, content_type=MULTIPART).status_code == 303
    assert opened


def test_session_upload_by_api_needs_the_header(anna: Any, app: Any, instance: Path) -> None:
    page = anna.get("/files/").get_data(as_text=True)
    token = page.split('name="csrf-token" content="')[1].split('"')[0]
    assert anna.put("/api/v1/upload/a.txt", data=b"x").status_code in (400, 422)
    assert empty(app, instance), "a browser's PUT needs its token"
    assert (
        anna.put("/api/v1/upload/a.txt", data=b"x", headers={"X-CSRFToken": "forged"}).json["code"]
        == "csrf_failed"
    )
    foreign = {"X-CSRFToken": token, "Origin": "https://evil.example"}
    assert anna.put("/api/v1/upload/a.txt", data=b"x", headers=foreign).json["code"] == "csrf_failed"
    assert empty(app, instance)
    assert anna.put("/api/v1/upload/a.txt", data=b"x", headers={"X-CSRFToken": token}).status_code == 201


# --- the API's form ----------------------------------------------------------------------------------------------


def test_api_takes_several_files(app: Any, make_key: Callable[..., dict[str, str]]) -> None:
    answer = upload(app.test_client(), make_key("anna"), ("a.txt", b"alpha"), ("b.png", b"\x89PNG"))
    assert answer.status_code == 201
    first, second = answer.json["items"]
    assert set(first) == {
        "id",
        "name",
        "size",
        "media_type",
        "sha256",
        "folder_id",
        "created_at",
        "updated_at",
        "content_url",
    }
    assert (first["name"], first["size"], first["media_type"]) == ("a.txt", 5, "text/plain")
    assert (second["name"], second["size"], second["media_type"]) == ("b.png", 4, "image/png")
    assert first["sha256"] == hashlib.sha256(b"alpha").hexdigest()
    assert first["content_url"] == f"http://127.0.0.1:8000/api/v1/files/{first['id']}/content"
    assert first["created_at"].endswith("Z")


def test_api_keeps_all_or_none(
    make_app: Callable[..., Any], make_key: Callable[..., dict[str, str]], instance: Path
) -> None:
    app = make_app(MAX_FILE_SIZE="1kB", USER_QUOTA="2kB", UPLOAD_EXTENSIONS="txt")
    client, key = app.test_client(), make_key("anna", application=app)
    for files, status, code in (
        ([("a.txt", b"x"), ("b.txt", b"x" * 1001)], 413, "file_too_large"),
        ([("a.txt", b"x"), ("b.exe", b"x")], 415, "type_not_allowed"),
        ([("a.txt", b"x" * 900), ("b.txt", b"x" * 900), ("c.txt", b"x" * 900)], 507, "quota_exceeded"),
    ):
        answer = upload(client, key, *files)
        assert (answer.status_code, answer.json["code"]) == (status, code)
        assert answer.mimetype == "application/problem+json"
        assert empty(app, instance)


def test_api_without_a_file_is_422(app: Any, make_key: Callable[..., dict[str, str]]) -> None:
    answer = app.test_client().post(
        "/api/v1/files", data=body(part("other", b"x")), content_type=MULTIPART, headers=make_key("anna")
    )
    assert answer.status_code == 422
    assert answer.json["errors"] == {"file": ["No file was chosen. Choose one or more."]}


def test_bytes_under_an_empty_name_are_kept(app: Any, make_key: Callable[..., dict[str, str]]) -> None:
    sent = body(part("file", b"bytes", b""), part("file", b"more", b"b.txt"))
    answer = app.test_client().post(
        "/api/v1/files", data=sent, content_type=MULTIPART, headers=make_key("anna")
    )
    assert answer.status_code == 201
    assert [(item["name"], item["size"]) for item in answer.json["items"]] == [("file", 5), ("b.txt", 4)]


@pytest.mark.parametrize(
    ("sent", "kind", "status"),
    [
        pytest.param(b"garbage", MULTIPART, 400, id="garbage"),
        pytest.param(b"", MULTIPART, 422, id="nothing"),
        pytest.param(b"{}", "application/json", 415, id="json"),
        pytest.param(b"x", "multipart/form-data", 400, id="no boundary"),
        pytest.param(b"x", "multipart/form-data; boundary=\xe4\xf6", 400, id="odd boundary"),
        pytest.param(body(part("file", b"x", b"a"))[:-20], MULTIPART, 400, id="no end"),
        pytest.param(part("file", b"x" * 100, b"a")[:90], MULTIPART, 400, id="cut in the head"),
        pytest.param(
            f"--{BOUNDARY}\r\n\r\nx\r\n--{BOUNDARY}--\r\n".encode(), MULTIPART, 400, id="no disposition"
        ),
        pytest.param(
            f"--{BOUNDARY}\r\nContent-Disposition: form-data\r\n\r\nx\r\n--{BOUNDARY}--\r\n".encode(),
            MULTIPART,
            422,
            id="no name",
        ),
        pytest.param(
            f"--{BOUNDARY}\r\nno colon\r\n\r\nx\r\n--{BOUNDARY}--\r\n".encode(), MULTIPART, 400, id="no colon"
        ),
        pytest.param(f"--{BOUNDARY}\r\nX: \xff\xfe\r\n\r\nx".encode("latin-1"), MULTIPART, 400, id="no text"),
        pytest.param(f"--{BOUNDARY}\r\nX: ".encode() + b"y" * (5 * 2**20), MULTIPART, 400, id="endless head"),
        pytest.param(body(*[part("f", b"", b"")] * 1001), MULTIPART, 400, id="too many parts"),
        pytest.param(b"preamble" * 10**6, MULTIPART, 400, id="endless preamble"),
    ],
)
def test_broken_forms_are_refused(
    app: Any, make_key: Callable[..., dict[str, str]], instance: Path, sent: bytes, kind: str, status: int
) -> None:
    answer = app.test_client().post("/api/v1/files", data=sent, content_type=kind, headers=make_key("anna"))
    assert answer.status_code == status, answer.json
    assert answer.mimetype == "application/problem+json"
    assert empty(app, instance)


# --- raw ---------------------------------------------------------------------------------------------------------


def test_put_takes_the_raw_body(app: Any, make_key: Callable[..., dict[str, str]]) -> None:
    client, key = app.test_client(), make_key("anna")
    file = put(client, key | {"Content-Type": "image/png"}, "a.txt", b"\x00raw\r\n")
    assert (file["name"], file["size"], file["media_type"]) == ("a.txt", 6, "text/plain"), (
        "the sender's type counts for nothing"
    )
    assert (
        client.get(f"/api/v1/files/{file['id']}/content", headers=key, buffered=True).data == b"\x00raw\r\n"
    )


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json", None]
)
def test_put_ignores_its_content_type(
    app: Any, make_key: Callable[..., dict[str, str]], kind: str | None
) -> None:
    client, key = app.test_client(), make_key("anna")
    answer = client.put("/api/v1/upload/form", data=b"a=1&b=2", headers=key, content_type=kind)
    assert answer.status_code == 201
    assert (
        client.get(f"/api/v1/files/{answer.json['id']}/content", headers=key, buffered=True).data
        == b"a=1&b=2"
    )


def test_put_tells_a_shell_just_the_page(app: Any, make_key: Callable[..., dict[str, str]]) -> None:
    client, key = app.test_client(), make_key("anna")
    answer = client.put("/api/v1/upload/a.txt", data=b"x", headers=key | {"Accept": "text/plain"})
    assert (answer.status_code, answer.content_type) == (201, "text/plain; charset=utf-8")
    newest = client.get("/api/v1/files", headers=key).json["items"][0]
    assert answer.get_data(as_text=True) == f"http://127.0.0.1:8000/files/{newest['id']}\n"
    usual = client.put("/api/v1/upload/a.txt", data=b"x", headers=key | {"Accept": "*/*"})
    assert usual.mimetype == "application/json"


def test_put_without_a_name(app: Any, make_key: Callable[..., dict[str, str]]) -> None:
    client, key = app.test_client(), make_key("anna")
    assert put(client, key, "")["name"] == "file"
    assert client.put("/api/v1/upload", data=b"x", headers=key).status_code in (201, 308)


def test_put_of_nothing_is_an_empty_file(app: Any, make_key: Callable[..., dict[str, str]]) -> None:
    client, key = app.test_client(), make_key("anna")
    file = put(client, key, "empty.txt", b"")
    assert (file["size"], file["sha256"]) == (0, hashlib.sha256(b"").hexdigest())
    assert client.get(f"/api/v1/files/{file['id']}/content", headers=key, buffered=True).data == b""


def test_unknown_parameters_are_refused(
    app: Any, make_key: Callable[..., dict[str, str]], instance: Path
) -> None:
    answer = app.test_client().put("/api/v1/upload/a?overwrite=1", data=b"x", headers=make_key("anna"))
    assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")
    assert empty(app, instance)
