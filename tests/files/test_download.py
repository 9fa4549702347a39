"""Bytes on their way out: whole, ranges, unchanged; and never shown where a browser could run them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.conftest import sign_in
from tests.files.helpers import put

BYTES = bytes(range(256)) * 4
SANDBOX = "sandbox; default-src 'none'; frame-ancestors 'none'"


@pytest.fixture
def key(make_key: Callable[..., dict[str, str]]) -> dict[str, str]:
    return make_key("anna")


@pytest.fixture
def file(app: Any, key: dict[str, str]) -> dict[str, Any]:
    return put(app.test_client(), key, "data.bin", BYTES)


@pytest.fixture
def get(app: Any, key: dict[str, str], file: dict[str, Any]) -> Callable[..., Any]:
    """Ask for the bytes of the file, with further headers."""
    client = app.test_client()

    def ask(method: str = "GET", **headers: str) -> Any:
        sent = key | {name.replace("_", "-"): value for name, value in headers.items()}
        return client.open(f"/api/v1/files/{file['id']}/content", method=method, headers=sent, buffered=True)

    return ask


def test_whole(get: Callable[..., Any], file: dict[str, Any]) -> None:
    answer = get()
    assert (answer.status_code, answer.data) == (200, BYTES)
    assert answer.headers["ETag"] == f'"{file["sha256"]}"'
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Length"] == "1024"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Last-Modified" in answer.headers


def test_head_is_get_without_the_body(get: Callable[..., Any]) -> None:
    whole, head = get(), get("HEAD")
    assert (head.status_code, head.data) == (200, b"")
    assert dict(head.headers) == dict(whole.headers)


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1), ("bytes=0-9", 0, 10), ("bytes=1023-", 1023, 1024), ("bytes=1000-5000", 1000, 1024),
        ("bytes=-1", 1023, 1024), ("bytes=-10", 1014, 1024), ("bytes=-5000", 0, 1024), ("bytes=0-", 0, 1024),
    ],
)  # fmt: skip
def test_range(get: Callable[..., Any], asked: str, start: int, end: int) -> None:
    answer = get(Range=asked)
    assert (answer.status_code, answer.data) == (206, BYTES[start:end])
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/1024"
    assert answer.headers["Content-Length"] == str(end - start)


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=5000-6000"])
def test_impossible_range(get: Callable[..., Any], asked: str) -> None:
    answer = get(Range=asked)
    assert (answer.status_code, answer.json["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["Content-Range"] == "bytes */1024"


@pytest.mark.parametrize(
    "asked", ["bytes=5-1", "bytes=a-b", "lines=1-2", "bytes", "bytes=0-1,5-6", "bytes=" + "9" * 5000 + "-"]
)
def test_what_is_no_single_range_gets_the_whole(get: Callable[..., Any], asked: str) -> None:
    answer = get(Range=asked)
    assert (answer.status_code, answer.data) == (200, BYTES)


def test_if_range(get: Callable[..., Any], file: dict[str, Any]) -> None:
    same = get(Range="bytes=0-9", If_Range=f'"{file["sha256"]}"')
    assert (same.status_code, same.data) == (206, BYTES[:10])
    other = get(Range="bytes=0-9", If_Range='"another"')
    assert (other.status_code, other.data) == (200, BYTES)
    assert "Content-Range" not in other.headers
    dated = get(Range="bytes=0-9", If_Range=same.headers["Last-Modified"])
    assert dated.status_code == 206
    assert get(Range="bytes=0-9", If_Range="Mon, 01 Jan 2001 00:00:00 GMT").status_code == 200


def test_unchanged(get: Callable[..., Any], file: dict[str, Any]) -> None:
    for method in ("GET", "HEAD"):
        answer = get(method, If_None_Match=f'"{file["sha256"]}"')
        assert (answer.status_code, answer.data) == (304, b"")
        assert answer.headers["ETag"] == f'"{file["sha256"]}"'
    assert get(If_None_Match='"another"').status_code == 200


def test_empty_file(app: Any, key: dict[str, str]) -> None:
    client = app.test_client()
    address = f"/api/v1/files/{put(client, key, 'nothing', b'')['id']}/content"
    whole = client.get(address, headers=key, buffered=True)
    assert (whole.status_code, whole.data, whole.headers["Content-Length"]) == (200, b"", "0")
    assert client.get(address, headers=key | {"Range": "bytes=0-"}).status_code == 416


# --- what a browser may show -----------------------------------------------------------------------------------------

SHOWN = [
    ("a.png", "image/png"), ("a.jpg", "image/jpeg"), ("a.jpeg", "image/jpeg"), ("a.gif", "image/gif"), ("a.webp", "image/webp"),
    ("a.avif", "image/avif"), ("a.mp3", "audio/mpeg"), ("a.mp4", "video/mp4"), ("a.txt", "text/plain; charset=utf-8"),
    ("A.TXT", "text/plain; charset=utf-8"), ("a.log", "text/plain; charset=utf-8"),
]  # fmt: skip
NOT_SHOWN = [
    "a.svg", "a.html", "a.htm", "a.xhtml", "a.xml", "a.pdf", "a.js", "a.css", "a.md", "a.epub", "a.swf", "a.mht", "a", "a.unknown",
    "a.svg.gz", "a.svgz", "a.html.", "a.json", "a.xsl", "a.htc", "a.wasm", "html",
]  # fmt: skip


def test_raw_shows_safe_types(anna: Any, key: dict[str, str]) -> None:
    for name, kind in SHOWN:
        file = put(anna, key, name, b"<script>alert(1)</script>")
        answer = anna.get(f"/files/{file['id']}/raw", buffered=True)
        assert answer.headers["Content-Type"] == kind
        assert answer.headers["Content-Disposition"].startswith("inline; "), name
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == SANDBOX


@pytest.mark.parametrize("address", ["/files/{}/raw", "/files/{}/download", "/api/v1/files/{}/content"])
def test_all_else_is_a_download(app: Any, key: dict[str, str], address: str) -> None:
    client = FlaskClient(app, app.response_class)  # these pages are not ours to review
    sign_in(client, "anna")
    for name in NOT_SHOWN:
        file = put(client, key, name, b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
        answer = client.get(address.format(file["id"]), buffered=True)
        assert answer.status_code == 200
        assert answer.headers["Content-Disposition"].startswith("attachment; "), name
        assert answer.headers["Content-Security-Policy"] == SANDBOX
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_download_of_a_safe_type_is_a_download(anna: Any, key: dict[str, str]) -> None:
    file = put(anna, key, "a.png")
    assert (
        anna.get(f"/files/{file['id']}/download", buffered=True)
        .headers["Content-Disposition"]
        .startswith("attachment; ")
    )


def test_the_senders_type_counts_for_nothing(anna: Any, key: dict[str, str]) -> None:
    file = put(anna, key | {"Content-Type": "text/html"}, "polyglot.gif", b"GIF89a/*<script>*/=1")
    answer = anna.get(f"/files/{file['id']}/raw", buffered=True)
    assert answer.headers["Content-Type"] == "image/gif"


def test_visitors_are_asked_to_sign_in_and_come_back(app: Any, file: dict[str, Any]) -> None:
    for door in ("", "/raw", "/download"):
        answer = app.test_client().get(f"/files/{file['id']}{door}")
        assert answer.status_code == 302
        assert answer.headers["Location"] == f"/auth/login?next=/files/{file['id']}{door}"
    content = app.test_client().get(f"/api/v1/files/{file['id']}/content")
    assert (content.status_code, content.json["code"]) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": 'W/"{sha256}"'}, 412),
        ({"If-Match": '"other"', "If-None-Match": '"{sha256}"'}, 412),
        ({"If-Match": '"{sha256}"'}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"{sha256}"', "If-None-Match": '"{sha256}"'}, 304),
        ({"If-Match": '"{sha256}"', "If-Range": '"{sha256}"', "Range": "bytes=0-0"}, 206),
        ({"If-Match": '"other"', "Range": "bytes=99-"}, 412),
        ({"If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 412),
        ({"If-Unmodified-Since": "Sat, 01 Jan 2000 00:00:00 GMT", "If-Match": "*"}, 200),
        ({"If-Unmodified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 200),
        ({"If-Unmodified-Since": "nonsense"}, 200),
    ],
    ids=str,
)
def test_preconditions_come_first(app: Any, make_key: Any, headers: dict[str, str], status: int) -> None:
    client, key = app.test_client(), make_key("anna")
    file = put(client, key, "a.txt", b"hello")
    asked = {name: value.replace("{sha256}", file["sha256"]) for name, value in headers.items()}
    answer = client.get(f"/api/v1/files/{file['id']}/content", headers=key | asked, buffered=True)
    assert answer.status_code == status
    if status == 412:
        assert answer.json["code"] == "precondition_failed"
