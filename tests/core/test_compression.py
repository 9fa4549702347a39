"""Pages and JSON are compressed; what members stored, parts and small answers pass as they are."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from flask import Flask

from microsite.core import compression

GZIP = {"Accept-Encoding": "gzip, deflate, br"}


@pytest.mark.parametrize("path", ["/", "/auth/login", "/nowhere", "/api/v1/openapi.json"])
def test_a_page_is_compressed_for_who_takes_it(client: Any, path: str) -> None:
    plain, small = client.get(path), client.open(path, headers=GZIP)
    assert "Content-Encoding" not in plain.headers
    assert small.headers["Content-Encoding"] == "gzip"
    assert small.status_code == plain.status_code
    assert small.content_length == len(small.data) < len(plain.data)
    assert abs(len(gzip.decompress(small.data)) - len(plain.data)) < 100
    for answer in (plain, small):
        assert "Accept-Encoding" in answer.headers["Vary"]
    head = client.head(path, headers=GZIP)
    assert head.headers["Content-Encoding"] == "gzip"
    assert head.data == b""


def test_a_refused_page_of_json_too(client: Any) -> None:
    answer = client.get("/api/v1/me", headers=GZIP)
    assert answer.status_code == 401
    assert "Content-Encoding" not in answer.headers, "it is smaller than a packet"
    assert answer.json["status"] == 401


@pytest.mark.parametrize("name", ["page.html", "words.txt", "data.json", "drawing.svg"])
def test_what_members_stored_passes_as_it_is(client: Any, make_key: Any, name: str) -> None:
    anna, data = make_key("anna"), b"{}\n" * 2000
    made = client.put(f"/api/v1/upload/{name}", data=data, headers=anna)
    path = f"/api/v1/files/{made.json['id']}/content"
    whole = client.get(path, headers=anna | GZIP)
    part = client.get(path, headers=anna | GZIP | {"Range": "bytes=0-4999"})
    assert (whole.status_code, whole.data) == (200, data)
    assert (part.status_code, part.data) == (206, data[:5000])
    for answer in (whole, part):
        assert "Content-Encoding" not in answer.headers


def test_the_length_tells_nothing_about_a_guess() -> None:
    """Answers that differ in a guess of the same length have many lengths; asking twice shows the same one."""
    app = Flask("bare")
    app.config["SECRET_KEY"] = "k" * 32
    app.add_url_rule("/<guess>", view_func=lambda guess: f"<p>{guess}</p>" + "<p>words</p>" * 200)
    compression.init_app(app)
    client = app.test_client()
    answers = [[client.get(f"/{guess}", headers=GZIP).data for guess in range(100, 140)] for _ in range(2)]
    assert answers[0] == answers[1]
    assert len({len(answer) for answer in answers[0]}) > 15
    assert {len(gzip.decompress(answer)) for answer in answers[0]} == {
        len("<p>100</p>") + 200 * len("<p>words</p>")
    }
