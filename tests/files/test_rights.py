"""Whose files are whose: to all others they do not exist, by no address and no verb."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import sign_in
from tests.files.helpers import empty, put, upload


def doors(app: Any) -> list[tuple[str, str]]:
    """Every verb on every address of a file, read from the routes, so that a new one is tested from its first day."""
    found = [
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        if "file_id" in rule.arguments
        for method in sorted((rule.methods or set()) - {"OPTIONS"})
    ]
    assert len(found) >= 12, found
    return found


def test_a_stranger_finds_nothing(
    app: Any, anna: Any, make_key: Callable[..., dict[str, str]], make_user: Callable[..., str]
) -> None:
    key = make_key("anna")
    file = put(anna, key, "secret-name.txt")
    ben = app.test_client()
    sign_in(ben, make_user("ben"))
    token = ben.get("/files/").get_data(as_text=True).split('name="csrf-token" content="')[1].split('"')[0]
    for method, rule in doors(app):
        for name in (file["id"], "no-such-file"):
            address = rule.replace("<file_id>", name)
            body: dict[str, Any] = {"json": {"name": "mine"}} if method in ("PATCH", "PUT") else {}
            if method == "POST":
                body = {"data": {"name": "mine"}}
            answer = ben.open(address, method=method, headers={"X-CSRFToken": token}, buffered=True, **body)
            assert answer.status_code == 404, (method, address)
            assert "secret-name" not in answer.get_data(as_text=True)
    assert anna.get(f"/api/v1/files/{file['id']}").json == file
    assert ben.get("/api/v1/files").json["items"] == []


def test_a_prefix_of_an_id_is_no_id(app: Any, make_key: Callable[..., dict[str, str]]) -> None:
    client, key = app.test_client(), make_key("anna")
    file = put(client, key, "a.txt")
    for wrong in (file["id"][:-1], file["id"] + "x", file["id"].swapcase(), "%", "x" * 10_000, "%00"):
        assert client.get(f"/api/v1/files/{wrong}", headers=key).status_code == 404


def test_guests_have_no_files(app: Any, make_key: Callable[..., dict[str, str]], instance: Path) -> None:
    client, key = app.test_client(), make_key("gast", role="guest")
    assert client.get("/api/v1/files", headers=key).json["code"] == "forbidden"
    for answer in (
        client.put("/api/v1/upload/a.txt", data=b"x", headers=key),
        upload(client, key, ("a.txt", b"x")),
        client.get("/api/v1/files/anything", headers=key),
        client.delete("/api/v1/files/anything", headers=key),
    ):
        assert (answer.status_code, answer.json["code"]) == (403, "forbidden")
    sign_in(client, "gast")
    assert client.get("/files/").status_code == 403
    assert client.post("/files/", data=b"", content_type="multipart/form-data; boundary=x").status_code == 403
    assert empty(app, instance)


@pytest.mark.parametrize(
    ("method", "address"), [("PUT", "/api/v1/upload/a"), ("POST", "/api/v1/files"), ("GET", "/api/v1/files")]
)
def test_api_without_credential_is_401(app: Any, method: str, address: str) -> None:
    answer = app.test_client().open(address, method=method, data=b"x")
    assert (answer.status_code, answer.json["code"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"]


def test_files_leave_with_their_member(
    app: Any, make_key: Callable[..., dict[str, str]], instance: Path
) -> None:
    client = app.test_client()
    put(client, make_key("anna"), "a.txt")
    from sqlalchemy import select

    from microsite.core.db import atomic
    from microsite.core.feature import registry
    from microsite.core.identity import User

    with app.app_context():
        from microsite.core.db import db

        with atomic():
            anna = db.session.scalars(select(User).where(User.username == "anna")).one()
            registry().capability("member_leaves")["files"](anna)
    assert empty(app, instance)
