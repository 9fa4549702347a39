"""The security headers stand on every answer, whatever the route and whatever went wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from microsite.core.access import public
from tests.conftest import sign_in
from tests.contract.walk import BROWSER, JSON, address, page_token, populate, rules

FORBIDDEN = {"'unsafe-inline'", "'unsafe-eval'", "'unsafe-hashes'", "'wasm-unsafe-eval'", "http:", "https:"}


def policy_of(response: Any) -> dict[str, list[str]]:
    policies = response.headers.getlist("Content-Security-Policy")
    assert len(policies) == 1, f"there must be one policy, not {len(policies)}"
    parts = [part.split() for part in policies[0].split(";") if part.strip()]
    return {name: values for name, *values in parts}


def check(response: Any, what: str) -> None:
    """Raise AssertionError, with what to do, for an answer without its headers."""
    where = f"{what} ({response.status_code})"
    headers = response.headers
    assert headers.get("X-Content-Type-Options") == "nosniff", f"{where}: add nosniff"
    assert headers.get("Referrer-Policy") in ("same-origin", "no-referrer"), f"{where}: add a Referrer-Policy"
    assert "Content-Security-Policy" in headers, f"{where}: add the policy of core/headers.py"
    policy = policy_of(response)
    for directive, values in policy.items():
        loose = [value for value in values if value in FORBIDDEN or "//" in value or "*" in value]
        assert not loose, f"{where}: {directive} allows {loose}; serve it from here, as a file"
    assert policy.get("default-src") == ["'none'"], f"{where}: default-src must be 'none'"
    assert policy.get("frame-ancestors") == ["'none'"], f"{where}: frame-ancestors must be 'none'"
    assert policy.get("object-src", policy["default-src"]) == ["'none'"], (
        f"{where}: object-src must be 'none'"
    )
    if "sandbox" in policy:  # a member's bytes: no origin of their own, so that no base can lead anywhere
        assert policy["sandbox"] == [], f"{where}: sandbox must allow nothing"
    else:
        assert policy.get("base-uri") == ["'none'"], f"{where}: base-uri must be 'none'"
        assert policy.get("form-action") == ["'self'"], f"{where}: form-action must be 'self'"
        assert "object-src" in policy, f"{where}: name object-src"


def test_every_get_route(app: Any, anna: Any, make_user: Callable[..., str]) -> None:
    values = populate(anna, make_user)
    visitor = app.test_client()
    statuses = set()
    for _, rule in rules(app, "GET"):
        for path in {address(rule), address(rule, values)}:
            for who, client in (("a member", anna), ("a visitor", visitor)):
                for method in ("GET", "HEAD"):
                    answer = client.open(path, method=method, headers=BROWSER, buffered=True)
                    assert answer.status_code < 500, f"{method} {path} as {who}: {answer.status_code}"
                    check(answer, f"{method} {path} as {who}")
                    statuses.add(answer.status_code)
    assert {200, 302, 401, 404, 410} <= statuses, f"the walk has met only {sorted(statuses)}"


def test_every_kind_of_error(make_app: Callable[..., Any], make_user: Callable[..., str]) -> None:
    app = make_app()

    @public
    def failing() -> str:
        raise ZeroDivisionError

    app.add_url_rule("/failing", view_func=failing)
    make_user("anna", application=app)
    make_user("gast", "guest", application=app)
    client, guest, visitor = (app.test_client() for _ in range(3))
    assert sign_in(client, "anna").status_code == 303
    assert sign_in(guest, "gast").status_code == 303
    values = populate(client, lambda name: make_user(name, application=app))
    token = {"X-CSRFToken": page_token(client)}
    range_header = {"Range": "bytes=999999-"}
    content = f"/files/{values['file_id']}/download"
    etag = client.get(content, buffered=True).headers["ETag"]
    asked: list[tuple[int, Any, str, str, dict[str, Any]]] = [
        (304, client, "GET", content, {"headers": {"If-None-Match": etag}}),
        (308, client, "GET", "/files", {}),
        (400, client, "POST", "/account/details", {}),
        (400, visitor, "GET", "/", {"base_url": "http://evil.example"}),
        (
            400,
            client,
            "POST",
            "/api/v1/links",
            {"headers": token, "data": b"{", "content_type": "application/json"},
        ),
        (401, visitor, "GET", "/api/v1/me", {}),
        (401, visitor, "POST", "/files/", {}),
        (403, guest, "GET", "/files/", {}),
        (404, client, "GET", "/nowhere", {}),
        (404, client, "GET", "/static/nowhere.css", {}),
        (404, client, "GET", "/api/v1/nowhere", {}),
        (405, client, "POST", "/healthz", {}),
        (405, client, "DELETE", "/api/v1/me", {}),
        (410, visitor, "GET", "/l/nothing", {}),
        (410, visitor, "POST", "/l/nothing", {}),
        (
            413,
            client,
            "POST",
            "/account/details",
            {"headers": token, "data": {"about": "x" * (2 * 2**20 + 1)}},
        ),
        (
            415,
            client,
            "POST",
            "/api/v1/links",
            {"headers": token, "data": b"x", "content_type": "text/plain"},
        ),
        (416, client, "GET", content, {"headers": range_header}),
        (422, client, "POST", "/links/", {"headers": token}),
        (422, client, "GET", "/api/v1/files?limit=0", {}),
        (500, visitor, "GET", "/failing", {}),
    ]
    for status, who, method, path, more in asked:
        for accept in (BROWSER, JSON):
            headers = accept | more.get("headers", {})
            answer = who.open(path, method=method, buffered=True, **{**more, "headers": headers})
            assert answer.status_code == status, f"{method} {path}: {answer.status_code} instead of {status}"
            check(answer, f"{method} {path}")


@pytest.mark.parametrize("path", ["/socket.io/", "/socket.io/?EIO=4&transport=polling"])
def test_beside_flask_too(app: Any, path: str) -> None:
    answer = app.test_client().get(path, headers=JSON)
    assert answer.status_code < 500
    assert answer.headers.get("X-Content-Type-Options") == "nosniff", (
        "the gate before the sockets must set headers too"
    )


def test_https_is_kept(make_app: Callable[..., Any]) -> None:
    app = make_app(BASE_URL="https://files.example.org")
    answer = app.test_client().get("/", base_url="https://files.example.org")
    assert "max-age=" in answer.headers["Strict-Transport-Security"]
    check(answer, "GET / over https")
