"""Static files: a url changes with the content and is kept for a year; every other is asked for again."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask, url_for

from microsite.core import static

GZIP = {"Accept-Encoding": "gzip, deflate, br"}
SCRIPT = b"export const words = 'one';\n" + b"// a line of comment\n" * 80


def site_of(folder: Path) -> Flask:
    """A bare application, with the static files of a shell and of a blueprint from outside."""
    app = Flask("bare", static_folder=str(folder / "static"))
    app.register_blueprint(
        Blueprint("notes", "notes", static_folder=str(folder / "notes"), static_url_path="/static/notes")
    )
    app.register_blueprint(
        Blueprint("board", "board", static_folder=str(folder / "board"), static_url_path="/board/files")
    )
    static.init_app(app)
    return app


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("static/shell.js", "notes/notes.js", "board/board.js"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(SCRIPT)
    return tmp_path


def address(app: Flask, endpoint: str, filename: str) -> str:
    with app.test_request_context():
        return url_for(endpoint, filename=filename)


NAMED = [("static", "shell.js"), ("notes.static", "notes.js"), ("board.static", "board.js")]


@pytest.mark.parametrize(("endpoint", "filename"), NAMED)
@pytest.mark.parametrize("changed", NAMED)
def test_a_deploy_changes_every_url(
    folder: Path, endpoint: str, filename: str, changed: tuple[str, str]
) -> None:
    """Also that of a file which imports the changed one; and where the deploy keeps size and time."""
    before = address(site_of(folder), endpoint, filename)
    path = folder / changed[0].removesuffix(".static") / changed[1]
    times = path.stat()
    path.write_bytes(SCRIPT.replace(b"one", b"two"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    app = site_of(folder)
    after = address(app, endpoint, filename)
    assert before != after
    assert address(site_of(folder), endpoint, filename) == after, "the same files have the same url"
    client = app.test_client()
    assert "max-age=31536000" in client.get(after, buffered=True).headers["Cache-Control"]
    assert client.get(before, buffered=True).headers["Cache-Control"] == "no-cache", "an old page still works"


def test_a_relative_import_leads_to_the_url_of_the_page(folder: Path) -> None:
    """Or the browser would run the module twice, and every button with it."""
    app = site_of(folder)
    notes = address(app, "notes.static", "notes.js")
    assert notes.replace("/notes/notes.js", "/shell.js") == address(app, "static", "shell.js")


@pytest.mark.parametrize("headers", [{}, GZIP], ids=["plain", "gzip"])
def test_an_edited_file_is_served_as_it_is_now(folder: Path, headers: dict[str, str]) -> None:
    """An old process beside new files: neither old bytes under a new ETag nor new ones that are kept for a year."""
    app = site_of(folder)
    client, url = app.test_client(), address(app, "static", "shell.js")
    first = client.get(url, headers=headers, buffered=True)
    path = folder / "static" / "shell.js"
    times = path.stat()
    path.write_bytes(SCRIPT.replace(b"one", b"two"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "Last-Modified" not in first.headers
    asked = headers | {"If-None-Match": first.headers["ETag"]}
    second = client.get(url, headers=asked, buffered=True)
    assert second.status_code == 200
    data = gzip.decompress(second.data) if headers else second.data
    assert data == path.read_bytes()
    assert second.headers["Cache-Control"] == "no-cache"


def test_compressed_and_plain_are_told_apart(folder: Path) -> None:
    app = site_of(folder)
    client, url = app.test_client(), address(app, "static", "shell.js")
    plain, small = client.get(url, buffered=True), client.get(url, headers=GZIP, buffered=True)
    assert plain.data == gzip.decompress(small.data) == SCRIPT
    assert small.content_length == len(small.data) < len(SCRIPT) / 4
    assert small.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert plain.headers["ETag"] != small.headers["ETag"]
    for answer in (plain, small):
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert "javascript" in answer.content_type
    head = client.head(url, headers=GZIP)
    assert (head.content_length, head.headers["ETag"]) == (small.content_length, small.headers["ETag"])
    unchanged = client.get(url, headers=GZIP | {"If-None-Match": small.headers["ETag"]}, buffered=True)
    assert (unchanged.status_code, unchanged.headers["Vary"]) == (304, "Accept-Encoding")
    part = client.get(url, headers=GZIP | {"Range": "bytes=7-11"}, buffered=True)
    assert (part.status_code, part.data) == (206, SCRIPT[7:12])
    assert "Content-Encoding" not in part.headers
    refused = client.get(url, headers={"Accept-Encoding": "gzip;q=0"}, buffered=True)
    assert "Content-Encoding" not in refused.headers


@pytest.mark.parametrize("name", ["nothing.js", "../notes/notes.js", "%2e%2e/notes/notes.js", "x/%00"])
def test_only_files_of_the_folder(folder: Path, name: str) -> None:
    assert site_of(folder).test_client().get(f"/static/{name}").status_code == 404


@pytest.mark.parametrize("path", ["/static/base.css", "/static/icon.svg", "/static/links/notes.js", "/static/v-0123456789ab/base.css"])  # fmt: skip
def test_without_the_present_stamp_it_is_asked_for_again(client: Any, path: str) -> None:
    answer = client.get(path, buffered=True)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-cache")
    assert "Expires" not in answer.headers


def test_every_page_names_stamped_files_that_need_no_session(client: Any, anna: Any) -> None:
    for visitor, path in ((client, "/"), (client, "/auth/login"), (anna, "/files/"), (anna, "/chat/")):
        page = visitor.get(path).get_data(as_text=True)
        named = re.findall(r'<(?:link|script)[^>]* (?:href|src)="([^"]+)"', page)
        assert len(named) >= 6
        for url in named:
            answer = visitor.get(url, headers=GZIP, buffered=True)
            assert "/v-" in url
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert "Cookie" not in answer.headers.get("Vary", "")
            assert "Set-Cookie" not in answer.headers


def test_while_developing_nothing_is_kept(make_app: Callable[..., Any], monkeypatch: Any) -> None:
    app = make_app()
    monkeypatch.setattr(app, "debug", True)
    page = app.test_client().get("/").get_data(as_text=True)
    assert "/static/shell.js" in page
    assert "/v-" not in page
