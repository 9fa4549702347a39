"""Sessions: how they end by time, by their owner, and by a new password; and that an ended one stays ended."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Blueprint, Response, session

from microsite.core.access import public
from microsite.core.clock import now
from microsite.core.db import db
from microsite.core.sessions import SessionRow, purge_sessions
from tests.conftest import PASSWORD, form_token, sign_in

from .steps import (
    bearer,
    browser_with,
    get_token,
    is_signed_in,
    outbox,
    post_form,
    session_cookie,
    signed_in_client,
    work,
)  # fmt: skip

NEW_PASSWORD = "another long password"


def test_session_ends_after_idle_time_and_the_sign_in_page_says_so(
    app: Any, make_user: Callable[..., str]
) -> None:
    make_user("anna")
    with time_machine.travel(now()) as clock:
        client = signed_in_client(app, "anna")
        for _ in range(3):
            clock.shift(timedelta(minutes=29))
            assert is_signed_in(client)
        clock.shift(timedelta(minutes=31))
        answer = client.get("/account/")
        assert answer.status_code == 302
        page = client.get(answer.location).get_data(as_text=True)
        assert "nothing happened for 30 minutes" in page
        assert post_form(client, answer.location, username="anna", password=PASSWORD).location == "/account/"


def test_session_ends_after_its_full_time_however_busy(
    make_app: Callable[..., Any], make_user: Callable[..., str]
) -> None:
    app = make_app(SESSION_ABSOLUTE="1h")
    make_user("anna", application=app)
    with time_machine.travel(now()) as clock:
        client = signed_in_client(app, "anna")
        for _ in range(2):
            clock.shift(timedelta(minutes=25))
            assert is_signed_in(client)
        clock.shift(timedelta(minutes=12))
        answer = client.get("/account/")
        assert answer.status_code == 302
        assert "had lasted its full time" in client.get(answer.location).get_data(as_text=True)


def test_remembered_session_has_no_idle_end_and_ends_at_last(app: Any, make_user: Callable[..., str]) -> None:
    make_user("anna")
    with time_machine.travel(now()) as clock:
        sid = session_cookie(signed_in_client(app, "anna", remember="y"))
        assert sid
        clock.shift(timedelta(days=29, hours=23))
        assert is_signed_in(browser_with(app, sid))
        clock.shift(timedelta(hours=2))
        assert not is_signed_in(browser_with(app, sid))


def test_ended_sessions_are_deleted(app: Any, make_user: Callable[..., str]) -> None:
    make_user("anna")
    with time_machine.travel(now()) as clock:
        signed_in_client(app, "anna")
        app.test_client().get("/auth/login")
        clock.shift(timedelta(days=2))
        with app.app_context():
            assert db.session.query(SessionRow).count() == 1
            purge_sessions()
            assert db.session.query(SessionRow).count() == 0


def test_visitors_make_no_rows_whatever_they_do(app: Any) -> None:
    for _ in range(20):
        client = app.test_client()
        client.get("/auth/login")
        sign_in(client, "nobody", "a wrong password")
        post_form(client, "/auth/reset", email="nobody@example.org")
    with app.app_context():
        assert db.session.query(SessionRow).count() == 0


def test_the_cookie_of_a_visitor_is_no_session(app: Any, make_user: Callable[..., str]) -> None:
    make_user("anna")
    client = app.test_client()
    client.get("/auth/login")
    visitor = session_cookie(client)
    assert visitor
    assert sign_in(client, "anna").status_code == 303
    assert not is_signed_in(browser_with(app, visitor))
    for value in ("x", "x.y.z", visitor[:-3] + "AAA", "e30.x.y", "." * 4000):
        forged = browser_with(app, value)
        assert forged.get("/auth/login").status_code == 200
        assert sign_in(forged, "anna").status_code == 303
        post_form(forged, "/auth/logout", page="/account/")


def test_form_token_of_another_visitor_does_not_sign_in(app: Any, make_user: Callable[..., str]) -> None:
    make_user("anna")
    token = form_token(app.test_client().get("/auth/login"))
    victim = app.test_client()
    victim.get("/auth/login")
    fields = {"csrf_token": token, "username": "anna", "password": PASSWORD}
    assert victim.post("/auth/login", data=fields).status_code == 400
    assert not is_signed_in(victim)


def test_notes_for_visitors_are_shown_once(app: Any, anna: Any) -> None:
    answer = post_form(anna, "/account/sessions/end", page="/account/")
    assert "You are signed out everywhere." in anna.get(answer.location).get_data(as_text=True)
    assert "You are signed out everywhere." not in anna.get(answer.location).get_data(as_text=True)


def test_pages_without_a_form_make_no_session(app: Any) -> None:
    client = app.test_client()
    for page in ("/healthz", "/auth/username?username=anna", "/nowhere"):
        assert "Set-Cookie" not in client.get(page).headers, page


# --- a request that is still under way -------------------------------------------------------------------------------


@pytest.fixture
def slow_app(make_app: Callable[..., Any]) -> Any:
    """An application with a page that changes the session and then waits to be let go."""
    app = make_app()
    app.slow_page_entered, app.slow_page_let_go = threading.Event(), threading.Event()
    trial = Blueprint("trial", __name__)

    @trial.get("/trial/slow")
    @public
    def slow() -> Response:
        session["changed"] = "by the slow page"
        app.slow_page_entered.set()
        assert app.slow_page_let_go.wait(20)
        return Response("done", mimetype="text/plain")

    app.register_blueprint(trial)
    return app


@pytest.mark.parametrize("how", ["sign out", "sign out everywhere", "new password", "signed in again"])
def test_slow_request_does_not_bring_an_ended_session_back(
    slow_app: Any, make_user: Callable[..., str], how: str
) -> None:
    make_user("anna", application=slow_app)
    client = signed_in_client(slow_app, "anna")
    sid = session_cookie(client)
    assert sid
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(browser_with(slow_app, sid).get, "/trial/slow")
        assert slow_app.slow_page_entered.wait(20)
        if how == "sign out":
            post_form(client, "/auth/logout", page="/account/")
        elif how == "sign out everywhere":
            post_form(client, "/account/sessions/end", page="/account/")
        elif how == "new password":
            fields = {"current": PASSWORD, "password": NEW_PASSWORD, "confirm": NEW_PASSWORD}
            post_form(client, "/account/password", page="/account/", **fields)
        else:
            post_form(client, "/auth/logout", page="/account/")
            sign_in(client, "anna")
        slow_app.slow_page_let_go.set()
        answer = slow.result(20)
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers
    assert not is_signed_in(browser_with(slow_app, sid))
    with slow_app.app_context():
        assert "by the slow page" not in "".join(row.data for row in db.session.query(SessionRow))


# --- the list of sessions --------------------------------------------------------------------------------------------


def rows_of(client: Any) -> list[str]:
    """The addresses that end the other sessions, as the account page lists them."""
    return re.findall(r'action="(/account/sessions/\d+/end)"', client.get("/account/").get_data(as_text=True))


def test_sessions_are_listed_and_one_is_signed_out(app: Any, make_user: Callable[..., str]) -> None:
    make_user("anna")
    here = signed_in_client(app, "anna")
    assert rows_of(here) == []
    there = app.test_client()
    there.environ_base = {"HTTP_USER_AGENT": "Telephone/1.0", "REMOTE_ADDR": "::ffff:192.0.2.7"}
    assert sign_in(there, "anna").status_code == 303
    page = here.get("/account/").get_data(as_text=True)
    assert "Telephone/1.0" in page
    assert "192.0.2.7" in page
    assert "::ffff" not in page, "an IPv4 visitor of a socket on :: has an IPv4 address"
    assert "this one" in page
    assert session_cookie(there) not in page
    (other,) = rows_of(here)
    assert post_form(here, other, page="/account/").status_code == 303
    assert not is_signed_in(there)
    assert is_signed_in(here)
    assert post_form(here, other, page="/account/").status_code == 404


def test_nobody_ends_the_session_of_somebody_else(app: Any, make_user: Callable[..., str], anna: Any) -> None:
    signed_in_client(app, "anna")
    (mine,) = rows_of(anna)
    make_user("bob")
    bob = signed_in_client(app, "bob")
    assert post_form(bob, mine, page="/account/").status_code == 404
    assert rows_of(anna) == [mine]


def test_sign_out_everywhere_ends_sessions_and_tokens_but_no_keys(
    app: Any, anna: Any, make_key: Callable[..., dict[str, str]]
) -> None:
    there, key = signed_in_client(app, "anna", remember="y"), make_key("anna")
    token = bearer(get_token(there, "anna").json["access_token"])
    answer = post_form(anna, "/account/sessions/end", page="/account/")
    assert (answer.status_code, answer.location) == (303, "/auth/login")
    for client in (anna, there):
        assert not is_signed_in(client)
    stranger = app.test_client()
    assert stranger.get("/api/v1/me", headers=token).status_code == 401
    assert stranger.get("/api/v1/me", headers=key).status_code == 200


def test_sign_out_everywhere_deletes_keys_when_asked_to(
    app: Any, anna: Any, make_key: Callable[..., dict[str, str]]
) -> None:
    key = make_key("anna")
    assert "Delete my API keys too" in anna.get("/account/").get_data(as_text=True)
    assert post_form(anna, "/account/sessions/end", page="/account/", keys="y").status_code == 303
    assert app.test_client().get("/api/v1/me", headers=key).status_code == 401


# --- a new password --------------------------------------------------------------------------------------------------


def test_new_password_ends_the_other_sessions_and_keeps_this_one(app: Any, anna: Any) -> None:
    there, before = signed_in_client(app, "anna"), session_cookie(anna)
    token = bearer(get_token(there, "anna").json["access_token"])
    fields = {"current": PASSWORD, "password": NEW_PASSWORD, "confirm": NEW_PASSWORD}
    assert post_form(anna, "/account/password", page="/account/", **fields).status_code == 303
    assert is_signed_in(anna)
    assert session_cookie(anna) != before
    assert not is_signed_in(browser_with(app, str(before)))
    assert not is_signed_in(there)
    assert there.get("/api/v1/me", headers=token).status_code == 401
    assert sign_in(app.test_client(), "anna").status_code == 401
    assert sign_in(app.test_client(), "anna", NEW_PASSWORD).status_code == 303
    work(app)
    assert [mail["Subject"] for mail in outbox(app)] == ["[Microsite] Your password was changed"]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"current": "a wrong password"}, "This is not your present password."),
        ({"current": ""}, "Give your present password."),
        ({"password": PASSWORD, "confirm": PASSWORD}, "This is your present password."),
        ({"password": "elevenchars", "confirm": "elevenchars"}, "has 11 characters"),
        ({"password": "password1234", "confirm": "password1234"}, "tried first"),
        ({"confirm": "something else than above"}, "The two passwords are not the same."),
    ],
)
def test_new_password_is_refused(app: Any, anna: Any, fields: dict[str, str], sentence: str) -> None:
    there = signed_in_client(app, "anna")
    given = {"current": PASSWORD, "password": NEW_PASSWORD, "confirm": NEW_PASSWORD} | fields
    answer = post_form(anna, "/account/password", page="/account/", **given)
    assert answer.status_code == 422
    assert sentence in answer.get_data(as_text=True)
    assert is_signed_in(there)
    assert get_token(there, "anna").status_code == 200


def test_details_are_kept_and_shown_escaped(app: Any, anna: Any) -> None:
    sharp = '"><img src=x onerror=1>'
    assert (
        post_form(anna, "/account/details", page="/account/", name=sharp, about="One\nTwo").status_code == 303
    )
    page = anna.get("/account/").get_data(as_text=True)
    assert sharp not in page
    assert "&lt;img" in page
    token = get_token(anna, "anna").json["access_token"]
    assert app.test_client().get("/api/v1/me", headers=bearer(token)).json["name"] == sharp
    assert post_form(anna, "/account/details", page="/account/", name="x" * 81, about="").status_code == 422
