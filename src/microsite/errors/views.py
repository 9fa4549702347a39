"""Handlers for the whole application: one shape per kind of reader, one place for the words.

JSON is `application/problem+json` (RFC 9457), under /api/ and wherever the Accept header prefers it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from apiflask.exceptions import HTTPError
from flask import Blueprint, Response, current_app, g, json, render_template, request
from flask.typing import ResponseReturnValue
from gunicorn.http.errors import ParseException
from sqlalchemy.exc import DataError, OperationalError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import ObjectDeletedError
from werkzeug.exceptions import ClientDisconnected, HTTPException

from microsite.core.access import wants_json
from microsite.core.db import db
from microsite.core.exceptions import (
    BadRequest,
    DomainError,
    FileTooLarge,
    NotFound,
    Unauthorized,
    Unavailable,
    ValidationFailed,
)
from microsite.core.log import request_id

from .services import report_failure

bp = Blueprint(
    "errors",
    __name__,
    template_folder="templates",
    static_folder="static/errors",
    static_url_path="/static/errors",
)

CODES = {
    400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed",
    406: "not_acceptable", 409: "conflict", 410: "gone", 412: "precondition_failed", 413: "file_too_large", 415: "type_not_allowed",
    416: "range_not_satisfiable", 422: "validation_failed", 429: "rate_limited", 500: "internal_error",
    503: "unavailable", 507: "quota_exceeded",
}  # fmt: skip
SENTENCES = {
    400: "The request could not be understood.",
    401: "Sign in to see this.",
    403: "You may not see or do this.",
    404: "There is nothing at this address.",
    405: "This address does not work that way.",
    406: "This page cannot be given in the form that was asked for.",
    409: "Something else was changed meanwhile.",
    410: "What was here is gone.",
    412: "This was changed meanwhile.",
    413: "That was too large.",
    414: "This address is too long.",
    415: "This kind of content is not accepted here.",
    416: "That part of the file does not exist.",
    422: "Some of the input is not valid.",
    429: "That was too often.",
    500: "Something on our side failed. Nothing of what you sent was kept half-way.",
    503: "The site is busy or something it needs is down.",
    507: "There is no room for this.",
}


def _roll_back() -> None:
    try:
        db.session.rollback()
    except Exception:
        current_app.logger.exception("roll-back failed")


def respond(
    status: int, code: str, detail: str, *, errors: dict[str, list[str]] | None = None, **page: Any
) -> Response:
    """One answer for one refusal."""
    title = HTTPStatus(status).phrase
    if wants_json():
        problem = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code}
        if errors:
            problem["errors"] = errors
        if page.get("reference"):
            problem["reference"] = page["reference"]
        return Response(json.dumps(problem), status, content_type="application/problem+json; charset=utf-8")
    values = {"status": status, "title": title, "detail": detail, "errors": errors, **page}
    try:
        body = render_template("errors/error.html", **values)
    except Exception:  # whoever is signed in may not be known while the database is down
        current_app.logger.exception("the error page failed")
        body = current_app.jinja_env.get_template("errors/bare.html").render(values)
    return Response(body, status, content_type="text/html; charset=utf-8")


@bp.app_errorhandler(DomainError)
def domain_error(error: DomainError) -> ResponseReturnValue:
    """Answer a refusal of the site's own."""
    _roll_back()
    errors = error.errors if isinstance(error, ValidationFailed) else None
    response = respond(error.status, error.code, error.detail, errors=errors)
    response.headers.extend(error.headers)
    return response


@bp.app_errorhandler(HTTPError)
def api_input_error(error: HTTPError) -> ResponseReturnValue:
    """Answer input that a schema refused, field by field."""
    _roll_back()
    if error.status_code != HTTPStatus.UNPROCESSABLE_ENTITY:
        detail = (
            str(error.message)
            if error.status_code != HTTPStatus.BAD_REQUEST
            else "The body is not valid JSON."
        )
        return respond(error.status_code, CODES.get(error.status_code, "bad_request"), detail)
    return domain_error(ValidationFailed(_by_field(error.detail)))


