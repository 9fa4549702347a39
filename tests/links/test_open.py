"""Opening a link: what the recipient gets, by page and by JSON, and what spends nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from microsite.core.db import db
from microsite.core.sessions import SessionRow
from microsite.links.services import purge
from tests.conftest import sign_in
from tests.links.helpers import JSON, PAGE, events, make_link, notes, open_link, path_of, put, state

PREVIEWERS = [
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "WhatsApp/2.23.20.0",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5",
    "TelegramBot (like TwitterBot)",
    "Go-http-client/1.1",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Version/17.0 Mobile/15E148 Safari/604.1",
]


# --- JSON --------------------------------------------------------------------------------------------------------


def test_json_of_a_note(maker: Any, key: dict[str, str], visitor: Any) -> None:
    link = make_link(maker, key, text="one\ntwo 🎉")
    assert visitor.get(link["path"], headers=JSON).json == {"has_password": False}
    answer = open_link(visitor, link["path"])
    assert (answer.status_code, answer.json) == (200, {"kind": "text", "text": "one\ntwo 🎉"})
    assert answer.mimetype == "application/json"
    assert state(maker, key, link) == ("used", 1)


def test_json_of_files(maker: Any, key: dict[str, str], visitor: Any) -> None:
    contents = {"one.txt": b"first", "two.svg": b"<svg/>"}
    ids = [put(maker, key, name, content)["id"] for name, content in contents.items()]
    answer = open_link(visitor, make_link(maker, key, files=ids)["path"])
    assert answer.json["kind"] == "files"
    for shown, (name, content) in zip(answer.json["files"], contents.items(), strict=True):
        assert set(shown) == {"name", "size", "media_type", "sha256", "url"}
        assert (shown["name"], shown["size"], shown["sha256"]) == (
            name,
            len(content),
            hashlib.sha256(content).hexdigest(),
        )
        assert shown["url"].startswith("http://127.0.0.1:8000/l/")
        got = visitor.get(path_of(shown["url"]), buffered=True)
        assert (got.status_code, got.data) == (200, content)
        assert got.headers["Content-Disposition"].startswith("attachment; ")
        assert "sandbox" in got.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (b"", None),
        (b"{}", "application/json"),
        (b"", "application/json"),
        (b'{"password": null}', "application/json"),
        (b" \r\n", None),
    ],
)
def test_an_empty_body_is_an_empty_object(
    maker: Any, key: dict[str, str], visitor: Any, sent: bytes, kind: str | None
) -> None:
    link = make_link(maker, key)
    assert visitor.post(link["path"], data=sent, content_type=kind, headers=JSON).json["text"] == "the secret"


@pytest.mark.parametrize("password", [None, "open sesame"])
@pytest.mark.parametrize(
    ("sent", "kind", "status"),
    [
        (b'{"password": 5}', "application/json", 422), (b'{"password": ["x"]}', "application/json", 422),
        (b'{"password": true}', "application/json", 422), (b'{"pass": "x"}', "application/json", 422),
        (b"[]", "application/json", 422), (b'"x"', "application/json", 422), (b"5", "application/json", 422),
        (b"{", "application/json", 400), (b"\xff", "application/json", 400), (b"null", "application/json", 400),
        (b"password=x", "application/x-www-form-urlencoded", 415), (b"{}", "text/plain", 415), (b"{}", None, 415),
    ],
)  # fmt: skip
def test_a_wrong_type_is_no_try(
    maker: Any,
    key: dict[str, str],
    visitor: Any,
    sent: bytes,
    kind: str | None,
    status: int,
    password: str | None,
) -> None:
    link = make_link(maker, key, **({"password": password} if password else {}))
    for _ in range(6):
        answer = visitor.post(link["path"], data=sent, content_type=kind, headers=JSON)
        assert answer.status_code == status
        assert answer.mimetype == "application/problem+json"
    assert state(maker, key, link) == ("open", 0)
    assert events(maker, key, link) == ["created"]
    assert open_link(visitor, link["path"], **({"password": password} if password else {})).status_code == 200


# --- the page ----------------------------------------------------------------------------------------------------


def test_page_of_a_note(maker: Any, key: dict[str, str], visitor: Any, app: Any) -> None:
    link = make_link(maker, key, text="the <secret>")
    answer = visitor.post(link["path"], headers=PAGE)
    assert answer.status_code == 303
    ticket = answer.headers["Location"]
    assert ticket.startswith("/l/")
    for _ in range(2):
        assert "the &lt;secret&gt;" in visitor.get(ticket).get_data(as_text=True)
    assert state(maker, key, link) == ("used", 1)
    second = app.test_client().get(ticket)
    assert (second.status_code, "secret" in second.get_data(as_text=True)) == (410, False), (
        "the address of a browser's ticket is worth nothing without its cookie"
    )


def test_page_of_files(maker: Any, key: dict[str, str], visitor: Any) -> None:
    file = put(maker, key, "report.pdf", b"%PDF-1.7")
    link = make_link(maker, key, files=[file["id"]])
    ticket = visitor.post(link["path"], headers=PAGE).headers["Location"]
    page = visitor.get(ticket).get_data(as_text=True)
    assert "report.pdf" in page
    got = visitor.get(f"{ticket}/i/{file['id']}", buffered=True)
    assert (got.status_code, got.data) == (200, b"%PDF-1.7")


def test_page_with_a_password(maker: Any, key: dict[str, str], visitor: Any) -> None:
    link = make_link(maker, key, password="open sesame")
    assert 'type="password"' in visitor.get(link["path"]).get_data(as_text=True)
    for given in ({}, {"password": ""}, {"password": "wrong"}):
        answer = visitor.post(link["path"], data=given, headers=PAGE)
        assert answer.status_code == 401
        assert 'type="password"' in answer.get_data(as_text=True)
    assert state(maker, key, link) == ("open", 0)
    assert visitor.post(link["path"], data={"password": "open sesame"}, headers=PAGE).status_code == 303


def test_a_member_opens_as_everybody_does(
    app: Any, maker: Any, key: dict[str, str], make_user: Callable[..., str]
) -> None:
    link = make_link(maker, key)
    ben = app.test_client()
    sign_in(ben, make_user("ben"))
    assert open_link(ben, link["path"]).status_code == 200


# --- what spends nothing -----------------------------------------------------------------------------------------


def test_looking_spends_nothing_and_tells_nothing(app: Any, maker: Any, key: dict[str, str]) -> None:
    visitor = FlaskClient(app, app.response_class)  # the answer to OPTIONS is no page to review
    file = put(maker, key, "dismissal-of-ben.pdf", b"12345")
    links = [make_link(maker, key, text="the secret"), make_link(maker, key, files=[file["id"]])]
    for link in links:
        for agent in PREVIEWERS:
            for method in ("GET", "HEAD", "OPTIONS"):
                for accept in (PAGE, JSON, {"Accept": "*/*"}, {}):
                    sent = accept | {"User-Agent": agent, "Purpose": "prefetch", "Sec-Purpose": "prefetch"}
                    answer = visitor.open(link["path"], method=method, headers=sent)
                    assert answer.status_code == 200
                    shown = answer.get_data(as_text=True)
                    assert not [
                        word
                        for word in ("the secret", "dismissal", file["sha256"], file["id"])
                        if word in shown
                    ]
        assert state(maker, key, link) == ("open", 0)
        assert events(maker, key, link) == ["created", "page_opened"], "once for each address and hour"
        assert open_link(visitor, link["path"]).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_other_verbs_do_nothing(maker: Any, key: dict[str, str], visitor: Any, method: str) -> None:
    link = make_link(maker, key)
    answer = visitor.open(link["path"], method=method)
    assert answer.status_code == 405
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert state(maker, key, link) == ("open", 0)


def test_the_next_hour_is_told_again(
    maker: Any, key: dict[str, str], visitor: Any, later: Callable[[float], None]
) -> None:
    link = make_link(maker, key, expires_in=9000)
    visitor.get(link["path"])
    later(3500)
    visitor.get(link["path"])
    later(3601)
    visitor.get(link["path"])
    assert events(maker, key, link) == ["created", "page_opened", "page_opened"]


def test_a_post_from_another_site_is_refused_first(maker: Any, key: dict[str, str], visitor: Any) -> None:
    link = make_link(maker, key, password="open sesame")
    foreign = {"Sec-Fetch-Site": "cross-site"}
    answers = []
    for path in (link["path"], "/l/never-existed", "/l/"):
        for sent in (
            {"data": {"password": "open sesame"}, "headers": PAGE | foreign},
            {"data": b"{broken", "headers": JSON | foreign},
        ):
            answer = visitor.post(path, **sent)
            assert answer.status_code == 403, path
            answers.append(answer.get_data())
    assert len(set(answers)) == 2, "page and JSON, each the same for all addresses"
    assert events(maker, key, link) == ["created"]
    for site in ("same-origin", "none", "same-site"):
        assert visitor.post("/l/never-existed", headers=PAGE | {"Sec-Fetch-Site": site}).status_code == 410
    assert open_link(visitor, link["path"], password="open sesame").status_code == 200


# --- privacy -----------------------------------------------------------------------------------------------------


def test_recipients_have_no_session(app: Any, maker: Any, key: dict[str, str]) -> None:
    visitor = FlaskClient(app, app.response_class)
    file = put(maker, key)
    link = make_link(maker, key, files=[file["id"]], password="open sesame", max_uses=5)

    def sessions() -> int:
        with app.app_context():
            return db.session.scalar(select(func.count()).select_from(SessionRow)) or 0

    before = sessions()
    opened = visitor.post(link["path"], data={"password": "open sesame"}, headers=PAGE)
    answers = [
        opened, visitor.get(link["path"]), visitor.get(link["path"], headers=JSON), visitor.get(opened.headers["Location"]),
        visitor.post(link["path"], data={"password": "wrong"}, headers=PAGE), open_link(visitor, link["path"], password="wrong"),
        open_link(visitor, link["path"], password="open sesame"), visitor.get(f"{opened.headers['Location']}/i/{file['id']}", buffered=True),
        visitor.get("/l/never-existed"), visitor.post("/l/never-existed"), visitor.head(link["path"]),
        visitor.options(link["path"]), visitor.put(link["path"]), visitor.get("/l/t/no-such-ticket"), visitor.get("/l/"),
        visitor.post(link["path"], headers={"Sec-Fetch-Site": "cross-site"}), visitor.get("/l/t/no-such-ticket/and-more/of-it"),
    ]  # fmt: skip
    for answer in answers:
        where = (answer.request.method, answer.request.path, answer.status_code)
        cookies = [cookie.split("=")[0] for cookie in answer.headers.getlist("Set-Cookie")]
        assert cookies == (["ticket"] if answer is opened else []), where
        assert answer.headers["Cache-Control"] == "no-store", where
        assert answer.headers["Referrer-Policy"] == "no-referrer", where
        assert "noindex" in answer.headers["X-Robots-Tag"], where
        assert answer.headers["X-Content-Type-Options"] == "nosniff", where
    assert sessions() == before
    assert visitor.get_cookie("session_8000") is None


def test_the_page_names_no_other_origin_and_loads_no_token(
    maker: Any, key: dict[str, str], visitor: Any
) -> None:
    answer = visitor.get(make_link(maker, key)["path"])
    assert "csrf" not in answer.get_data(as_text=True)
    assert "form-action 'self'" in answer.headers["Content-Security-Policy"]


# --- notes are erased --------------------------------------------------------------------------------------------


def test_a_note_lives_in_the_ticket_only_after_the_last_use(
    app: Any, maker: Any, key: dict[str, str], visitor: Any, later: Callable[[float], None]
) -> None:
    link = make_link(maker, key, text="burn after reading", max_uses=3)
    earlier, first = app.test_client(), None
    first = earlier.post(link["path"], headers=PAGE).headers["Location"]
    open_link(visitor, link["path"])
    assert notes(app) == ["burn after reading"], "once, however often it is opened"
    ticket = visitor.post(link["path"], headers=PAGE).headers["Location"]
    with app.app_context():
        from microsite.links.models import Link

        assert list(db.session.scalars(select(Link.text))) == [None]
    later(14 * 60)
    assert "burn after reading" in visitor.get(ticket).get_data(as_text=True)
    assert "burn after reading" in earlier.get(first).get_data(as_text=True), (
        "an earlier reader is not cut off"
    )
    later(2 * 60)
    assert visitor.get(ticket).status_code == 410
    with app.app_context():
        purge()
    assert notes(app) == []


def test_the_job_erases_expired_notes(
    app: Any, maker: Any, key: dict[str, str], run_jobs: Callable[[], int], later: Callable[[float], None]
) -> None:
    from microsite.core import jobs
    from microsite.core.feature import registry

    gone, kept = (
        make_link(maker, key, text="over", expires_in=60),
        make_link(maker, key, text="still open", expires_in=9000),
    )
    later(61)
    for _ in range(2):
        with app.app_context():
            jobs.put_periodic(registry().tasks["links.purge"])
        run_jobs()
        later(400)
    assert notes(app) == ["still open"]
    assert events(maker, key, gone) == ["created", "expired"], "told once"
    assert events(maker, key, kept) == ["created"]
    assert state(maker, key, gone) == ("expired", 0)


def test_revoking_erases_note_and_tickets(app: Any, maker: Any, key: dict[str, str], visitor: Any) -> None:
    link = make_link(maker, key, max_uses=3)
    open_link(visitor, link["path"])
    maker.delete(f"/api/v1/links/{link['id']}", headers=key)
    assert notes(app) == []
