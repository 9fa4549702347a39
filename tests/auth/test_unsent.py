"""A form that was posted after its session's end: its text comes back to its member, and to nobody else."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine

from microsite.core.clock import now
from microsite.core.db import db
from microsite.core.sessions import SessionRow
from microsite.links.models import Link
from tests.conftest import PASSWORD, form_token, sign_in
from tests.contract.walk import address, rules

from .steps import bearer, get_token, post_form, signed_in_client

HERE = {"Sec-Fetch-Site": "same-origin", "Referer": "http://localhost/links/new", "Accept": "text/html"}
NOTE = 'Dear Bob,\nthe "new" key is <under> the mat & the “old” one is gone.'
SENTENCE = "You were signed out before this was sent."


@pytest.fixture
def clock() -> Any:
    with time_machine.travel(now()) as clock:
        yield clock


@pytest.fixture
def late(app: Any, clock: Any, make_user: Callable[..., str]) -> Any:
    """Anna's browser, whose session has ended while the page with her form token (`late.token`) was open."""
    make_user("anna")
    make_user("bob")
    client = signed_in_client(app, "anna")
    client.token = form_token(client.get("/links/new"))
    clock.shift(timedelta(minutes=40))
    return client


def post_late(
    client: Any, path: str = "/links/", headers: dict[str, str] | None = None, **fields: Any
) -> Any:
    body = {"csrf_token": client.token, "text": NOTE} | fields
    return client.post(path, data=body, headers=HERE if headers is None else headers)


def hidden(page: Any) -> str | None:
    found = re.search(r'name="unsent"[^>]*value="([^"]+)"', page.get_data(as_text=True))
    return found[1] if found else None


def go_on(client: Any, page: Any, username: str = "anna", password: str = PASSWORD) -> Any:
    """Fill in the sign-in form of a page as it stands there."""
    html = page.get_data(as_text=True)
    (action,) = re.findall(r'<form method="post" action="(/auth/login[^"]*)"', html)
    body = {"csrf_token": form_token(page), "username": username, "password": password}
    if hidden(page):
        body["unsent"] = hidden(page)
    return client.post(action.replace("&amp;", "&"), data=body)


def test_text_is_shown_again_after_signing_in_and_is_not_sent(app: Any, late: Any) -> None:
    answer = post_late(late, title="Keys", expires_in="86400", max_uses="5", notify="y")
    assert answer.status_code == 401
    html = answer.get_data(as_text=True)
    assert SENTENCE in html
    assert "under" not in html.replace("understand", "")
    wrong = go_on(late, answer, password="a wrong password")
    assert (wrong.status_code, hidden(wrong)) == (401, hidden(answer))
    signed_in = go_on(late, wrong)
    assert (signed_in.status_code, signed_in.location) == (303, "/links/new")
    page = late.get(signed_in.location)
    html = page.get_data(as_text=True)
    assert page.status_code == 200
    assert SENTENCE in html
    assert "the &#34;new&#34; key is &lt;under&gt; the mat &amp; the “old” one is gone." in html
    assert 'value="Keys"' in html
    assert re.search(r'<option selected value="86400">', html)
    with app.app_context():
        assert db.session.query(Link).count() == 0, "nothing is sent by itself"
    assert "the mat" not in late.get("/links/new").get_data(as_text=True), "it is shown once"
    sent = late.post(
        "/links/", data={"csrf_token": form_token(page), "text": NOTE, "expires_in": "86400", "max_uses": "5"}
    )
    assert sent.status_code == 201


def test_the_form_on_its_own_address_comes_back_too(late: Any) -> None:
    headers = HERE | {"Referer": "http://localhost/links/ask?x=1"}
    answer = post_late(late, "/links/ask?x=1", headers, title="Photographs", types="jpg")
    signed_in = go_on(late, answer)
    assert signed_in.location == "/links/ask?x=1"
    assert 'value="Photographs"' in late.get(signed_in.location).get_data(as_text=True)


def test_without_a_referrer_the_account_page_shows_it(late: Any) -> None:
    headers = {"Origin": "http://localhost", "Accept": "text/html"}
    signed_in = go_on(
        late, post_late(late, "/account/details", headers, name="Anna of the north", about="me")
    )
    assert signed_in.location == "/account/"
    assert 'value="Anna of the north"' in late.get("/account/").get_data(as_text=True)


def test_somebody_else_never_sees_the_text(late: Any) -> None:
    answer = post_late(late)
    signed_in = go_on(late, answer, "bob")
    assert signed_in.status_code == 303
    assert "the mat" not in late.get("/links/new").get_data(as_text=True)


