"""Every endpoint says who may call it, and the guard keeps to that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from microsite.core.access import Access, public, signed_in
from tests.conftest import sign_in
from tests.contract.walk import BROWSER, JSON, UNSAFE, address, rules


def test_every_endpoint_declares_its_access(app: Any) -> None:
    bare = [
        name
        for name, view in app.view_functions.items()
        if not isinstance(getattr(view, "access", None), Access)
    ]
    assert not bare, f"put exactly one of @public, @signed_in, @requires(...) on the views of {bare}"
    known = app.extensions["microsite"].permissions
    for name, view in app.view_functions.items():
        access = view.access
        assert not (access.public and access.permission), (
            f"{name} is public and asks for {access.permission}; keep one"
        )
        assert access.permission is None or access.permission in known, (
            f"{name} asks for {access.permission!r}, which is on no card; add it to `permissions` there"
        )


def test_every_rule_has_a_view(app: Any) -> None:
    lost = [rule.rule for rule in app.url_map.iter_rules() if rule.endpoint not in app.view_functions]
    assert not lost, f"these rules lead to no view; remove them: {lost}"


def test_two_declarations_are_refused() -> None:
    with pytest.raises(TypeError, match="twice"):

        @public
        @signed_in
        def view() -> str:
            return ""


def test_an_undeclared_view_answers_403(make_app: Callable[..., Any], make_user: Callable[..., str]) -> None:
    app = make_app()
    app.add_url_rule(
        "/undeclared", view_func=lambda: "secret", endpoint="undeclared", methods=["GET", "POST"]
    )
    make_user("root", "admin", application=app)
    client = app.test_client()
    assert client.get("/undeclared").status_code == 403
    assert sign_in(client, "root").status_code == 303
    answer = client.get("/undeclared")
    assert answer.status_code == 403, (
        "an endpoint without a declaration must be closed, to administrators too"
    )
    assert b"secret" not in answer.data


def test_visitors_are_sent_to_sign_in_or_refused(app: Any) -> None:
    wrong = []
    for method, rule in rules(app, "GET", *sorted(UNSAFE)):
        if app.view_functions[rule.endpoint].access.public:
            continue
        path = address(rule)
        answer = app.test_client().open(path, method=method, headers=BROWSER)
        if path.startswith("/api/"):
            right = answer.status_code == 401 and answer.mimetype == "application/problem+json"
        elif method == "GET":
            right = answer.status_code == 302 and answer.location.startswith("/auth/login?next=/")
        else:
            right = answer.status_code == 401
        if not right:
            wrong.append(f"{method} {path}: {answer.status_code} {answer.location or ''}")
    assert not wrong, (
        f"answer visitors of pages by 302 to /auth/login?next=…, others and the API by 401: {wrong}"
    )


def test_a_permission_that_is_lacking_answers_403(
    make_app: Callable[..., Any], make_user: Callable[..., str]
) -> None:
    app = make_app()
    make_user("gast", "guest", application=app)
    client = app.test_client()
    assert sign_in(client, "gast").status_code == 303
    with app.app_context():
        from microsite.auth.services import user_by_name

        user = user_by_name("gast")
        assert user is not None
        granted = {name for name in app.extensions["microsite"].permissions if user.may(name)}
    refused = 0
    for method, rule in rules(app, "GET", *sorted(UNSAFE)):
        permission = app.view_functions[rule.endpoint].access.permission
        if permission is None or permission in granted:
            continue
        path = address(rule)
        answer = client.open(path, method=method, headers=JSON)
        assert answer.status_code == 403, (
            f"{method} {path} must answer a guest by 403, not {answer.status_code}"
        )
        assert answer.get_json()["code"] == "forbidden", (
            f"{method} {path} must answer a guest by forbidden, before CSRF"
        )
        refused += 1
    assert refused, "no endpoint refuses guests any more; then this test must go"
