"""Names of files: whatever a sender calls a file, it is taken, harmless, and given back readable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from werkzeug.http import parse_options_header

from tests.conftest import form_token
from tests.files.helpers import MULTIPART, body, part, put, stored

LONG = "n" * 1000 + ".tar"
NAMES = [
    pytest.param("report.pdf", "report.pdf", id="plain"),
    pytest.param("../../etc/passwd", "passwd", id="up"),
    pytest.param("..\\..\\x", "x", id="up by backslash"),
    pytest.param("/etc/shadow", "shadow", id="absolute"),
    pytest.param("C:\\autoexec.bat", "autoexec.bat", id="drive"),
    pytest.param("a\0b.txt", "ab.txt", id="nul"),
    pytest.param("a\r\nSet-Cookie: x=1.txt", "aSet-Cookie: x=1.txt", id="line break"),
    pytest.param("a\nb.txt", "ab.txt", id="newline"),
    pytest.param("say \"hi\"; x='y'.txt", "say \"hi\"; x='y'.txt", id="quotes"),
    pytest.param("写真 2024.jpg", "写真 2024.jpg", id="cjk"),
    pytest.param("🎉party🎉.txt", "🎉party🎉.txt", id="emoji"),
    pytest.param("👩\u200d👩\u200d👧.png", "👩\u200d👩\u200d👧.png", id="joined emoji"),
    pytest.param("\u202egpj.exe", "gpj.exe", id="bidi override"),
    pytest.param("a\u2066b\u2069\u200f\u061c.txt", "ab.txt", id="bidi isolates"),
    pytest.param("a\x1b[31m\x7f\x85.txt", "a[31m.txt", id="control"),
    pytest.param(".", "file", id="dot"),
    pytest.param("..", "file", id="dots"),
    pytest.param("a/", "file", id="only a folder"),
    pytest.param("\u202e\u200b", "file", id="nothing to see"),
    pytest.param("<script>alert(1)</script>", "script>", id="markup with a slash"),
    pytest.param('"><img src=x onerror=1>', '"><img src=x onerror=1>', id="markup"),
    pytest.param("100% #1 ?.txt", "100% #1 ?.txt", id="address signs"),
    pytest.param(".profile", ".profile", id="hidden"),
    pytest.param("CON", "CON", id="device"),
    pytest.param(LONG, "n" * 251 + ".tar", id="long"),
    pytest.param("写" * 1000 + ".jpg", "写" * 83 + ".jpg", id="long cjk"),
    pytest.param("x." + "y" * 1000, "x." + "y" * 253, id="long ending"),
]


def outside(instance: Path) -> set[Path]:
    """Every path around the store."""
    return {
        path
        for path in instance.parent.rglob("*")
        if instance / "files" not in path.parents and "microsite.db" not in path.name
    }


def check_download(client: Any, key: dict[str, str], file: dict[str, Any], name: str) -> None:
    answer = client.get(f"/api/v1/files/{file['id']}/content", headers=key, buffered=True)
    assert answer.data == b"content"
    header = answer.headers["Content-Disposition"]
    header.encode("ascii")
    assert "\r" not in header
    assert f"; filename*=UTF-8''{quote(name, safe='')}" in header
    kind, options = parse_options_header(header.partition("; filename*")[0])
    assert kind == "attachment"
    assert options["filename"]
    assert len(answer.headers.getlist("Set-Cookie")) == 0


@pytest.mark.parametrize(("given", "kept"), NAMES)
def test_put_under_any_name(
    app: Any, make_key: Callable[..., dict[str, str]], instance: Path, given: str, kept: str
) -> None:
    client, key = app.test_client(), make_key("anna")
    before = outside(instance)
    file = put(client, key, quote(given, safe=""))
    assert file["name"] == kept
    assert len(file["name"].encode()) <= 255
    check_download(client, key, file, kept)
    assert outside(instance) == before
    assert [len(path.name) for path in stored(instance)] == [32], "the store's names are the server's own"


@pytest.mark.parametrize(
    ("given", "kept"), [p for p in NAMES if not set(str(p.values[0])) & set('"\r\n\\\0')]
)
def test_form_under_any_name(
    app: Any, make_key: Callable[..., dict[str, str]], instance: Path, given: str, kept: str
) -> None:
    client, key = app.test_client(), make_key("anna")
    before = outside(instance)
    sent = body(part("file", b"content", given.encode()))
    answer = client.post("/api/v1/files", data=sent, content_type=MULTIPART, headers=key)
    assert answer.status_code == 201, answer.json
    file = answer.json["items"][0]
    assert file["name"] == kept
    check_download(client, key, file, kept)
    assert outside(instance) == before


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        pytest.param(b"..\\..\\x", "x", id="backslashes"),
        pytest.param(b"C:\\Users\\anna\\report.txt", "report.txt", id="a whole path"),
        pytest.param(b"a\0b", "ab", id="nul"),
        pytest.param("Stra\u00dfe.txt".encode("latin-1"), "Stra\ufffde.txt", id="old encoding"),
        pytest.param(b'\\"quoted\\".txt', '"quoted".txt', id="quotes as curl escapes them"),
        pytest.param(b"%22quoted%22.txt", '"quoted".txt', id="quotes as browsers escape them"),
    ],
)
def test_form_names_as_programs_send_them(
    app: Any, make_key: Callable[..., dict[str, str]], instance: Path, raw: bytes, kept: str
) -> None:
    client, key = app.test_client(), make_key("anna")
    before = outside(instance)
    sent = body(part("file", b"content", raw))
    answer = client.post("/api/v1/files", data=sent, content_type=MULTIPART, headers=key)
    assert answer.status_code == 201, answer.json
    assert answer.json["items"][0]["name"] == kept
    assert outside(instance) == before


@pytest.mark.parametrize(("given", "kept"), [*NAMES, pytest.param("", "file", id="empty")])
def test_rename_cleans_like_an_upload(
    app: Any, make_key: Callable[..., dict[str, str]], given: str, kept: str
) -> None:
    client, key = app.test_client(), make_key("anna")
    file = put(client, key, "before.txt")
    answer = client.patch(f"/api/v1/files/{file['id']}", json={"name": given}, headers=key)
    assert answer.status_code == 200, answer.json
    assert answer.json["name"] == kept
    check_download(client, key, file, kept)


def test_half_a_character_pair_is_dropped(app: Any, make_key: Callable[..., dict[str, str]]) -> None:
    client, key = app.test_client(), make_key("anna")
    file = put(client, key, "before.txt")
    raw = rb'{"name": "a\ud83db.txt"}'
    answer = client.patch(
        f"/api/v1/files/{file['id']}", data=raw, headers=key, content_type="application/json"
    )
    assert (answer.status_code, answer.json["name"]) == (200, "ab.txt")


def test_pages_escape_names(anna: Any, make_key: Callable[..., dict[str, str]]) -> None:
    """The test client's reviewer would also refuse a page that such a name breaks."""
    name = '"><img src=x onerror=alert(1)>&lt;b&gt;.txt'
    file = put(anna, make_key("anna"), quote(name, safe=""))
    for address in (
        "/files/",
        f"/files/{file['id']}",
        f"/files/{file['id']}/delete",
        "/",
        f"/links/new?file={file['id']}",
    ):
        page = anna.get(address).get_data(as_text=True)
        assert "<img src=x" not in page, address
        assert "&lt;img src=x" in page, address


def test_page_renames(anna: Any, make_key: Callable[..., dict[str, str]]) -> None:
    file = put(anna, make_key("anna"), "old.txt")
    token = form_token(anna.get(f"/files/{file['id']}"))
    address = f"/files/{file['id']}/rename"
    answer = anna.post(address, data={"csrf_token": token, "name": "../new.html"})
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/files/{file['id']}")
    changed = anna.get(f"/api/v1/files/{file['id']}").json
    assert (changed["name"], changed["media_type"]) == ("new.html", "text/html")
    refused = anna.post(address, data={"csrf_token": token, "name": ""})
    assert refused.status_code == 422
    assert "Give the file a name." in refused.get_data(as_text=True)
    assert anna.post(address, data={"csrf_token": token, "name": LONG}).status_code == 303