def _by_field(detail: Any) -> dict[str, list[str]]:
    """Messages by field name; nested names are joined by dots, and the place (json, query) is left out."""
    found: dict[str, list[str]] = {}

    def walk(prefix: str, node: Any) -> None:
        if isinstance(node, dict):
            for name, child in node.items():
                walk(f"{prefix}.{name}" if prefix else str(name), child)
        else:
            texts = node if isinstance(node, list) else [node]
            found.setdefault(prefix or "body", []).extend(
                f"{prefix}: {text}" if prefix else str(text) for text in texts
            )

    for place in detail.values() if isinstance(detail, dict) else [detail]:
        walk("", place)
    return found


@bp.app_errorhandler(HTTPException)
def http_error(error: HTTPException) -> ResponseReturnValue:
    """Answer an HTTP error raised by routing or a library."""
    if error.response is not None or error.code is None or error.code < HTTPStatus.BAD_REQUEST:
        return error  # a redirect
    original = getattr(error, "original_exception", None)
    if original is not None:  # something failed after the view, such as storing the session
        return database_down(original) if isinstance(original, OperationalError) else failure(original)
    _roll_back()
    if error.code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and request.max_content_length:
        return domain_error(FileTooLarge(request.max_content_length))
    if isinstance(error, ClientDisconnected):
        current_app.logger.info("the client went away")
    response = respond(
        error.code, CODES.get(error.code, "bad_request"), SENTENCES.get(error.code) or str(error.description)
    )
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


@bp.app_errorhandler(PoolTimeout)
def pool_timeout(error: PoolTimeout) -> ResponseReturnValue:  # noqa: ARG001 - a handler's signature
    """Answer when every database connection is in use."""
    return domain_error(Unavailable("The site is busy."))


@bp.app_errorhandler(OperationalError)
def database_down(error: OperationalError) -> ResponseReturnValue:
    """Answer while the database does not."""
    current_app.logger.error("the database does not answer", exc_info=error)
    g.no_session = True
    return domain_error(Unavailable("The database does not answer just now.", 10))


@bp.app_errorhandler(UnicodeEncodeError)
@bp.app_errorhandler(StatementError)
def unstorable(error: StatementError | UnicodeEncodeError) -> ResponseReturnValue:
    """Answer text that no database takes, such as a NUL or half a character pair."""
    # SQLAlchemy wraps only what the driver calls its own: sqlite3's complaint about half a pair comes through bare
    unfit = UnicodeError | ValueError | OverflowError
    if isinstance(error, DataError | UnicodeEncodeError) or isinstance(error.orig, unfit):
        return domain_error(BadRequest("This holds characters or numbers that cannot be stored."))
    return failure(error)


@bp.app_errorhandler(RecursionError)
def too_deep(error: RecursionError) -> ResponseReturnValue:
    """Answer JSON whose nesting has no end."""
    return domain_error(BadRequest("The body is nested too deeply.")) if request.is_json else failure(error)


@bp.app_errorhandler(ValueError)
def unreadable_number(error: ValueError) -> ResponseReturnValue:
    """Answer JSON with a number of thousands of digits."""
    if request.is_json and "integer string conversion" in str(error):
        return domain_error(BadRequest("A number in the body is too long."))
    return failure(error)


@bp.app_errorhandler(ParseException)
def malformed(error: ParseException) -> ResponseReturnValue:
    """Answer a body whose chunks are not those of RFC 9112."""
    current_app.logger.info("a malformed body: %s", type(error).__name__)
    return domain_error(BadRequest("The body is not sent in proper chunks."))


@bp.app_errorhandler(ObjectDeletedError)
def deleted_meanwhile(error: ObjectDeletedError) -> ResponseReturnValue:
    """Answer a request whose member, or whose thing, was deleted meanwhile."""
    g.no_session = True
    return domain_error(Unauthorized() if "<User " in str(error) else NotFound("This was deleted just now."))


@bp.app_errorhandler(Exception)
def failure(error: Exception) -> ResponseReturnValue:
    """Answer a failure of ours: rolled back, logged with a reference, told to the administrators."""
    if isinstance(error, ConnectionError):
        current_app.logger.info("the client went away")
        return respond(400, "bad_request", "The connection broke off.")
    _roll_back()
    g.no_session = True
    reference = request_id()
    current_app.logger.error("failure %s", reference, exc_info=error)
    told = report_failure(reference, error)
    return respond(500, "internal_error", SENTENCES[500], reference=reference, told=told)