def test_passwords_and_files_are_not_kept(app: Any, late: Any) -> None:
    file = (io.BytesIO(b"the bytes of a file"), "secret.txt")
    fields = {"password": "a link password", "current": "hush hush", "confirm": "hush", "file": file}
    signed_in = go_on(late, post_late(late, **fields))
    with app.app_context():
        sealed = [row.data for row in db.session.query(SessionRow)]
    assert not any("the mat" in data for data in sealed), "it waits sealed"
    html = late.get(signed_in.location).get_data(as_text=True)
    assert "the mat" in html
    for lost in ("a link password", "hush", "the bytes of a file", "secret.txt"):
        assert lost not in html


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, {}),
        ({"Sec-Fetch-Site": "same-site"}, {}),
        ({"Sec-Fetch-Site": "none"}, {}),
        ({"Origin": "https://evil.example"}, {}),
        ({"Origin": "null"}, {}),
        ({}, {}),
        ({"Sec-Fetch-Site": "same-origin"}, {"csrf_token": ""}),
        ({"Sec-Fetch-Site": "same-origin"}, {"csrf_token": "forged.token.here"}),
        ({"Sec-Fetch-Site": "same-origin"}, {"text": "x" * 70_000}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_not_kept(late: Any, headers: dict[str, str], fields: dict[str, str]) -> None:
    answer = post_late(late, "/links/", {"Accept": "text/html"} | headers, **fields)
    assert answer.status_code == 401
    assert SENTENCE in answer.get_data(as_text=True)
    assert hidden(answer) is None
    assert go_on(late, answer).status_code == 303


def test_token_of_a_stranger_keeps_nothing(app: Any, late: Any) -> None:
    late.token = form_token(app.test_client().get("/auth/login"))
    assert hidden(post_late(late)) is None


def test_64_kib_of_letters_beyond_ascii_are_kept(late: Any) -> None:
    text = "ä" * 30_000
    signed_in = go_on(late, post_late(late, text=text))
    assert text in late.get(signed_in.location).get_data(as_text=True)


def test_text_waits_for_an_hour(late: Any, clock: Any) -> None:
    answer = post_late(late)
    clock.shift(timedelta(minutes=59))
    sealed = hidden(answer)
    token = form_token(late.get("/auth/login"))
    body = {"csrf_token": token, "username": "anna", "password": PASSWORD, "unsent": sealed}
    clock.shift(timedelta(minutes=2))
    late.post("/auth/login", data=body)
    assert "the mat" not in late.get("/links/new").get_data(as_text=True)


def test_tampered_text_is_not_shown(late: Any) -> None:
    sealed = hidden(post_late(late)) or ""
    token = form_token(late.get("/auth/login"))
    body = {
        "csrf_token": token,
        "username": "anna",
        "password": PASSWORD,
        "unsent": sealed[:-9] + "AAAAAAA==",
    }
    assert late.post("/auth/login", data=body).location == "/"


def test_a_button_is_not_pressed_by_itself(app: Any, late: Any, clock: Any) -> None:
    client = signed_in_client(app, "anna")
    post_form(client, "/account/keys", page="/account/", name="backup", expires_in="")
    html = client.get("/account/").get_data(as_text=True)
    (delete,) = set(re.findall(r'action="(/account/keys/[^"]+/delete)"', html))
    answer = post_late(late, delete, HERE | {"Referer": "http://localhost/account/"}, sure="yes")
    signed_in = go_on(late, answer)
    page = late.get(signed_in.location).get_data(as_text=True)
    assert "Do it again" in page
    assert "backup" in page


def test_programs_still_get_a_problem(late: Any) -> None:
    answer = late.post("/links/", data={"text": NOTE}, headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json["code"]) == (401, "unauthorized")
    assert late.post("/api/v1/links", json={"text": NOTE}).json["code"] == "unauthorized"


def test_no_form_of_the_site_acts_when_it_is_shown_again(
    app: Any, late: Any, make_user: Callable[..., str]
) -> None:
    """Every endpoint that takes a form is posted to late, and shown again: no row is written, and nobody signed out."""
    make_user("root", "admin")
    client = signed_in_client(app, "root")
    client.token = form_token(client.get("/links/new"))
    key = bearer(get_token(client, "root").json["access_token"])
    assert client.post("/api/v1/links", json={"text": "a note"}, headers=key).status_code == 201
    from tests.contract.test_csrf import counts

    kept = 0
    for method, rule in rules(app, "POST"):
        access = app.view_functions[rule.endpoint].access
        if access.public or rule.rule.startswith("/api/"):
            continue
        stranger = app.test_client()
        stranger.token = client.token
        answer = post_late(
            stranger,
            address(rule),
            HERE | {"Referer": "http://localhost/links/"},
            action="delete",
            sure="yes",
        )
        assert answer.status_code == 401, (method, rule.rule)
        if hidden(answer) is None:
            continue
        signed_in = go_on(stranger, answer, "root")
        before = counts(app)
        assert stranger.get(signed_in.location).status_code == 200, rule.rule
        assert counts(app) == before, rule.rule
        assert stranger.get("/account/").status_code == 200, rule.rule
        kept += 1
    assert kept > 10


# --- signed in anew in another tab -----------------------------------------------------------------------------------


def test_a_form_of_the_session_before_is_shown_again(app: Any, anna: Any) -> None:
    anna.token = form_token(anna.get("/links/new"))
    post_form(anna, "/auth/logout", page="/account/")
    assert sign_in(anna, "anna").status_code == 303
    answer = post_late(anna, title="Keys")
    assert answer.status_code == 422
    assert "You signed in anew" in answer.get_data(as_text=True)
    assert "the mat" in answer.get_data(as_text=True)
    with app.app_context():
        assert db.session.query(Link).count() == 0
    anna.token = form_token(answer)
    assert post_late(anna, expires_in="86400", max_uses="5").status_code == 201


def test_a_form_of_somebody_else_is_refused(anna: Any, make_user: Callable[..., str]) -> None:
    anna.token = form_token(anna.get("/links/new"))
    post_form(anna, "/auth/logout", page="/account/")
    make_user("bob")
    assert sign_in(anna, "bob").status_code == 303
    answer = post_late(anna)
    assert answer.status_code == 400
    assert "the mat" not in answer.get_data(as_text=True)


def test_signing_in_by_another_tab_does_not_lose_the_text(late: Any) -> None:
    answer = post_late(late)
    assert sign_in(late, "anna").status_code == 303
    signed_in = late.post(
        "/auth/login", data={"csrf_token": form_token(answer), "unsent": hidden(answer)}, headers=HERE
    )
    assert signed_in.location == "/links/new"
    assert "the mat" in late.get("/links/new").get_data(as_text=True)
