"""Tokens that travel: a forgotten password, and the first administrator."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine

from microsite.auth.services import create_user, set_role, setup_token
from microsite.core import tokens
from microsite.core.clock import now
from microsite.core.db import atomic
from microsite.core.identity import Role
from microsite.core.passwords import hash_password
from tests.conftest import PASSWORD, form_token, sign_in

from .steps import (
    at_once,
    bearer,
    get_token,
    is_signed_in,
    member,
    outbox,
    post_form,
    register,
    reset_addresses,
    signed_in_client,
    work,
)

NEW_PASSWORD = "another long password"


def ask(app: Any, email: str = "anna@example.org") -> Any:
    return post_form(app.test_client(), "/auth/reset", email=email)


def token_at(client: Any, address: str) -> str:
    """The form token of a page, or that of the sign-in page where the page is gone."""
    page = client.get(address)
    return form_token(page if page.status_code == 200 else client.get("/auth/login"))


def spend(client: Any, address: str, password: str = NEW_PASSWORD) -> Any:
    """Set a new password at an address; without a form there, the token of another page is taken."""
    return client.post(
        address, data={"csrf_token": token_at(client, address), "password": password, "confirm": password}
    )


@pytest.fixture
def address(app: Any, make_user: Callable[..., str]) -> str:
    """The address in a reset mail that anna has just got."""
    make_user("anna")
    assert ask(app).status_code == 303
    work(app)
    (found,) = reset_addresses(app)
    return found


def test_known_and_unknown_addresses_get_the_same_answer(app: Any, make_user: Callable[..., str]) -> None:
    make_user("anna")
    seen = []
    for email in ("anna@example.org", "nobody@example.org"):
        client = app.test_client()
        answer = post_form(client, "/auth/reset", email=email)
        seen.append(
            (
                answer.status_code,
                answer.location,
                client.get(answer.location).get_data(as_text=True).count("a mail is on its way"),
            )
        )
    assert seen == [(303, "/auth/login", 1)] * 2
    work(app)
    assert [mail["To"] for mail in outbox(app)] == ["anna@example.org"]


@pytest.mark.parametrize("email", ["", "a@b\r\nBcc: eve@example.org", "anna@example.org\n"])
def test_asking_with_a_broken_address_sends_nothing(
    app: Any, make_user: Callable[..., str], email: str
) -> None:
    make_user("anna")
    assert ask(app, email).status_code == 422
    work(app)
    assert outbox(app) == []


def test_get_shows_and_post_spends_once(app: Any, address: str) -> None:
    client = app.test_client()
    old = signed_in_client(app, "anna")
    for _ in range(3):
        assert client.get(address).status_code == 200
        assert client.head(address).status_code == 200
    answer = spend(client, address)
    assert (answer.status_code, answer.location) == (303, "/auth/login")
    assert not is_signed_in(client), "a reset does not sign in"
    assert not is_signed_in(old)
    assert client.get(address).status_code == 410
    assert spend(client, address, "a third long password").status_code == 410
    assert sign_in(app.test_client(), "anna").status_code == 401
    assert sign_in(app.test_client(), "anna", NEW_PASSWORD).status_code == 303


@pytest.mark.parametrize(
    ("password", "confirm"),
    [("elevenchars", "elevenchars"), ("password1234", "password1234"), (NEW_PASSWORD, "another")],
)
def test_a_refused_password_does_not_spend(app: Any, address: str, password: str, confirm: str) -> None:
    client = app.test_client()
    assert post_form(client, address, password=password, confirm=confirm).status_code == 422
    assert spend(client, address).status_code == 303


def test_newer_mail_withdraws_the_older(app: Any, address: str) -> None:
    ask(app)
    work(app)
    (newer,) = [found for found in reset_addresses(app) if found != address]
    client = app.test_client()
    assert client.get(address).status_code == 410
    assert spend(client, address).status_code == 410
    assert spend(client, newer).status_code == 303


def test_a_new_password_withdraws_the_mail(app: Any, address: str) -> None:
    client = signed_in_client(app, "anna")
    fields = {"current": PASSWORD, "password": NEW_PASSWORD, "confirm": NEW_PASSWORD}
    assert post_form(client, "/account/password", page="/account/", **fields).status_code == 303
    assert app.test_client().get(address).status_code == 410


def test_address_ends_after_thirty_minutes(app: Any, address: str) -> None:
    client = app.test_client()
    with time_machine.travel(now()) as clock:
        clock.shift(timedelta(minutes=29))
        assert client.get(address).status_code == 200
        clock.shift(timedelta(minutes=2))
        assert client.get(address).status_code == 410
        assert spend(client, address).status_code == 410


def test_of_several_spends_at_once_one_wins(app: Any, address: str) -> None:
    clients = [app.test_client() for _ in range(8)]
    passwords = [f"a long password number {n}" for n in range(8)]
    answers = at_once(lambda n: spend(clients[n], address, passwords[n]).status_code)
    assert sorted(answers) == [303] + [410] * 7
    winner = answers.index(303)
    assert get_token(app.test_client(), "anna", passwords[winner]).status_code == 200


@pytest.mark.parametrize(
    "made_up",
    [
        "/auth/reset/" + "x" * 43,
        "/auth/confirm/" + "x" * 43,
        "/auth/setup/" + "x" * 43,
        "/auth/reset/%00",
        "/auth/reset/" + "y" * 3000,
    ],
)
def test_made_up_addresses_are_gone(app: Any, made_up: str) -> None:
    client = app.test_client()
    assert client.get(made_up).status_code == 410
    fields = {"username": "eve", "email": "eve@example.org", "password": PASSWORD, "confirm": PASSWORD}
    assert post_form(client, made_up, page="/auth/login", **fields).status_code == 410


def test_a_token_serves_one_purpose(app: Any, address: str) -> None:
    client = app.test_client()
    for purpose in ("confirm", "setup"):
        assert client.get(address.replace("reset", purpose)).status_code == 410


def test_a_disabled_member_gets_no_mail(app: Any, make_user: Callable[..., str]) -> None:
    from microsite.auth.services import disable

    make_user("anna")
    with app.app_context(), atomic():
        disable(member("anna"))
    assert ask(app).status_code == 303
    work(app)
    assert outbox(app) == []


def test_reset_tokens_are_stored_hashed(app: Any, address: str) -> None:
    from microsite.core.db import db

    token = address.rsplit("/", 1)[1]
    assert len(token) >= 22
    with app.app_context():
        assert all(token not in str(vars(row)) for row in db.session.query(tokens.MailToken))


# --- the first administrator -----------------------------------------------------------------------------------------


@pytest.fixture
def setup_address(app: Any) -> str:
    with app.app_context(), atomic():
        token = setup_token()
    assert token
    return f"/auth/setup/{token}"


def set_up(client: Any, address: str, username: str = "root", **fields: Any) -> Any:
    given = {
        "username": username,
        "email": f"{username}@example.org",
        "password": PASSWORD,
        "confirm": PASSWORD,
    }
    return client.post(address, data={"csrf_token": token_at(client, address)} | given | fields)


def test_first_administrator_is_made_once(app: Any, setup_address: str) -> None:
    client = app.test_client()
    answer = set_up(client, setup_address)
    assert (answer.status_code, answer.location) == (303, "/")
    assert is_signed_in(client)
    token = get_token(client, "root").json["access_token"]
    assert app.test_client().get("/api/v1/me", headers=bearer(token)).json["role"] == "admin"
    other = app.test_client()
    assert other.get(setup_address).status_code == 410
    assert set_up(other, setup_address, "eve").status_code == 410
    with app.app_context(), atomic():
        assert setup_token() is None


def test_of_several_first_administrators_one_wins(app: Any, setup_address: str) -> None:
    clients = [app.test_client() for _ in range(8)]
    answers = at_once(lambda n: set_up(clients[n], setup_address, f"admin{n}").status_code)
    assert sorted(answers) == [303] + [410] * 7


@pytest.mark.parametrize(
    "fields",
    [{"username": "ab"}, {"email": "none"}, {"password": "short", "confirm": "short"}, {"confirm": "other"}],
)
def test_a_refused_administrator_does_not_spend(app: Any, setup_address: str, fields: dict[str, str]) -> None:
    client = app.test_client()
    answer = set_up(client, setup_address, **fields)
    assert answer.status_code == 422
    assert set_up(client, setup_address).status_code == 303


@pytest.mark.parametrize("how", ["created", "promoted"])
def test_setup_address_ends_when_there_is_an_administrator(
    app: Any, make_user: Callable[..., str], setup_address: str, how: str
) -> None:
    if how == "promoted":
        make_user("anna")
    with app.app_context():
        hashed = hash_password(PASSWORD)
        with atomic():
            if how == "promoted":
                set_role(member("anna"), Role.ADMIN)
            else:
                create_user("anna", "anna@example.org", hashed, Role.ADMIN, confirmed=True)
    assert set_up(app.test_client(), setup_address).status_code == 410


def test_setup_address_outlives_a_member_who_was_faster(app: Any, setup_address: str) -> None:
    assert register(app.test_client(), "anna").status_code == 303
    assert set_up(app.test_client(), setup_address).status_code == 303
