"""Registering: the live check of a name, what a password may be, and what a refusal looks like."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import PASSWORD, sign_in

from .steps import at_once, get_token, is_signed_in, plain_client, post_form, register

EURO = "€" * 25
SENTENCES = {
    "": "Choose a name.",
    "two words": "A name has no spaces.",
    " anna": "A name has no spaces.",
    "anna\t": "A name has no spaces.",
    "ann@": "A name has only letters",
    "müller": "A name has only letters",
    "anna\0": "A name has only letters",
    "аnna": "A name has only letters",  # the first letter is Cyrillic
    "<b>x</b>": "A name has only letters",
    "1anna": "A name starts with a letter.",
    "-anna": "A name starts with a letter.",
    "ab": "The name has 2 characters; 3 to 32 are possible.",
    "a" * 33: "The name has 33 characters; 3 to 32 are possible.",
    "anna": "That name is taken.",
    "ANNA": "That name is taken.",
    "admin": "That name is reserved.",
    "Admin": "That name is reserved.",
}


@pytest.mark.parametrize(("name", "sentence"), SENTENCES.items(), ids=[ascii(name) for name in SENTENCES])
def test_live_check_says_why_a_name_cannot_be_had(
    app: Any, make_user: Callable[..., str], name: str, sentence: str
) -> None:
    make_user("anna")
    answer = app.test_client().get("/auth/username", query_string={"username": name})
    assert answer.status_code == 200
    assert answer.is_json
    assert answer.json["available"] is False
    assert answer.json["message"].startswith(sentence)


@pytest.mark.parametrize("name", ["bob", "Bob-the_2nd", "a" * 32])
def test_live_check_says_that_a_name_is_free(app: Any, name: str) -> None:
    answer = app.test_client().get("/auth/username", query_string={"username": name})
    assert answer.json == {"available": True, "message": "That name is free."}


def test_live_check_without_a_name_and_without_a_session(app: Any) -> None:
    answer = app.test_client().get("/auth/username")
    assert answer.json["available"] is False
    assert "Set-Cookie" not in answer.headers


def test_names_that_are_offered_instead_are_free(app: Any, make_user: Callable[..., str]) -> None:
    make_user("anna")
    client = app.test_client()
    offered = (
        client.get("/auth/username?username=anna").json["message"].split("Free: ")[1].rstrip(".").split(", ")
    )
    assert len(offered) == 2
    for name in offered:
        assert client.get(f"/auth/username?username={name}").json["available"] is True


def test_registering_signs_in_at_once(app: Any) -> None:
    client = app.test_client()
    answer = register(client, "anna")
    assert (answer.status_code, answer.location) == (303, "/")
    assert is_signed_in(client)
    token = get_token(client, "anna").json["access_token"]
    me = client.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"}).json
    assert (me["username"], me["email"], me["role"]) == ("anna", "anna@example.org", "member")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"username": "ab"}, "3 to 32 are possible"),
        ({"username": "two words"}, "no spaces"),
        ({"username": "Taken"}, "That name is taken."),
        ({"username": "root"}, "That name is reserved."),
        ({"email": "not an address"}, "not an e-mail address"),
        ({"email": "TAKEN@EXAMPLE.ORG"}, "There is an account with this address already."),
        ({"email": ""}, "Give your e-mail address."),
        ({"password": "elevenchars", "confirm": "elevenchars"}, "has 11 characters; at least 12"),
        ({"confirm": "another long password"}, "The two passwords are not the same."),
        ({"password": "", "confirm": ""}, "Choose a password."),
    ],
)
def test_refusal_is_422_and_keeps_what_was_typed(
    app: Any, make_user: Callable[..., str], fields: dict[str, str], sentence: str
) -> None:
    make_user("taken")
    given = {"username": "bob", "email": "bob@example.org"} | fields
    client = app.test_client()
    answer = register(client, **given)
    assert answer.status_code == 422
    page = answer.get_data(as_text=True)
    assert sentence in page
    assert f'value="{given["username"]}"' in page
    if given["email"]:
        assert f'value="{given["email"]}"' in page
    assert PASSWORD not in page
    assert not is_signed_in(client)
    assert sign_in(client, "bob", fields.get("password") or PASSWORD).status_code != 303


@pytest.mark.parametrize(
    "email",
    [
        "bob@example.org\r\nBcc: eve@example.org",
        "bob@example.org\nX: y",
        "bob@example.org\r\n",
        "bob\0@example.org",
    ],
)
def test_line_breaks_and_control_characters_in_an_address_are_refused(app: Any, email: str) -> None:
    assert register(plain_client(app), "bob", email=email).status_code == 422
    assert get_token(app.test_client(), "bob").status_code == 401


@pytest.mark.parametrize(
    "password",
    [
        "twelve chars",
        EURO,
        "é" * 1024,
        "p" + "\N{PILE OF POO}" * 1023,
        "with\0a NUL inside",
        " spaces around it ",
    ],
    ids=["12", "75 bytes", "1024", "4093 bytes", "NUL", "spaces"],
)
def test_password_is_accepted_and_signs_in(app: Any, password: str) -> None:
    assert register(app.test_client(), "anna", password).status_code == 303
    assert sign_in(app.test_client(), "anna", password).status_code == 303
    assert get_token(app.test_client(), "anna", password).status_code == 200


@pytest.mark.parametrize(
    ("password", "other"),
    [
        (EURO, "€" * 24 + "$"),  # the first 72 bytes are the same
        (EURO, EURO + "€"),
        ("x" * 1024, "x" * 1023 + "y"),
        ("with\0a NUL inside", "with\0another NUL"),
        ("with\0a NUL inside", "with"),
        ("Twelve Chars", "twelve chars"),
        ("twelve chars", "twelve chars "),
    ],
    ids=["after 72 bytes", "longer", "last of 1024", "after NUL", "up to NUL", "case", "space"],
)
def test_every_character_of_a_password_counts(app: Any, password: str, other: str) -> None:
    assert register(app.test_client(), "anna", password).status_code == 303
    assert sign_in(app.test_client(), "anna", other).status_code == 401
    assert get_token(app.test_client(), "anna", other).status_code == 401


def test_password_may_be_typed_in_either_unicode_form(app: Any) -> None:
    password = "Käsekuchen über alles"
    register(app.test_client(), "anna", unicodedata.normalize("NFC", password))
    assert sign_in(app.test_client(), "anna", unicodedata.normalize("NFD", password)).status_code == 303


@pytest.mark.parametrize(
    ("password", "sentence"),
    [
        ("x" * 1025, "has 1025 characters; at most 1024"),
        ("password1234", "tried first"),
        ("PassWord1234", "tried first"),
        ("1q2w3e4r5t6y", "tried first"),
        ("1Q2W3E4R5T6Y", "tried first"),
        ("microsite2026", "word of this site"),
        ("2026MicroSite", "word of this site"),
        ("harbour202620", "word of this site"),
        ("blueharbour26", "word of this site"),
        ("99localhost99", "word of this site"),
    ],
)
def test_password_is_refused(make_app: Callable[..., Any], password: str, sentence: str) -> None:
    app = make_app(SITE_NAME="Blue Harbour", BASE_URL="http://localhost:8000")
    answer = register(app.test_client(), "anna", password)
    assert answer.status_code == 422
    assert sentence in answer.get_data(as_text=True)


def test_of_several_registrations_under_one_name_one_wins(app: Any) -> None:
    clients = [app.test_client() for _ in range(8)]
    for client in clients:
        client.get("/auth/login")
    answers = at_once(lambda n: register(clients[n], "anna", email=f"anna{n}@example.org").status_code)
    assert sorted(answers) == [303] + [422] * 7


def test_a_member_has_no_registration_page(anna: Any) -> None:
    assert anna.get("/auth/register").status_code == 303


@pytest.mark.parametrize("how", ["invite", "closed"])
def test_registration_that_is_not_open(make_app: Callable[..., Any], how: str) -> None:
    app = make_app(REGISTRATION=how)
    client = app.test_client()
    assert client.get("/auth/register").status_code == 403
    fields = {"username": "bob", "email": "b@example.org", "password": PASSWORD, "confirm": PASSWORD}
    assert post_form(client, "/auth/register", page="/auth/login", **fields).status_code == 403
    assert get_token(client, "bob").status_code == 401


def test_registrations_of_an_address_are_limited(app: Any) -> None:
    for number in range(20):
        assert register(app.test_client(), f"bob{number}").status_code == 303
    answer = register(app.test_client(), "onemore")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 3600
