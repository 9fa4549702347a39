"""Wrong passwords are counted, right ones never are; page and API count together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import bcrypt
import pytest
import time_machine
from sqlalchemy import update

from microsite.core.clock import now
from microsite.core.db import atomic, db
from microsite.core.identity import User
from tests.conftest import PASSWORD, sign_in

from .steps import at_once, get_token, post_form, register

WRONG = "a wrong password"
WAIT = 5 * 60


def assert_limited(answer: Any, at_most: int = WAIT) -> None:
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= at_most


def test_five_wrong_passwords_close_an_account_for_page_and_api(
    app: Any, make_user: Callable[..., str]
) -> None:
    make_user("anna")
    make_user("bob")
    client = app.test_client()
    assert sign_in(client, "anna", WRONG).status_code == 401
    assert sign_in(client, "anna@example.org", WRONG).status_code == 401
    assert sign_in(client, "ANNA", WRONG).status_code == 401
    assert get_token(client, "anna", WRONG).status_code == 401
    assert get_token(client, "Anna@example.org", WRONG).status_code == 401
    page = sign_in(client, "anna")
    assert_limited(page)
    assert "Too many wrong passwords." in page.get_data(as_text=True)
    problem = get_token(client, "anna")
    assert_limited(problem)
    assert problem.json["code"] == "rate_limited"
    assert_limited(sign_in(client, "anna", WRONG))
    assert sign_in(client, "bob").status_code == 303


def test_limit_ends_by_itself(app: Any, make_user: Callable[..., str]) -> None:
    make_user("anna")
    with time_machine.travel(now()) as clock:
        for _ in range(5):
            get_token(app.test_client(), "anna", WRONG)
        assert_limited(get_token(app.test_client(), "anna"))
        clock.shift(timedelta(seconds=WAIT - 10))
        assert_limited(get_token(app.test_client(), "anna"), 15)
        clock.shift(timedelta(seconds=20))
        assert get_token(app.test_client(), "anna").status_code == 200


def test_right_passwords_never_count(app: Any, make_user: Callable[..., str]) -> None:
    make_user("anna")
    for _ in range(4):
        assert get_token(app.test_client(), "anna", WRONG).status_code == 401
    for _ in range(35):
        assert get_token(app.test_client(), "anna").status_code == 200
    assert sign_in(app.test_client(), "anna").status_code == 303


def test_an_unknown_name_is_closed_like_a_known_one(app: Any) -> None:
    for _ in range(5):
        assert get_token(app.test_client(), "nobody", WRONG).status_code == 401
    assert_limited(get_token(app.test_client(), "Nobody", WRONG))


@pytest.mark.parametrize(
    ("near", "far"),
    [
        ("192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8:0:1::1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2"),
    ],
    ids=["IPv4", "IPv6, by /64", "IPv4 at a socket on ::"],
)
def test_thirty_wrong_passwords_close_an_address(
    app: Any, make_user: Callable[..., str], near: str, far: str
) -> None:
    make_user("anna")
    for number in range(30):
        other_end = near if number % 2 or "." in near else "2001:db8::ffff:2"
        answer = get_token(
            app.test_client(), f"nobody{number}", WRONG, environ_base={"REMOTE_ADDR": other_end}
        )
        assert answer.status_code == 401
    assert_limited(get_token(app.test_client(), "anna", environ_base={"REMOTE_ADDR": near}))
    assert get_token(app.test_client(), "anna", environ_base={"REMOTE_ADDR": far}).status_code == 200


def close(app: Any, username: str) -> None:
    """Guess from elsewhere until the account is closed."""
    elsewhere = {"REMOTE_ADDR": "198.51.100.7"}
    while get_token(app.test_client(), username, WRONG, environ_base=elsewhere).status_code != 429:
        pass


def known_device(app: Any, username: str) -> Any:
    """A browser in which somebody signed in and out."""
    client = app.test_client()
    assert sign_in(client, username).status_code == 303
    assert post_form(client, "/auth/logout", page="/account/").status_code == 303
    return client


def test_strangers_do_not_lock_a_known_device_out(app: Any, make_user: Callable[..., str]) -> None:
    make_user("anna")
    make_user("bob")
    known, of_bob = known_device(app, "anna"), known_device(app, "bob")
    close(app, "anna")
    assert_limited(sign_in(app.test_client(), "anna"))
    assert_limited(sign_in(of_bob, "anna"))
    for _ in range(4):
        assert sign_in(known, "anna", WRONG).status_code == 401
    assert sign_in(known, "anna").status_code == 303
    assert_limited(get_token(known, "anna"))  # the cookie is for the page alone


def test_a_known_device_has_a_small_limit_of_its_own(app: Any, make_user: Callable[..., str]) -> None:
    make_user("anna")
    known = known_device(app, "anna")
    close(app, "anna")
    for _ in range(5):
        assert sign_in(known, "anna", WRONG).status_code == 401
    assert_limited(sign_in(known, "anna"))


@pytest.mark.parametrize("how", ["new password", "everywhere", "tampered"])
def test_a_device_is_forgotten(app: Any, make_user: Callable[..., str], how: str) -> None:
    make_user("anna")
    known, other = known_device(app, "anna"), app.test_client()
    assert sign_in(other, "anna").status_code == 303
    name, password = f"device_{app.config['PORT']}", PASSWORD
    if how == "new password":
        password = "another long password"
        fields = {"current": PASSWORD, "password": password, "confirm": password}
        assert post_form(other, "/account/password", page="/account/", **fields).status_code == 303
        assert post_form(other, "/auth/logout", page="/account/").status_code == 303
    elif how == "everywhere":
        assert post_form(other, "/account/sessions/end", page="/account/").status_code == 303
    else:
        cookie = known.get_cookie(name, path="/auth")
        known.set_cookie(name, cookie.value[:-3] + "AAA", path="/auth")
    close(app, "anna")
    assert_limited(sign_in(known, "anna", password))
    if how == "new password":
        assert sign_in(other, "anna", password).status_code == 303, "where it was changed, it is known"


def test_forwarded_headers_do_not_open_a_closed_address(app: Any) -> None:
    for number in range(30):
        headers = {"X-Forwarded-For": f"192.0.2.{number}", "X-Real-IP": f"192.0.2.{number}"}
        assert get_token(app.test_client(), f"nobody{number}", WRONG, headers=headers).status_code == 401
    assert_limited(get_token(app.test_client(), "nobody", WRONG, headers={"X-Forwarded-For": "192.0.2.99"}))


def test_the_present_password_counts_too(anna: Any) -> None:
    fields = {"current": WRONG, "password": "another long password", "confirm": "another long password"}
    for _ in range(5):
        assert post_form(anna, "/account/password", page="/account/", **fields).status_code == 422
    assert_limited(post_form(anna, "/account/password", page="/account/", **fields | {"current": PASSWORD}))


def test_guesses_at_the_same_moment_do_not_slip_through(app: Any, make_user: Callable[..., str]) -> None:
    make_user("anna")
    slow_hash = bcrypt.hashpw(
        hashlib.sha256(PASSWORD.encode()).hexdigest().encode(), bcrypt.gensalt(10)
    ).decode()
    with app.app_context(), atomic():
        db.session.execute(
            update(User).values(password_hash=slow_hash)
        )  # as slow as in production, or nearly
    assert get_token(app.test_client(), "anna").status_code == 200
    answers = at_once(lambda _: get_token(app.test_client(), "anna", WRONG).status_code, 16)
    assert answers.count(401) == 5
    assert answers.count(429) == 11


def test_reset_mails_are_limited_by_account_and_address(app: Any) -> None:
    client = app.test_client()
    for _ in range(5):
        assert post_form(client, "/auth/reset", email="anna@example.org").status_code == 303
    assert_limited(post_form(client, "/auth/reset", email="Anna@Example.org"), 3600)
    for number in range(14):
        assert post_form(client, "/auth/reset", email=f"bob{number}@example.org").status_code == 303
    assert_limited(post_form(client, "/auth/reset", email="carl@example.org"), 3600)


def test_refused_registrations_do_not_count(app: Any) -> None:
    for _ in range(21):
        assert register(app.test_client(), "ab").status_code == 422
    assert register(app.test_client(), "abc").status_code == 303
