"""Tickets: the winner resumes as often as needed, for a quarter of an hour, and as long as the link's promise holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from microsite.core.clock import now
from microsite.core.db import atomic, db
from microsite.core.identity import User
from tests.links.helpers import JSON, PAGE, events, make_link, notes, open_link, path_of, put, state

CONTENT = bytes(range(256))


@pytest.fixture
def opened(maker: Any, key: dict[str, str], visitor: Any) -> dict[str, Any]:
    """A one-use link to one file that was opened: the link, the file, and the path of its bytes."""
    file = put(maker, key, "data.bin", CONTENT)
    link = make_link(maker, key, files=[file["id"]], expires_in=60)
    url = open_link(visitor, link["path"]).json["files"][0]["url"]
    return {"link": link, "file": file, "path": path_of(url)}


def fetch(client: Any, path: str, **headers: str) -> Any:
    return client.get(path, headers=headers, buffered=True)


def test_resumes_and_costs_no_further_use(
    app: Any, maker: Any, key: dict[str, str], opened: dict[str, Any]
) -> None:
    got = b""
    for start in range(0, 256, 100):
        answer = fetch(app.test_client(), opened["path"], Range=f"bytes={start}-{start + 99}")
        assert answer.status_code == 206
        got += answer.data
    assert got == CONTENT
    assert fetch(app.test_client(), opened["path"], Range="bytes=-10").data == CONTENT[-10:]
    assert fetch(app.test_client(), opened["path"], Range="bytes=256-").status_code == 416
    whole = fetch(app.test_client(), opened["path"])
    assert (whole.status_code, whole.data) == (200, CONTENT)
    assert app.test_client().head(opened["path"]).headers["Content-Length"] == "256"
    unchanged = fetch(app.test_client(), opened["path"], **{"If-None-Match": whole.headers["ETag"]})
    assert unchanged.status_code == 304
    assert state(maker, key, opened["link"]) == ("used", 1)


def test_outlives_use_and_expiry_of_the_link(
    visitor: Any, opened: dict[str, Any], later: Callable[[float], None]
) -> None:
    later(14 * 60)
    assert visitor.get(opened["link"]["path"]).status_code == 410
    assert fetch(visitor, opened["path"]).data == CONTENT
    later(61)
    assert fetch(visitor, opened["path"]).status_code == 410


def check_dead(visitor: Any, path: str) -> None:
    for method in ("GET", "HEAD"):
        answer = visitor.open(path, method=method, headers=JSON)
        assert answer.status_code == 410
    assert visitor.get(path, headers=JSON).json["code"] == "gone"
    assert visitor.get(path.rpartition("/")[0], headers=PAGE).status_code == 410


def test_dies_when_the_link_is_revoked(
    maker: Any, key: dict[str, str], visitor: Any, opened: dict[str, Any]
) -> None:
    maker.delete(f"/api/v1/links/{opened['link']['id']}", headers=key)
    check_dead(visitor, opened["path"])


def test_dies_when_its_item_is_deleted(
    maker: Any, key: dict[str, str], visitor: Any, opened: dict[str, Any]
) -> None:
    maker.delete(f"/api/v1/files/{opened['file']['id']}", headers=key)
    check_dead(visitor, opened["path"])


def test_dies_with_its_item_alone(maker: Any, key: dict[str, str], visitor: Any) -> None:
    first, second = put(maker, key, "one"), put(maker, key, "two", b"second")
    link = make_link(maker, key, files=[first["id"], second["id"]], max_uses=2)
    paths = [path_of(file["url"]) for file in open_link(visitor, link["path"]).json["files"]]
    maker.delete(f"/api/v1/files/{first['id']}", headers=key)
    assert fetch(visitor, paths[0]).status_code == 410
    assert fetch(visitor, paths[1]).data == b"second"
    assert [file["name"] for file in open_link(visitor, link["path"]).json["files"]] == ["two"]


@pytest.mark.parametrize("change", [{"disabled_at": "now"}, {"role": "guest"}])
def test_dies_with_its_owners_rights(
    app: Any, visitor: Any, opened: dict[str, Any], change: dict[str, Any]
) -> None:
    values = {"disabled_at": now()} if "disabled_at" in change else change
    with app.app_context(), atomic():
        db.session.execute(update(User).where(User.username == "anna").values(**values))
    check_dead(visitor, opened["path"])
    with app.app_context(), atomic():
        db.session.execute(update(User).values(disabled_at=None, role="member"))
    assert fetch(visitor, opened["path"]).data == CONTENT


def test_opens_nothing_else(maker: Any, key: dict[str, str], visitor: Any, opened: dict[str, Any]) -> None:
    """Neither another file of the same member nor another link's item."""
    other = put(maker, key, "private.txt")
    ticket = opened["path"].rpartition("/")[0]
    for item in (other["id"], "no-such-file", "..", "%00", ""):
        assert visitor.get(f"{ticket}/{item}", headers=JSON).status_code == 410, item
    assert visitor.get(f"{ticket}x/{opened['file']['id']}", headers=JSON).status_code == 410
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert visitor.open(opened["path"], method=method).status_code in (405, 410)
    assert fetch(visitor, opened["path"]).data == CONTENT


def test_a_download_is_told_once(
    maker: Any, key: dict[str, str], visitor: Any, opened: dict[str, Any]
) -> None:
    visitor.head(opened["path"])
    assert events(maker, key, opened["link"]) == ["created", "opened"], "a look is no download"
    fetch(visitor, opened["path"], Range="bytes=1-")
    assert events(maker, key, opened["link"]) == ["created", "opened", "download_started"], (
        "nearly all of it is not taken untold, and the end alone is not the whole"
    )
    fetch(visitor, opened["path"])
    assert events(maker, key, opened["link"])[3:] == ["download_started", "downloaded"]


def test_each_opening_has_a_ticket_of_its_own(maker: Any, key: dict[str, str], visitor: Any) -> None:
    link = make_link(maker, key, max_uses=2)
    tickets = {visitor.post(link["path"], headers=PAGE).headers["Location"] for _ in range(2)}
    assert len(tickets) == 2
    assert all(len(ticket.rpartition("/")[2]) >= 22 for ticket in tickets)


def test_a_reader_who_has_it_ends_it(app: Any, maker: Any, key: dict[str, str]) -> None:
    link = make_link(maker, key, text="blue-key-under-the-mat")
    reader, other = app.test_client(), app.test_client()
    where = reader.post(link["path"], headers=PAGE).headers["Location"]
    assert b"blue-key-under-the-mat" in reader.get(where).data
    assert other.post(f"{where}/end").status_code == 410  # without the cookie
    assert reader.post(f"{where}/end", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    answer = reader.post(f"{where}/end")
    assert answer.status_code == 200
    assert "Forgotten" in answer.get_data(as_text=True)
    assert reader.get(where).status_code == 410
    assert events(maker, key, link)[-1] == "ended"
    assert state(maker, key, link) == ("used", 1)
    assert notes(app) == []
