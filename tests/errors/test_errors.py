"""Refusals and failures, as a page and as problem JSON, and who is told about a failure."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask import Blueprint, session
from sqlalchemy import func, select
from werkzeug.exceptions import HTTPException, default_exceptions

from microsite.core import exceptions
from microsite.core.access import public, without_csrf
from microsite.core.clock import now
from microsite.core.db import atomic, db
from microsite.core.jobs import Job, run_due
from tests.conftest import sign_in

SECRET = "a name from inside"
OWN: dict[str, Callable[[], Exception]] = {
    "bad_request": lambda: exceptions.BadRequest("This is odd."),
    "csrf_failed": lambda: exceptions.CsrfFailed("This is not from here."),
    "unauthorized": exceptions.Unauthorized,
    "password_wrong": lambda: exceptions.Unauthorized("That is not the password.", "password_wrong"),
    "forbidden": lambda: exceptions.Forbidden("You may not."),
    "not_found": exceptions.NotFound,
    "conflict": lambda: exceptions.Conflict("Somebody was faster."),
    "gone": lambda: exceptions.Gone("That is over."),
    "file_too_large": lambda: exceptions.FileTooLarge(10, 20),
    "type_not_allowed": lambda: exceptions.TypeNotAllowed("Not that."),
    "validation_failed": lambda: exceptions.ValidationFailed({"name": ["The name is <odd>."]}),
    "rate_limited": lambda: exceptions.RateLimited(17),
    "unavailable": lambda: exceptions.Unavailable("Busy.", 7),
    "quota_exceeded": lambda: exceptions.QuotaExceeded(10, 9, 5),
    "storage_full": exceptions.StorageFull,
}
LIBRARY = {
    400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed", 406: "not_acceptable",
    409: "conflict", 410: "gone", 413: "file_too_large", 415: "type_not_allowed", 416: "range_not_satisfiable", 422: "validation_failed",
    429: "rate_limited", 503: "unavailable",
}  # fmt: skip


def failing(settings: dict[str, Any], make_app: Callable[..., Any]) -> Any:
    """An application with addresses that refuse and fail on demand."""
    app = make_app(**settings)
    trial = Blueprint("trial", __name__)

    @public
    def refuse(code: str) -> str:
        raise OWN[code]()

    @public
    def library(status: int) -> str:
        raise default_exceptions[status](description=SECRET)

    @public
    def fail() -> str:
        session["half"] = "done"
        raise RuntimeError(SECRET)

    @public
    @without_csrf("a trial")
    def fail_in_the_middle() -> str:
        with atomic():
            db.session.add(Job(name="half done"))
            db.session.flush()
            raise RuntimeError(SECRET)

    @public
    @without_csrf("a trial")
    def fail_outside() -> str:
        db.session.add(Job(name="half done"))
        db.session.flush()
        raise RuntimeError(SECRET)

    def undeclared() -> str:
        return SECRET

    for prefix in ("", "/api/v1"):
        for path, view in (
            ("refuse/<code>", refuse),
            ("library/<int:status>", library),
            ("fail", fail),
            ("undeclared", undeclared),
        ):
            trial.add_url_rule(f"{prefix}/trial/{path}", view_func=view)
    trial.add_url_rule("/trial/middle", view_func=fail_in_the_middle, methods=["POST"])
    trial.add_url_rule("/trial/outside", view_func=fail_outside, methods=["POST"])
    app.register_blueprint(trial)
    return app


@pytest.fixture
def site(make_app: Callable[..., Any]) -> Any:
    return failing({}, make_app)


def assert_page(answer: Any, status: int) -> str:
    assert answer.status_code == status
    assert answer.content_type == "text/html; charset=utf-8"
    page = str(answer.get_data(as_text=True))
    assert f'<p class="number">{status}</p>' in page
    assert 'href="/"' in page
    assert SECRET not in page
    assert "Traceback" not in page
    return page


def assert_problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"
    problem: dict[str, Any] = answer.json
    assert (problem["status"], problem["code"], problem["type"]) == (status, code, "about:blank")
    assert problem["title"]
    assert problem["detail"]
    assert SECRET not in answer.get_data(as_text=True)
    return problem


@pytest.mark.parametrize("code", OWN)
def test_refusal_of_our_own(site: Any, code: str) -> None:
    error = OWN[code]()
    assert isinstance(error, exceptions.DomainError)
    client = site.test_client()
    page = client.get(f"/trial/refuse/{code}")
    problem = client.get(f"/api/v1/trial/refuse/{code}")
    asked = client.get(f"/trial/refuse/{code}", headers={"Accept": "application/json"})
    assert_page(page, error.status)
    for answer in (problem, asked):
        assert assert_problem(answer, error.status, code)["detail"] == error.detail
    for answer in (page, problem, asked):
        for name, value in error.headers.items():
            assert answer.headers[name] == value
        assert answer.headers["Cache-Control"] == "no-store"
        assert "object-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_refused_fields_are_named_and_escaped(site: Any) -> None:
    client = site.test_client()
    assert client.get("/api/v1/trial/refuse/validation_failed").json["errors"] == {
        "name": ["The name is <odd>."]
    }
    assert "The name is &lt;odd&gt;." in client.get("/trial/refuse/validation_failed").get_data(as_text=True)


@pytest.mark.parametrize(("status", "code"), LIBRARY.items())
def test_refusal_of_a_library(site: Any, status: int, code: str) -> None:
    client = site.test_client()
    assert_page(client.get(f"/trial/library/{status}"), status)
    assert_problem(client.get(f"/api/v1/trial/library/{status}"), status, code)


@pytest.mark.parametrize("status", sorted(set(default_exceptions) - set(LIBRARY)))
def test_rarer_errors_have_a_page_too(site: Any, status: int) -> None:
    assert issubclass(default_exceptions[status], HTTPException)
    answer = site.test_client().get(f"/api/v1/trial/library/{status}")
    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"


def test_nothing_here(site: Any) -> None:
    page = assert_page(site.test_client().get("/nowhere/<b>"), 404)
    assert re.search(r'<p data-countdown="/" hidden>.*<span data-seconds>\d+</span>', page)
    assert "countdown.js" in page
    assert "<b>" not in page
    assert "data-countdown" not in assert_page(site.test_client().get("/trial/refuse/gone"), 410)
    assert_problem(site.test_client().get("/api/v1/nowhere"), 404, "not_found")
    assert_problem(site.test_client().get("/api/nowhere"), 404, "not_found")


def test_wrong_method_names_the_right_ones(site: Any) -> None:
    for path, method in (("/auth/logout", "POST"), ("/api/v1/keys/x", "DELETE")):
        answer = site.test_client().get(path)
        assert answer.status_code == 405
        assert method in answer.headers["Allow"]
    assert_problem(site.test_client().get("/api/v1/keys/x"), 405, "method_not_allowed")
    assert site.test_client().open("/", method="TRACE").status_code == 405


@pytest.mark.parametrize(
    "accept", ["text/html", "*/*", "text/html,application/xhtml+xml,*/*;q=0.8", "", "image/png"]
)
def test_browsers_get_a_page(site: Any, accept: str) -> None:
    assert site.test_client().get("/nowhere", headers={"Accept": accept}).mimetype == "text/html"


def test_undeclared_address_is_opened_to_nobody(site: Any, make_user: Callable[..., str]) -> None:
    make_user("chief", "admin", application=site)
    client = site.test_client()
    assert sign_in(client, "chief").status_code == 303
    assert_page(client.get("/trial/undeclared"), 403)
    assert_problem(client.get("/api/v1/trial/undeclared"), 403, "forbidden")


def test_error_page_knows_who_is_signed_in(site: Any, make_user: Callable[..., str]) -> None:
    make_user("anna", application=site)
    client = site.test_client()
    sign_in(client, "anna")
    assert 'name="csrf-token"' in client.get("/nowhere").get_data(as_text=True)


# --- failures --------------------------------------------------------------------------------------------------------


def log_of(app: Any) -> str:
    return Path(app.config["INSTANCE"], "logs", "microsite.log").read_text("utf-8")


def error_mails(app: Any) -> int:
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(Job).where(Job.name == "mail")) or 0


def test_failure_shows_a_reference_that_stands_in_the_log(site: Any) -> None:
    client = site.test_client()
    page = assert_page(client.get("/trial/fail"), 500)
    (reference,) = re.findall(r"<code>([0-9a-f]+)</code>", page)
    problem = assert_problem(client.get("/api/v1/trial/fail"), 500, "internal_error")
    assert problem["reference"] != reference
    for found in (reference, problem["reference"]):
        (line,) = [line for line in log_of(site).splitlines() if f"failure {found}" in line]
        assert SECRET in line
        assert "RuntimeError" in line
    assert "told" not in page
    assert client.get("/auth/login").status_code == 200


@pytest.mark.parametrize("where", ["middle", "outside"])
def test_failure_leaves_nothing_half_done(site: Any, where: str) -> None:
    client = site.test_client()
    client.get("/auth/login")
    assert client.post(f"/trial/{where}").status_code == 500
    with site.app_context():
        assert db.session.scalars(select(Job.name)).all() == []


def test_failure_does_not_keep_the_session(site: Any) -> None:
    answer = site.test_client().get("/trial/fail")
    assert answer.status_code == 500
    assert "Set-Cookie" not in answer.headers


ADMINS = "one@example.org,two@example.org"


@pytest.mark.parametrize(
    ("settings", "mails", "told"),
    [
        ({}, 0, False),
        ({"MAIL_SERVER": "127.0.0.1"}, 0, False),
        ({"ADMINS": ADMINS}, 2, False),
        ({"ADMINS": ADMINS, "MAIL_SERVER": "127.0.0.1"}, 2, True),
    ],
    ids=["neither", "server", "admins", "both"],
)
def test_page_says_told_only_when_it_is_true(
    make_app: Callable[..., Any], settings: dict[str, Any], mails: int, told: bool
) -> None:
    site = failing(settings, make_app)
    page = assert_page(site.test_client().get("/trial/fail"), 500)
    assert ("The administrators have been told." in page) is told
    assert error_mails(site) == mails


def test_administrators_get_at_most_five_mails_an_hour(make_app: Callable[..., Any]) -> None:
    site = failing({"ADMINS": "one@example.org", "MAIL_SERVER": "127.0.0.1"}, make_app)
    with time_machine.travel(now()) as clock:
        told = ["been told" in site.test_client().get("/trial/fail").get_data(as_text=True) for _ in range(8)]
        assert told == [True] * 5 + [False] * 3
        assert error_mails(site) == 5
        clock.shift(timedelta(minutes=61))
        assert "been told" in site.test_client().get("/trial/fail").get_data(as_text=True)
        assert error_mails(site) == 6


def test_error_mail_says_what_failed_and_where(make_app: Callable[..., Any]) -> None:
    site = failing({"ADMINS": "one@example.org"}, make_app)
    page = site.test_client().get("/trial/fail?token=hidden").get_data(as_text=True)
    (reference,) = re.findall(r"<code>([0-9a-f]+)</code>", page)
    with site.app_context():
        waiting = db.session.scalars(select(Job.payload).where(Job.name == "mail")).one()
    assert SECRET not in waiting, "mails wait encrypted"
    with site.app_context():
        run_due()
    (mail,) = Path(site.config["INSTANCE"], "outbox").glob("*.eml")
    body = mail.read_text()
    for part in (reference, SECRET, "GET /trial/fail", "one@example.org"):
        assert part in body
    assert "hidden" not in body


def test_refusals_are_no_failures(make_app: Callable[..., Any]) -> None:
    site = failing({"ADMINS": "one@example.org"}, make_app)
    for path in ("/nowhere", "/trial/refuse/unavailable", "/trial/library/503"):
        site.test_client().get(path)
    assert error_mails(site) == 0


def test_page_is_there_while_the_database_is_not(make_app: Callable[..., Any], tmp_path: Path) -> None:
    app = make_app(DATABASE_URL=f"sqlite:///{tmp_path}/no/such/folder/x.db")
    client = app.test_client()
    client.set_cookie(app.config["SESSION_COOKIE_NAME"], "x" * 43)
    answer = client.get("/account/")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert_problem(client.get("/api/v1/me"), 503, "unavailable")
    assert client.get("/healthz").status_code == 200
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json["down"]) == (503, ["database"])


# --- what is refused before anything is read -------------------------------------------------------------------------


BODY_SIZE = 50 * 2**20


class Unreadable(io.RawIOBase):
    """A body of 50 MiB whose first byte is a failed test."""

    position = 0

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.position = offset if whence == io.SEEK_SET else BODY_SIZE
        return self.position

    def tell(self) -> int:
        return self.position

    def readinto(self, buffer: Any) -> int:
        raise AssertionError("the body was read")


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize("path", ["/auth/login", "/auth/register", "/auth/reset"])
def test_large_form_of_a_visitor_is_refused_unread(app: Any, path: str, kind: str) -> None:
    answer = app.test_client().post(path, input_stream=Unreadable(), content_type=kind)
    page = assert_page(answer, 413)
    assert "52.4 MB" in page
    assert "2.1 MB" in page


@pytest.mark.parametrize("path", ["/files/", "/account/details"])
def test_body_of_a_visitor_who_may_not_is_refused_unread(app: Any, path: str) -> None:
    answer = app.test_client().post(
        path, input_stream=Unreadable(), content_type="multipart/form-data; boundary=x"
    )
    assert answer.status_code in (302, 401)


def test_large_body_for_the_api_is_refused_unread(app: Any) -> None:
    answer = app.test_client().post(
        "/api/v1/token", input_stream=Unreadable(), content_type="application/json"
    )
    assert_problem(answer, 413, "file_too_large")


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_large_form_without_a_length_is_refused(app: Any, kind: str) -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="username"\r\n\r\n'
        + b"x" * (3 * 2**20)
        + b"\r\n--x--\r\n"
    )
    answer = app.test_client().post(
        "/auth/login", input_stream=io.BytesIO(body), content_type=kind, headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )  # fmt: skip
    assert answer.status_code in (400, 413)  # werkzeug cuts a form of one piece at the limit


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost.",
        "user@localhost",
        "localhost/x",
        "",
        "[::1",
        "127.0.0.1:x",
    ],
)
def test_other_hosts_are_refused(app: Any, host: str) -> None:
    client = app.test_client()
    for path in ("/", "/auth/login", "/static/icon.svg", "/nowhere", "/api/v1/me"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 400, path
        assert "evil" not in answer.get_data(as_text=True)
    for path in ("/healthz", "/readyz"):
        answer = client.get(path, headers={"Host": host})
        assert (answer.status_code, answer.json) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:9", "localhost:8000", "LOCALHOST", "[::1]", "[::1]:8000"]
)
def test_names_of_this_machine_are_accepted(app: Any, host: str) -> None:
    assert app.test_client().get("/", headers={"Host": host}).status_code == 200


def test_forwarded_host_is_not_believed(app: Any) -> None:
    headers = {
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "Forwarded": "host=evil.example",
    }
    answer = app.test_client().get("/account/", headers=headers)
    assert "evil" not in answer.location
    assert answer.location.startswith("/auth/login")
