"""A refusal has one shape for each reader: a page for browsers, problem JSON for programs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.walk import BROWSER, JSON, UNSAFE, address, rules

MEMBERS = {"type", "title", "status", "detail", "code"}
UNKNOWN = [
    "/nowhere",
    "/files/a/b/c",
    "/l",
    "/auth/",
    "/%00",
    "/nowhere.php",
    "/static/nowhere.js",
    "/apiary",
]
UNKNOWN_API = ["/api/", "/api/v1/", "/api/v1/nowhere", "/api/v2/files", "/api/v1/files/a/b", "/api/v1/%00"]


def check_problem(answer: Any, status: int, code: str, what: str) -> None:
    assert answer.status_code == status, f"{what}: {answer.status_code} instead of {status}"
    assert answer.mimetype == "application/problem+json", (
        f"{what}: answer problem JSON, not {answer.mimetype}"
    )
    problem = answer.get_json()
    assert not MEMBERS - set(problem), f"{what}: the problem lacks {MEMBERS - set(problem)}"
    assert (problem["status"], problem["code"]) == (status, code), f"{what}: {problem}"
    assert problem["detail"].strip().endswith((".", "!", "?")), (
        f"{what}: say a sentence, not {problem['detail']!r}"
    )


def check_page(answer: Any, status: int, what: str) -> None:
    assert answer.status_code == status, f"{what}: {answer.status_code} instead of {status}"
    assert answer.mimetype == "text/html", f"{what}: answer a page to a browser, not {answer.mimetype}"
    assert answer.get_data(as_text=True).lower().startswith("<!doctype html>"), f"{what}: answer a whole page"


@pytest.mark.parametrize("path", UNKNOWN)
def test_an_unknown_address(app: Any, anna: Any, path: str) -> None:
    for client in (anna, app.test_client()):
        check_page(client.get(path, headers=BROWSER), 404, f"GET {path}")
        check_page(client.get(path), 404, f"GET {path} without Accept")
        check_problem(client.get(path, headers=JSON), 404, "not_found", f"GET {path} for JSON")
        if not path.startswith("/static/"):  # there the rule is known, and the file is not
            check_page(client.post(path, headers=BROWSER), 404, f"POST {path}")
        assert client.head(path).status_code == 404


@pytest.mark.parametrize("path", UNKNOWN_API)
def test_an_unknown_address_of_the_api(app: Any, anna: Any, path: str) -> None:
    for client in (anna, app.test_client()):
        for method in ("GET", *sorted(UNSAFE)):
            for accept in (BROWSER, JSON, {}):
                answer = client.open(path, method=method, headers=accept)
                check_problem(answer, 404, "not_found", f"{method} {path} with {accept}")


def test_a_wrong_method(app: Any, anna: Any) -> None:
    for path in sorted({address(rule) for _, rule in rules(app, "GET", *sorted(UNSAFE))}):
        adapter = app.url_map.bind("localhost")
        allowed = set(adapter.allowed_methods(path))
        for method in sorted({"GET", *UNSAFE} - allowed)[:1]:
            what = f"{method} {path}"
            answer = anna.open(path, method=method, headers=BROWSER)
            if path.startswith("/api/"):
                check_problem(answer, 405, "method_not_allowed", what)
            else:
                check_page(answer, 405, what)
            assert set(answer.headers["Allow"].split(", ")) == allowed, f"{what}: name the methods in Allow"
            check_problem(anna.open(path, method=method, headers=JSON), 405, "method_not_allowed", what)


def test_a_refused_api_call_is_json_for_a_browser_too(app: Any) -> None:
    for method, rule in rules(app, "GET", *sorted(UNSAFE)):
        path = address(rule)
        if not path.startswith("/api/") or app.view_functions[rule.endpoint].access.public:
            continue
        answer = app.test_client().open(path, method=method, headers=BROWSER)
        check_problem(answer, 401, "unauthorized", f"{method} {path}")
        assert answer.headers["WWW-Authenticate"], f"{method} {path}: name the scheme in WWW-Authenticate"


def test_every_id_that_is_unknown_answers_404(app: Any, anna: Any) -> None:
    for _, rule in rules(app, "GET"):
        if (
            not rule.arguments
            or app.view_functions[rule.endpoint].access.public
            or rule.endpoint == "chat.with_member"
        ):
            continue
        path = address(rule)
        answer = anna.get(path, headers=JSON)
        check_problem(answer, 404, "not_found", f"GET {path}")
