"""Signing in: by name and address, the way back to the page that was asked for, and the life of the session's id."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from sqlalchemy import update

from microsite.core.clock import now
from microsite.core.db import atomic, db
from microsite.core.identity import User
from tests.conftest import PASSWORD, form_token, sign_in

from .steps import (
    bearer,
    browser_with,
    get_token,
    is_signed_in,
    plain_client,
    post_form,
    session_cookie,
    signed_in_client,
)

LEAVING = [
    "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "https:evil.example", "https://evil.example/",
    "/\t/evil.example", "\t//evil.example", "/\n/evil.example", "/\r\nSet-Cookie: a=b", "/\0/evil.example", " //evil.example",
    "javascript:alert(1)", "evil.example", "/%09/evil.example", "/%5Cevil.example", "/./\\evil.example", "/\u2028/evil.example",
]  # fmt: skip


def disable(app: Any, username: str) -> None:
    with app.app_context(), atomic():
        db.session.execute(update(User).where(User.username == username).values(disabled_at=now()))


@pytest.mark.parametrize("name", ["anna", "ANNA", "anna@example.org", "Anna@Example.ORG", " anna "])
def test_sign_in_by_name_or_address(app: Any, make_user: Callable[..., str], name: str) -> None:
    make_user("anna")
    client = app.test_client()
    answer = sign_in(client, name)
    assert (answer.status_code, answer.location) == (303, "/")
    assert is_signed_in(client)


def test_unknown_wrong_and_disabled_look_the_same(app: Any, make_user: Callable[..., str]) -> None:
    for name in ("anna", "bob"):
        make_user(name)
    disable(app, "bob")
    pages = []
    for name, password in (
        ("nobody", PASSWORD),
        ("nobody@example.org", PASSWORD),
        ("anna", "a wrong password"),
        ("bob", PASSWORD),
    ):
        client = app.test_client()
        answer = sign_in(client, name, password)
        assert answer.status_code == 401
        assert not is_signed_in(client)
        page = answer.get_data(as_text=True)
        assert "The name or the password is not right." in page
        pages.append(page.replace(form_token(answer), "T").replace(f'value="{name}"', "N"))
        problem = get_token(client, name, password)
        assert (problem.status_code, problem.json["detail"]) == (
            401,
            "The name or the password is not right.",
        )
    assert len(set(pages)) == 1


@pytest.mark.parametrize("name", ["anna\0", "\ud800", "x" * 5000, "' OR 1=1 --", "anna\r\n@x"])
def test_odd_names_are_refused_and_break_nothing(app: Any, make_user: Callable[..., str], name: str) -> None:
    make_user("anna")
    client = plain_client(app)
    answer = get_token(client, name)
    assert answer.status_code in (400, 401, 422)
    if name != "\ud800":
        assert sign_in(client, name).status_code in (400, 401)


@pytest.mark.parametrize("fields", [{"username": ""}, {"password": ""}])
def test_an_empty_field_is_a_refusal(app: Any, fields: dict[str, str]) -> None:
    client = app.test_client()
    assert (
        post_form(client, "/auth/login", **{"username": "anna", "password": PASSWORD} | fields).status_code
        == 401
    )


# --- there and back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "page",
    [
        "/account/",
        "/files/?q=%C3%BCber+alles&sort=name",
        "/files/x/raw",
        "/files/x/download",
        "/links/",
        "/chat/",
    ],
)
def test_a_visitor_is_asked_to_sign_in_and_comes_back(
    app: Any, make_user: Callable[..., str], page: str
) -> None:
    make_user("anna")
    client = app.test_client()
    answer = client.get(page)
    assert answer.status_code == 302
    assert urlsplit(answer.location).path == "/auth/login"
    assert parse_qs(urlsplit(answer.location).query)["next"] == [page]
    done = post_form(client, answer.location, username="anna", password=PASSWORD)
    assert (done.status_code, done.location) == (303, page)


@pytest.mark.parametrize("target", LEAVING, ids=[ascii(target) for target in LEAVING])
def test_next_never_leaves_the_site(app: Any, make_user: Callable[..., str], target: str) -> None:
    make_user("anna")
    client = app.test_client()
    address = f"/auth/login?next={quote(target, safe='')}"
    answers = [post_form(client, address, username="anna", password=PASSWORD), client.get(address)]
    for answer in answers:
        assert answer.status_code == 303
        location = answer.location
        assert location.startswith("/")
        assert location[1:2] not in ("/", "\\", "\t")
        assert not any(c < " " for c in location)
        assert "Set-Cookie: a" not in str(answer.headers)


def test_next_survives_a_wrong_password(app: Any, make_user: Callable[..., str]) -> None:
    make_user("anna")
    client = app.test_client()
    assert (
        post_form(
            client, "/auth/login?next=/files/", username="anna", password="a wrong password"
        ).status_code
        == 401
    )
    assert (
        post_form(client, "/auth/login?next=/files/", username="anna", password=PASSWORD).location
        == "/files/"
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "me"), ("GET", "keys"), ("POST", "keys"), ("DELETE", "token"), ("GET", "files")],
)
def test_api_answers_a_visitor_with_401_and_no_redirect(app: Any, method: str, path: str) -> None:
    answer = app.test_client().open(f"/api/v1/{path}", method=method)
    assert answer.status_code == 401
    assert answer.mimetype == "application/problem+json"
    assert answer.json["code"] == "unauthorized"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert "Set-Cookie" not in answer.headers


# --- the id of the session -------------------------------------------------------------------------------------------


def test_id_changes_at_sign_in_and_the_old_one_is_dead(app: Any, make_user: Callable[..., str]) -> None:
    make_user("anna")
    client = app.test_client()
    old_form = form_token(client.get("/auth/login"))
    before = session_cookie(client)
    assert before
    client.post("/auth/login", data={"csrf_token": old_form, "username": "anna", "password": PASSWORD})
    after = session_cookie(client)
    assert after not in (None, before)
    assert not is_signed_in(browser_with(app, before))
    refused = client.post("/account/details", data={"csrf_token": old_form, "name": "x", "about": ""})
    assert refused.status_code == 400


def test_planted_id_is_never_adopted(app: Any, make_user: Callable[..., str]) -> None:
    make_user("anna")
    planted = "planted-" + "x" * 35
    client = browser_with(app, planted)
    client.get("/auth/login")
    assert session_cookie(client) != planted
    client = browser_with(app, planted)
    sign_in(client, "anna")
    assert session_cookie(client) != planted
    assert not is_signed_in(browser_with(app, planted))


def set_cookie(answer: Any, name: str) -> str:
    """The one Set-Cookie header whose name begins so."""
    (found,) = [cookie for cookie in answer.headers.getlist("Set-Cookie") if cookie.startswith(name)]
    return str(found)


def test_remember_sets_a_lasting_cookie(app: Any, make_user: Callable[..., str]) -> None:
    make_user("anna")
    brief, lasting = sign_in(app.test_client(), "anna"), sign_in(app.test_client(), "anna", remember="y")
    cookie = set_cookie(brief, "session_")
    assert not re.search("Max-Age|Expires", cookie)
    cookie = set_cookie(lasting, "session_")
    assert f"Max-Age={30 * 86400}" in cookie
    for flag in ("HttpOnly", "SameSite=Lax", "Path=/"):
        assert flag in cookie


def test_cookie_on_https_is_bound_to_the_host(
    make_app: Callable[..., Any], make_user: Callable[..., str]
) -> None:
    app = make_app(BASE_URL="https://localhost")
    make_user("anna", application=app)
    client = app.test_client()
    token = form_token(client.get("/auth/login", base_url="https://localhost"))
    answer = client.post(
        "/auth/login",
        base_url="https://localhost",
        data={"csrf_token": token, "username": "anna", "password": PASSWORD},
    )
    cookie = set_cookie(answer, "__Host-session=")
    for flag in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
        assert flag in cookie
    assert "Domain" not in cookie
    device = set_cookie(answer, "__Secure-device=")
    for flag in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/auth"):
        assert flag in device
    assert "max-age=31536000" in answer.headers["Strict-Transport-Security"]


@pytest.mark.parametrize("remember", [{}, {"remember": "y"}], ids=["brief", "remembered"])
def test_sign_out_kills_the_id_on_the_server(
    app: Any, make_user: Callable[..., str], remember: dict[str, str]
) -> None:
    make_user("anna")
    client = signed_in_client(app, "anna", **remember)
    copied = session_cookie(client)
    assert copied
    assert is_signed_in(browser_with(app, copied))
    assert client.get("/auth/logout").status_code == 405
    assert is_signed_in(client)
    assert post_form(client, "/auth/logout", page="/account/").status_code == 303
    assert not is_signed_in(client)
    assert not is_signed_in(browser_with(app, copied))


def test_session_id_is_stored_hashed(app: Any, make_user: Callable[..., str]) -> None:
    from microsite.core.sessions import SessionRow

    make_user("anna")
    sid = session_cookie(signed_in_client(app, "anna"))
    with app.app_context():
        stored = [str(vars(row)) for row in db.session.query(SessionRow)]
    assert stored
    assert all(str(sid) not in row for row in stored)


def test_disabling_ends_everything_on_the_next_request(app: Any, anna: Any) -> None:
    token = get_token(anna, "anna").json["access_token"]
    disable(app, "anna")
    assert not is_signed_in(anna)
    assert app.test_client().get("/api/v1/me", headers=bearer(token)).status_code == 401
