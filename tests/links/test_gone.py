"""One answer for everything that is over or never was, so that nobody learns which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from microsite.core.clock import now
from microsite.core.db import atomic, db
from microsite.core.identity import User
from tests.links.helpers import JSON, PAGE, make_link, open_link, put

MALFORMED = [
    "/l/", "/l/x", "/l/" + "x" * 2000, "/l/%00", "/l/%0a", "/l/%0d%0aSet-Cookie:%20x=1", "/l/a/b", "/l//", "/l/../l/x", "/l/%ff",
    "/l/%F0%9F%8E%89", "/l/t", "/l/t/", "/l/t/no-such-ticket", "/l/'%20OR%201=1--", "/l/%25s", "/l/never-existed/",
]  # fmt: skip


@pytest.fixture
def gone(
    app: Any,
    maker: Any,
    key: dict[str, str],
    make_key: Callable[..., dict[str, str]],
    visitor: Any,
    later: Callable[[float], None],
) -> dict[str, str]:
    """Paths of links that are over, by the reason."""
    ben, cora = make_key("ben"), make_key("cora")
    file = put(maker, key)
    made = {
        "used": make_link(maker, key),
        "expired": make_link(maker, key, expires_in=1),
        "revoked": make_link(maker, key),
        "disabled owner": make_link(maker, ben, expires_in=9000),
        "demoted owner": make_link(maker, cora, expires_in=9000),
        "last item deleted": make_link(maker, key, files=[file["id"]], expires_in=9000),
        "used, with password": make_link(maker, key, password="open sesame"),
        "revoked, with password": make_link(
            maker, key, password="open sesame", title="A title", note="Words"
        ),
    }
    assert open_link(visitor, made["used"]["path"]).status_code == 200
    assert open_link(visitor, made["used, with password"]["path"], password="open sesame").status_code == 200
    maker.delete(f"/api/v1/files/{file['id']}", headers=key)
    for name in ("revoked", "revoked, with password"):
        maker.delete(f"/api/v1/links/{made[name]['id']}", headers=key)
    with app.app_context(), atomic():
        db.session.execute(update(User).where(User.username == "ben").values(disabled_at=now()))
        db.session.execute(update(User).where(User.username == "cora").values(role="guest"))
    later(2)
    never = made["used"]["path"][:-1] + ("A" if made["used"]["path"][-1] != "A" else "B")
    return {name: link["path"] for name, link in made.items()} | {"never existed": never}


def check_all_the_same(client: Any, paths: dict[str, str], headers: dict[str, str], **post: Any) -> Any:
    """GET and POST each of the paths; all answers are 410 and the same in body and header names. Gives one."""
    first: Any = None
    for name, path in paths.items():
        for method, sent in (("GET", {}), ("POST", post)):
            answer = client.open(path, method=method, headers=headers, **sent)
            assert answer.status_code == 410, (name, method, answer.status_code)
            first = first or answer
            assert answer.get_data() == first.get_data(), (name, method)
            assert list(answer.headers.keys()) == list(first.headers.keys()), (name, method)
    return first


def test_one_page_for_all(visitor: Any, gone: dict[str, str]) -> None:
    answer = check_all_the_same(visitor, gone | {path: path for path in MALFORMED}, PAGE)
    page = answer.get_data(as_text=True)
    assert "This link no longer works." in page
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_one_problem_for_all(visitor: Any, gone: dict[str, str]) -> None:
    answer = check_all_the_same(visitor, gone | {path: path for path in MALFORMED}, JSON, json={})
    assert answer.mimetype == "application/problem+json"
    assert (answer.json["code"], answer.json["status"], answer.json["type"]) == ("gone", 410, "about:blank")


def test_a_password_makes_no_difference(visitor: Any, gone: dict[str, str]) -> None:
    """And is not even counted: a seventh try of a dead link is answered like the first."""
    for password in ("wrong", "open sesame", "x" * 5000):
        for _ in range(3):
            check_all_the_same(visitor, gone, JSON, json={"password": password})
            check_all_the_same(visitor, gone, PAGE, data={"password": password})


def test_the_same_for_whoever_is_signed_in(app: Any, anna: Any, gone: dict[str, str]) -> None:
    check_all_the_same(anna, gone, JSON, json={})


def test_head_says_the_same(visitor: Any, gone: dict[str, str]) -> None:
    assert {visitor.head(path).status_code for path in gone.values()} == {410}


def test_an_enabled_owner_is_back(app: Any, visitor: Any, gone: dict[str, str]) -> None:
    """Disabling hides a link; it does not end it."""
    with app.app_context(), atomic():
        db.session.execute(update(User).values(disabled_at=None))
    assert visitor.get(gone["disabled owner"]).status_code == 200
