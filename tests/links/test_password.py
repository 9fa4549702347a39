"""Passwords of links: a wrong one never spends a use, and five are enough."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from microsite.core.db import atomic, db
from microsite.extensions import bcrypt
from microsite.links.models import Link
from tests.links.helpers import JSON, PAGE, events, make_link, open_link, state

RIGHT = "open sesame"


@pytest.fixture
def link(maker: Any, key: dict[str, str]) -> dict[str, Any]:
    return make_link(maker, key, password=RIGHT)


def test_required_and_wrong(maker: Any, key: dict[str, str], visitor: Any, link: dict[str, Any]) -> None:
    assert visitor.get(link["path"], headers=JSON).json == {"has_password": True}
    for body, code in (
        ({}, "password_required"),
        ({"password": ""}, "password_required"),
        ({"password": "wrong"}, "password_wrong"),
    ):
        answer = open_link(visitor, link["path"], **body)
        assert (answer.status_code, answer.json["code"]) == (401, code)
        assert answer.mimetype == "application/problem+json"
    assert state(maker, key, link) == ("open", 0)
    assert events(maker, key, link)[1:] == ["page_opened", "password_failed"], "none given is no try"
    assert open_link(visitor, link["path"], password=RIGHT).json == {"kind": "text", "text": "the secret"}
    assert state(maker, key, link) == ("used", 1)


def test_a_link_without_a_password_ignores_one(maker: Any, key: dict[str, str], visitor: Any) -> None:
    assert open_link(visitor, make_link(maker, key)["path"], password="whatever").status_code == 200


@pytest.mark.parametrize("password", ["🔑" * 500, "x" * 1024, "a\0b", " ", "caf\u00e9"])
def test_any_text_is_a_password(maker: Any, key: dict[str, str], visitor: Any, password: str) -> None:
    link = make_link(maker, key, password=password, max_uses=3)
    assert open_link(visitor, link["path"], password=password + "x").json["code"] == "password_wrong"
    assert (
        open_link(visitor, link["path"], password=password[:-1] or "y").json["code"].startswith("password_")
    )
    assert open_link(visitor, link["path"], password=password).status_code == 200


def test_composed_and_decomposed_are_the_same(maker: Any, key: dict[str, str], visitor: Any) -> None:
    assert (
        open_link(
            visitor, make_link(maker, key, password="caf\u00e9")["path"], password="cafe\u0301"
        ).status_code
        == 200
    )


def test_five_wrong_ones_are_enough(
    app: Any,
    maker: Any,
    key: dict[str, str],
    visitor: Any,
    link: dict[str, Any],
    later: Callable[[float], None],
) -> None:
    for number in range(5):
        answer = (
            open_link(visitor, link["path"], password=f"wrong {number}")
            if number % 2
            else visitor.post(link["path"], data={"password": "wrong"}, headers=PAGE)
        )
        assert answer.status_code == 401
    for password in ("wrong", RIGHT):
        answer = open_link(visitor, link["path"], password=password)
        assert (answer.status_code, answer.json["code"]) == (429, "rate_limited")
        assert 0 < int(answer.headers["Retry-After"]) <= 300
    page = visitor.post(link["path"], data={"password": RIGHT}, headers=PAGE)
    assert page.status_code == 429
    assert page.headers["Retry-After"]
    assert "Try again in" in page.get_data(as_text=True)
    assert events(maker, key, link).count("password_failed") == 5
    other = make_link(maker, key, password=RIGHT)
    assert open_link(visitor, other["path"], password=RIGHT).status_code == 200, "another link is not limited"
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    assert (
        visitor.post(
            link["path"], json={"password": "wrong"}, headers=JSON, environ_overrides=elsewhere
        ).status_code
        == 401
    )
    later(301)
    assert open_link(visitor, link["path"], password=RIGHT).status_code == 200, (
        "the true recipient is not locked out for long"
    )


def test_a_forwarded_address_is_not_believed(visitor: Any, link: dict[str, Any]) -> None:
    for number in range(6):
        forged = JSON | {"X-Forwarded-For": f"192.0.2.{number}"}
        last = visitor.post(link["path"], json={"password": "wrong"}, headers=forged)
    assert last.status_code == 429


def test_right_ones_are_not_limited(maker: Any, key: dict[str, str], visitor: Any) -> None:
    link = make_link(maker, key, password=RIGHT, max_uses=None)
    for _ in range(8):
        assert open_link(visitor, link["path"], password=RIGHT).status_code == 200


def test_guesses_at_once_are_counted_one_by_one(app: Any, link: dict[str, Any]) -> None:
    with app.app_context(), atomic():  # checks that take as long as on a real site
        slow = bcrypt.generate_password_hash(RIGHT.encode(), rounds=11).decode()
        db.session.execute(update(Link).values(password_hash=slow))
    barrier, found = threading.Barrier(12), []

    def guess(number: int) -> None:
        barrier.wait(20)
        found.append(open_link(app.test_client(), link["path"], password=f"wrong {number}").status_code)

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert Counter(found) == {401: 5, 429: 7}


def test_many_addresses_share_a_hundred_an_hour(
    maker: Any, key: dict[str, str], visitor: Any, link: dict[str, Any]
) -> None:
    for number in range(101):
        origin = {"REMOTE_ADDR": f"198.51.100.{number}"}
        answer = visitor.post(
            link["path"], json={"password": "wrong"}, headers=JSON, environ_overrides=origin
        )
        assert answer.status_code == (401 if number < 100 else 429)
    assert state(maker, key, link) == ("open", 0)
