"""Making links, by page and by API: what is shown, what is refused, what happened to them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from microsite.core.db import Base, db
from tests.conftest import form_token, sign_in
from tests.links.helpers import PAGE, events, make_link, open_link, path_of, put, state, token_of

FIELDS = {
    "id",
    "kind",
    "title",
    "note",
    "created_at",
    "expires_at",
    "max_uses",
    "uses",
    "has_password",
    "state",
    "items",
}


def lifetime(link: dict[str, Any]) -> float:
    return (
        datetime.fromisoformat(link["expires_at"]) - datetime.fromisoformat(link["created_at"])
    ).total_seconds()


# --- the API -----------------------------------------------------------------------------------------------------


def test_a_note_by_default_once_for_an_hour(maker: Any, key: dict[str, str]) -> None:
    answer = maker.post("/api/v1/links", json={"text": "hello"}, headers=key)
    assert answer.status_code == 201
    link = answer.json
    assert set(link) == FIELDS | {"url"}
    assert re.fullmatch(r"http://127\.0\.0\.1:8000/l/[\w-]{22,}", link["url"])
    expected = {
        "kind": "text",
        "title": "",
        "note": "",
        "max_uses": 1,
        "uses": 0,
        "has_password": False,
        "state": "open",
        "items": [],
    }
    assert {name: link[name] for name in expected} == expected
    assert lifetime(link) == pytest.approx(3600, abs=2)


def test_files_with_everything_said(maker: Any, key: dict[str, str]) -> None:
    first, second = put(maker, key, "one.txt"), put(maker, key, "two.txt")
    wanted = {
        "expires_in": 600,
        "max_uses": 3,
        "password": "pass word",
        "title": "The title",
        "note": "Two\nlines",
    }
    link = make_link(maker, key, files=[second["id"], first["id"]], **wanted)
    assert (link["kind"], link["title"], link["note"]) == ("files", "The title", "Two\nlines")
    assert (link["max_uses"], link["has_password"]) == (3, True)
    assert lifetime(link) == pytest.approx(600, abs=2)
    assert [item["name"] for item in link["items"]] == ["two.txt", "one.txt"]
    assert not {"password", "password_hash", "token", "token_hash"} & set(link)


def test_unlimited_until_expiry(maker: Any, key: dict[str, str], visitor: Any) -> None:
    link = make_link(maker, key, max_uses=None)
    for _ in range(3):
        assert open_link(visitor, link["path"]).status_code == 200
    assert state(maker, key, link) == ("open", 3)


def test_the_title_never_comes_from_a_file(maker: Any, key: dict[str, str], visitor: Any) -> None:
    link = make_link(maker, key, files=[put(maker, key, "dismissal-of-ben.pdf")["id"]])
    assert link["title"] == ""
    page = visitor.get(link["path"]).get_data(as_text=True)
    assert "dismissal" not in page
    assert "Files for you" in page


def test_a_file_twice_is_handed_out_once(maker: Any, key: dict[str, str]) -> None:
    file = put(maker, key)
    assert len(make_link(maker, key, files=[file["id"], file["id"]])["items"]) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"text": "a", "files": []}, {"text": None}, {"files": []}, {"files": None}, {"text": ""}, {"text": 5}, {"files": "abc"},
        {"text": "a", "upload": {}}, {"upload": {"max_files": 0}}, {"files": ["no-such-file"]}, {"files": ["\0"]}, {"files": [7]},
        {"text": "a" * 100_001}, {"text": "nul \0"}, {"text": "half \ud83d"},
        {"text": "a", "expires_in": 0}, {"text": "a", "expires_in": -1}, {"text": "a", "expires_in": 90 * 86400 + 1},
        {"text": "a", "expires_in": 10**30}, {"text": "a", "expires_in": 1.5}, {"text": "a", "expires_in": "60"},
        {"text": "a", "expires_in": None}, {"text": "a", "expires_in": True},
        {"text": "a", "max_uses": 0}, {"text": "a", "max_uses": -1}, {"text": "a", "max_uses": 10**30}, {"text": "a", "max_uses": "1"},
        {"text": "a", "max_uses": 1.5}, {"text": "a", "password": ""}, {"text": "a", "password": "x" * 1025}, {"text": "a", "password": 5},
        {"text": "a", "title": "x" * 121}, {"text": "a", "title": "two\nlines"}, {"text": "a", "note": "x" * 1001},
        {"text": "a", "unknown": 1}, {"text": "a", "uses": 0}, {"text": "a", "owner_id": 1}, {"text": "a", "token": "mine"},
    ],
    ids=lambda fields: str(fields)[:40].encode("ascii", "replace").decode(),
)  # fmt: skip
def test_refused(maker: Any, key: dict[str, str], fields: dict[str, Any]) -> None:
    answer = maker.post("/api/v1/links", json=fields, headers=key)
    assert (answer.status_code, answer.json["code"]) == (422, "validation_failed"), answer.json
    assert answer.json["errors"]
    assert maker.get("/api/v1/links", headers=key).json["items"] == []


@pytest.mark.parametrize(
    ("fields", "seconds"), [({"expires_in": 1}, 1), ({"expires_in": 90 * 86400}, 90 * 86400)]
)
def test_ends_of_the_life_of_a_link(
    maker: Any, key: dict[str, str], fields: dict[str, int], seconds: int
) -> None:
    assert lifetime(make_link(maker, key, **fields)) == pytest.approx(seconds, abs=0.5)


def test_another_members_file_is_unknown(
    maker: Any, key: dict[str, str], make_key: Callable[..., dict[str, str]]
) -> None:
    mine, theirs = put(maker, key)["id"], put(maker, make_key("ben"))["id"]
    answers = [
        maker.post("/api/v1/links", json={"files": [mine, other]}, headers=key).json
        for other in (theirs, "x" * len(theirs))
    ]
    assert [answer["status"] for answer in answers] == [422, 422]
    assert answers[0]["detail"].replace(theirs, "") == answers[1]["detail"].replace("x" * len(theirs), "")


def test_the_operators_ceilings(
    make_app: Callable[..., Any], make_key: Callable[..., dict[str, str]]
) -> None:
    app = make_app(LINK_EXPIRY_MAX="2h", LINK_EXPIRY_DEFAULT="3h", LINK_USES_MAX=3)
    maker, key = app.test_client(), make_key("anna", application=app)
    assert lifetime(make_link(maker, key)) == pytest.approx(7200, abs=2)
    make_link(maker, key, expires_in=7200, max_uses=3)
    for field, value in (("expires_in", 7201), ("max_uses", 4), ("max_uses", None)):
        answer = maker.post("/api/v1/links", json={"text": "a", field: value}, headers=key)
        assert answer.status_code == 422
        assert list(answer.json["errors"]) == [field]
    sign_in(maker, "anna")
    form = maker.get("/links/new").get_data(as_text=True)
    assert "1 hour" in form
    assert not re.search("1 day|5 times|no limit", form)
    forced = {
        "csrf_token": form_token(maker.get("/links/new")),
        "text": "a",
        "expires_in": "86400",
        "max_uses": "",
    }
    assert maker.post("/links/", data=forced).status_code == 422


def test_lists_and_single_links_never_show_the_token(maker: Any, key: dict[str, str]) -> None:
    made = [make_link(maker, key) for _ in range(5)]
    first = maker.get("/api/v1/links?limit=3", headers=key)
    assert [link["id"] for link in first.json["items"]] == [link["id"] for link in made[:1:-1]]
    second = maker.get(re.findall(r"<(.+)>", first.headers["Link"])[0], headers=key)
    assert [link["id"] for link in second.json["items"]] == [link["id"] for link in made[1::-1]]
    assert second.json["next_cursor"] is None
    sign_in(maker, "anna")
    pages = [
        "/api/v1/links",
        "/links/",
        "/",
        *(f"{place}{link['id']}" for link in made for place in ("/api/v1/links/", "/links/")),
    ]
    for address in pages:
        shown = maker.get(address).get_data(as_text=True)
        assert not any(link["path"].removeprefix("/l/") in shown for link in made), address
    assert all(set(link) == FIELDS for link in first.json["items"])


def test_states_as_the_maker_sees_them(
    maker: Any, key: dict[str, str], visitor: Any, later: Callable[[float], None]
) -> None:
    used, expired, revoked, open_ = (make_link(maker, key, expires_in=s) for s in (9000, 60, 9000, 9000))
    file = put(maker, key)
    empty = make_link(maker, key, files=[file["id"]], expires_in=9000)
    open_link(visitor, used["path"])
    maker.delete(f"/api/v1/links/{revoked['id']}", headers=key)
    maker.delete(f"/api/v1/files/{file['id']}", headers=key)
    later(61)
    found = {link["id"]: link["state"] for link in maker.get("/api/v1/links", headers=key).json["items"]}
    assert [found[link["id"]] for link in (used, expired, revoked, open_)] == [
        "used",
        "expired",
        "revoked",
        "open",
    ]
    assert found[empty["id"]] != "open", "what hands out nothing any more is not open"


def test_revoking_is_for_good_and_idempotent(maker: Any, key: dict[str, str], visitor: Any) -> None:
    link = make_link(maker, key)
    for _ in range(2):
        answer = maker.delete(f"/api/v1/links/{link['id']}", headers=key)
        assert (answer.status_code, answer.data) == (204, b"")
    assert state(maker, key, link) == ("revoked", 0)
    assert events(maker, key, link) == ["created", "revoked"]
    assert open_link(visitor, link["path"]).status_code == 410


def test_events_tell_who_and_when(maker: Any, key: dict[str, str], visitor: Any) -> None:
    file = put(maker, key)
    link = make_link(maker, key, files=[file["id"]], password="open sesame", max_uses=2)
    agent = {"User-Agent": "Recipient/1.0"}
    for _ in range(3):
        visitor.get(link["path"], headers=PAGE | agent)
    visitor.head(link["path"], headers=agent)
    open_link(visitor, link["path"], password="wrong")
    url = open_link(visitor, link["path"], password="open sesame").json["files"][0]["url"]
    for asked in ("bytes=0-3", "bytes=4-"):
        visitor.get(path_of(url), headers={"Range": asked}, buffered=True)
    visitor.head(path_of(url))
    maker.delete(f"/api/v1/links/{link['id']}", headers=key)
    assert events(maker, key, link) == [
        "created",
        "page_opened",
        "password_failed",
        "opened",
        "download_started",
        "downloaded",
        "revoked",
    ]
    found = maker.get(f"/api/v1/links/{link['id']}/events", headers=key).json["items"]
    assert all(set(event) == {"type", "time", "address", "agent", "detail"} for event in found)
    assert found[1]["detail"] == file["name"]
    page_opened = found[-2]
    assert (page_opened["address"], page_opened["agent"]) == ("127.0.0.1", "Recipient/1.0")
    assert page_opened["time"].endswith("Z")
    paged = maker.get(f"/api/v1/links/{link['id']}/events?limit=2", headers=key)
    assert [event["type"] for event in paged.json["items"]] == ["revoked", "downloaded"]
    older = maker.get(re.findall(r"<(.+)>", paged.headers["Link"])[0], headers=key).json["items"]
    assert [event["type"] for event in older] == ["download_started", "opened"]


def test_the_owners_own_look_is_no_visit(maker: Any, key: dict[str, str]) -> None:
    link = make_link(maker, key)
    sign_in(maker, "anna")
    assert maker.get(link["path"]).status_code == 200
    assert events(maker, key, link) == ["created"]


def test_a_stranger_finds_no_link(
    app: Any, maker: Any, key: dict[str, str], make_user: Callable[..., str]
) -> None:
    link = make_link(maker, key, title="of anna")
    ben = app.test_client()
    sign_in(ben, make_user("ben"))
    token = ben.get("/links/").get_data(as_text=True).split('name="csrf-token" content="')[1].split('"')[0]
    rules = [
        rule
        for rule in app.url_map.iter_rules()
        if "link_id" in rule.arguments and rule.endpoint != "links.settle"
    ]
    assert len(rules) >= 5
    for rule in rules:
        for method in sorted((rule.methods or set()) - {"OPTIONS"}):
            for name in (link["id"], "no-such-link", "%00"):
                answer = ben.open(
                    rule.rule.replace("<link_id>", name), method=method, headers={"X-CSRFToken": token}
                )
                assert answer.status_code == 404, (method, rule.rule)
                assert "of anna" not in answer.get_data(as_text=True)
    assert ben.get("/api/v1/links").json["items"] == []
    assert state(maker, key, link) == ("open", 0)


def test_guests_make_no_links(maker: Any, make_key: Callable[..., dict[str, str]]) -> None:
    answer = maker.post("/api/v1/links", json={"text": "a"}, headers=make_key("gast", role="guest"))
    assert (answer.status_code, answer.json["code"]) == (403, "forbidden")
    assert maker.post("/api/v1/links", json={"text": "a"}).status_code == 401


# --- the page ----------------------------------------------------------------------------------------------------


def make_by_page(client: Any, **fields: Any) -> Any:
    token = form_token(client.get("/links/new"))
    return client.post("/links/", data={"csrf_token": token, "expires_in": "3600", "max_uses": "1"} | fields)


def test_a_note_by_page(anna: Any, visitor: Any) -> None:
    answer = make_by_page(anna, text="hello\r\nyou", title="For you", note="as promised")
    assert answer.status_code == 201
    token = token_of(answer)
    page = visitor.get(f"/l/{token}").get_data(as_text=True)
    assert all(words in page for words in ("For you", "as promised", "anna", "This link works once"))
    assert "hello" not in page
    listed = anna.get("/links/").get_data(as_text=True)
    assert "For you" in listed
    assert token not in listed


def test_files_by_page(anna: Any, key: dict[str, str], visitor: Any) -> None:
    file = put(anna, key, "report.pdf")
    assert "report.pdf" in anna.get(f"/links/new?file={file['id']}").get_data(as_text=True)
    answer = make_by_page(anna, file=file["id"], max_uses="", password="open sesame")
    assert answer.status_code == 201
    path = f"/l/{token_of(answer)}"
    assert open_link(visitor, path, password="open sesame").json["files"][0]["name"] == "report.pdf"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "Write a note, or choose files to share."),
        ({"text": "  \n "}, "Write a note, or choose files to share."),
        ({"text": "a", "title": "x" * 121}, "120"),
        ({"text": "a", "expires_in": "1"}, "valid choice"),
        ({"text": "a", "max_uses": "7"}, "valid choice"),
    ],
)
def test_refused_by_page(anna: Any, key: dict[str, str], fields: dict[str, str], sentence: str) -> None:
    answer = make_by_page(anna, **fields)
    assert answer.status_code == 422
    assert sentence in answer.get_data(as_text=True)
    assert anna.get("/api/v1/links").json["items"] == []


def test_revoked_by_page(anna: Any, key: dict[str, str], visitor: Any) -> None:
    link = make_link(anna, key)
    page = anna.get(f"/links/{link['id']}")
    assert anna.post(f"/links/{link['id']}/revoke").status_code == 400, "without the form's token"
    answer = anna.post(f"/links/{link['id']}/revoke", data={"csrf_token": form_token(page)})
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/links/{link['id']}")
    assert "The link is withdrawn." in anna.get(f"/links/{link['id']}").get_data(as_text=True)
    assert visitor.get(link["path"]).status_code == 410


def test_pages_escape_what_the_maker_wrote(anna: Any, key: dict[str, str], visitor: Any) -> None:
    evil = '"><img src=x onerror=alert(1)>'
    link = make_link(anna, key, text=f"</pre>{evil}", title=evil, note=evil, max_uses=2)
    opened = visitor.post(link["path"], headers=PAGE)
    for client, address in (
        (visitor, link["path"]),
        (visitor, opened.headers["Location"]),
        (anna, "/links/"),
        (anna, f"/links/{link['id']}"),
    ):
        page = client.get(address).get_data(as_text=True)
        assert "<img src=x" not in page
        assert "&lt;img src=x" in page


# --- secrets -----------------------------------------------------------------------------------------------------


def test_the_token_stands_in_no_file(
    make_app: Callable[..., Any], make_key: Callable[..., dict[str, str]], instance: Path
) -> None:
    """Neither in the database, its journal, nor in a log that tells every request."""
    app = make_app(LOG_LEVEL="DEBUG")
    maker, key = app.test_client(), make_key("anna", application=app)
    made = [
        make_link(maker, key, **fields)
        for fields in ({}, {"password": "open sesame"}, {"files": [put(maker, key)["id"]]})
    ]
    tickets = []
    for link in made:
        maker.get(link["path"], headers=PAGE)
        if link["has_password"]:
            open_link(maker, link["path"], password="wrong" * 5)
        answer = maker.post(link["path"], data={"password": "open sesame"}, headers=PAGE)
        if answer.status_code == 303:
            tickets.append(answer.headers["Location"].removeprefix("/l/t/"))
            maker.get(answer.headers["Location"])
    assert len(tickets) == 3
    secrets = [link["path"].removeprefix("/l/") for link in made] + tickets + ["open sesame"]
    read = 0
    for path in instance.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            read += len(content)
            assert not [secret for secret in secrets if secret.encode() in content], path
    assert read > 2000
    with app.app_context():  # the database may be a server's, whose files lie elsewhere
        tables = {
            table.name: str(db.session.execute(table.select()).all()) for table in Base.metadata.sorted_tables
        }
    assert made[0]["id"] in tables["links"]
    assert not [name for name, rows in tables.items() if any(secret in rows for secret in secrets)]
    assert b"/l/<token:token>" in (instance / "logs" / "microsite.log").read_bytes(), (
        "the log tells requests by their rule"
    )
