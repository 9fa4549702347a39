"""No browser session can be used by a page of somebody else: every writing endpoint wants its form token."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from microsite.core.db import Base, db
from tests.conftest import sign_in
from tests.contract.walk import JSON, UNSAFE, address, page_token, rules

OF_RECIPIENTS = {
    *("links.claim", "links.send_in", "links.send_one", "links.end_ticket"),
    *("links.report_link", "links.report_opened"),
}
WITHOUT_CSRF = {"api.auth.create_token"} | OF_RECIPIENTS
"""Add a name only with a reason why a forged request does no harm there."""


@pytest.fixture
def root(app: Any, make_user: Callable[..., str]) -> Any:
    """A browser of an administrator, whom no missing permission stops before the form token is asked for."""
    make_user("root", "admin")
    client = app.test_client()
    assert sign_in(client, "root").status_code == 303
    return client


def counts(app: Any) -> dict[str, int]:
    with app.app_context():
        return {
            t.name: db.session.scalar(select(func.count()).select_from(t)) or 0
            for t in Base.metadata.sorted_tables
        }


def send(client: Any, app: Any, method: str, rule: Any, headers: dict[str, str]) -> Any:
    """A request that would succeed at an endpoint for uploads, if nobody asked for a token."""
    body: dict[str, Any] = {}
    if getattr(app.view_functions[rule.endpoint], "takes_uploads", False):
        file = io.BytesIO(b"forged")
        body = {"data": b"forged"} if method == "PUT" else {"data": {"file": (file, "forged.txt")}}
    return client.open(address(rule, {"name": "forged.txt"}), method=method, headers=JSON | headers, **body)


def test_views_without_csrf_are_the_known_ones(app: Any) -> None:
    marked = {name for name, view in app.view_functions.items() if hasattr(view, "without_csrf")}
    assert marked == WITHOUT_CSRF, "a view lost or got @without_csrf: change this set only with a reason"
    for name in marked:
        assert app.view_functions[name].without_csrf, f"{name}: say the reason in @without_csrf(reason)"


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-CSRFToken": "forged"}, {"X-CSRFToken": ""}],
    ids=["no token", "a forged one", "an empty one"],
)
def test_every_writing_endpoint_refuses_a_session_without_token(
    app: Any, root: Any, headers: dict[str, str]
) -> None:
    before, wrong, seen = counts(app), [], 0
    for method, rule in rules(app, *sorted(UNSAFE)):
        if rule.endpoint in WITHOUT_CSRF:
            continue
        answer = send(root, app, method, rule, headers)
        code = (answer.get_json(silent=True) or {}).get("code")
        if (answer.status_code, code) != (400, "csrf_failed"):
            wrong.append(f"{method} {rule.rule} ({rule.endpoint}): {answer.status_code} {code}")
        seen += 1
    assert not wrong, (
        f"these must answer 400 csrf_failed to a signed-in browser without its form token: {wrong}"
    )
    assert seen > 10, "the walk found hardly any endpoint; it must be mended"
    assert counts(app) == before, "a refused request has written something"


def test_another_site_is_refused_even_with_the_token(app: Any, root: Any) -> None:
    token, wrong = page_token(root), []
    for foreign in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        for method, rule in rules(app, *sorted(UNSAFE)):
            if rule.endpoint in WITHOUT_CSRF:
                continue
            answer = send(root, app, method, rule, {"X-CSRFToken": token, **foreign})
            code = (answer.get_json(silent=True) or {}).get("code")
            if (answer.status_code, code) != (400, "csrf_failed"):
                wrong.append(f"{method} {rule.rule} with {foreign}: {answer.status_code} {code}")
    assert not wrong, f"these must refuse a request that another site sent: {wrong}"


def test_the_token_of_another_session_is_refused(app: Any, root: Any, make_user: Callable[..., str]) -> None:
    make_user("mallory")
    other = app.test_client()
    assert sign_in(other, "mallory").status_code == 303
    answer = root.post("/account/details", headers=JSON | {"X-CSRFToken": page_token(other)})
    assert (answer.status_code, answer.get_json()["code"]) == (400, "csrf_failed")


def test_the_right_token_passes(root: Any) -> None:
    """Otherwise the refusals above would prove nothing."""
    token = page_token(root)
    headers = {"X-CSRFToken": token}
    details = {"csrf_token": token, "name": "Root", "about": ""}
    assert root.post("/account/details", data=details).status_code == 303
    assert root.put("/api/v1/upload/a.txt", headers=headers, data=b"a").status_code == 201
    data = {"csrf_token": token, "file": (io.BytesIO(b"b"), "b.txt")}
    assert root.post("/files/", data=data).status_code == 303


def test_pages_of_errors_for_a_form_without_token(root: Any) -> None:
    answer = root.post("/account/details", data={"name": "x"}, headers={"Accept": "text/html"})
    assert answer.status_code == 400
    assert answer.mimetype == "text/html"
