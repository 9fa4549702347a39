"""Who may do what: declarations on views, and the guard that reads them. What is not declared is refused.

The guard also keeps the order of a request: rights, then size, then the proof against forged forms, then the view.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Flask, current_app, g, redirect, request, session
from flask.typing import ResponseReturnValue
from flask_login import current_user
from flask_wtf.csrf import CSRFError, validate_csrf
from wtforms import ValidationError

from microsite.core import unsent
from microsite.core.connection import body_waits
from microsite.core.exceptions import BadRequest, CsrfFailed, FileTooLarge, Forbidden, Unauthorized
from microsite.core.feature import registry
from microsite.core.slots import slot
from microsite.extensions import csrf, login_manager

View = TypeVar("View", bound=Callable[..., Any])
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
FORM_LIMIT = 2 * 2**20
"""Bytes that a body may have where the view says nothing else."""


@dataclass(frozen=True)
class Access:
    """The declaration of one endpoint."""

    public: bool = False
    permission: str | None = None


def _declare(view: View, access: Access) -> View:
    if hasattr(view, "access"):
        raise TypeError(f"{view.__qualname__} declares its access twice")
    view.access = access  # type: ignore[attr-defined]
    return view


def public(view: View) -> View:
    """Everybody may call this."""
    return _declare(view, Access(public=True))


def signed_in(view: View) -> View:
    """Every member may call this, whatever the role."""
    return _declare(view, Access())


def requires(permission: str) -> Callable[[View], View]:
    """Members whose role and credential grant `permission` may call this."""
    return lambda view: _declare(view, Access(permission=permission))


def without_csrf(reason: str) -> Callable[[View], View]:
    """This view needs no proof against forged forms, and the reason says why."""

    def mark(view: View) -> View:
        view.without_csrf = reason  # type: ignore[attr-defined]
        return view

    return mark


def takes_uploads(view: View) -> View:
    """This view streams its body through `core.uploads`, which checks size and form token on the way."""
    view.takes_uploads = True  # type: ignore[attr-defined]
    return view


def is_api() -> bool:
    """Whether this request is for the JSON API, by its path."""
    return request.path.startswith("/api/")


def wants_json() -> bool:
    """JSON under /api/, and wherever Accept prefers it to a page."""
    if is_api():
        return True
    best = request.accept_mimetypes.best_match(["text/html", "application/json", "application/problem+json"])
    return best is not None and best != "text/html"


def by_credential() -> bool:
    """Whether a credential in the Authorization header, not a browser session, opened this request."""
    return bool(g.get("credential"))


def check_access(view: Callable[..., Any]) -> ResponseReturnValue | None:
    """Refuse, ask to sign in (a response), or pass (None)."""
    access: Access | None = getattr(view, "access", None)
    if access is None:
        raise Forbidden("This address has not been opened to anybody.")
    if access.public:
        return None
    if not current_user.is_authenticated:
        if request.method not in ("GET", "HEAD") or is_api():
            return _sign_in_again(view)
        response: ResponseReturnValue = login_manager.unauthorized()
        return response
    if access.permission and not current_user.may(access.permission):
        raise Forbidden("Your role or your key does not allow this.")
    return None


def _sign_in_again(view: Callable[..., Any]) -> ResponseReturnValue:
    """The sign-in page, to which the text of a posted form goes along. Raises Unauthorized for programs."""
    pages = list(registry().capability("sign_in_again").values())
    if wants_json() or request.method != "POST" or not pages:
        raise Unauthorized()
    kept = None if getattr(view, "takes_uploads", False) else unsent.keep()
    answer: ResponseReturnValue = pages[0](kept, unsent.page())
    return answer


def check_csrf(token: str | None = None) -> None:
    """Raise CsrfFailed unless the token (by default that of header or form) belongs to this session."""
    try:
        if token is not None:
            validate_csrf(token)
            g.csrf_valid = True  # a form of the same request need not prove it again
        else:
            csrf.protect()
    except (CSRFError, ValidationError):
        raise CsrfFailed(
            "This page was open too long, or the form did not come from this site. Reload it and try again."
        ) from None


def same_origin() -> bool:
    """Whether the browser says that this request came from a page of this site; True where it says nothing."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") == "cross-site":
        return False
    origin = request.headers.get("Origin")
    return (
        origin is None
        or origin == current_app.config["BASE_URL"]
        or origin.partition("://")[2] == request.host
    )


def guard() -> ResponseReturnValue | None:
    """The order of every request."""
    if "session_failure" in g:
        raise g.session_failure
    if request.routing_exception is not None:
        return None  # the dispatcher raises it: 404, 405 or a redirect
    view = current_app.view_functions[request.endpoint or ""]
    refused = check_access(view)
    if refused is not None:
        return refused
    if request.method == "GET" and g.get("session_user") is not None and unsent.SLOT in session:
        shown = unsent.show_again(current_user, check_access)
        if shown is not None:
            return shown
    if getattr(view, "takes_uploads", False):
        request.max_content_length = None  # core.uploads knows the limit
    else:
        request.max_content_length = FORM_LIMIT
        _check_form_length()
    if request.method in UNSAFE and not by_credential() and not hasattr(view, "without_csrf"):
        if not same_origin():
            raise CsrfFailed("This came from another site.")
        header = request.headers.get("X-CSRFToken")
        if not getattr(view, "takes_uploads", False) or header:
            return _check_form_token(header)
    return None


def _check_form_token(header: str | None) -> ResponseReturnValue | None:
    """Raise CsrfFailed; where the token is of an earlier session of the same member, show the form again."""
    try:
        check_csrf(header)
    except CsrfFailed:
        shown = None
        if header is None and current_user.is_authenticated and not wants_json():
            shown = unsent.after_renewal(current_user)
        if shown is None:
            raise
        return shown
    return None


def _check_form_length() -> None:
    """Raises FileTooLarge; of a body with an announced length before it is read."""
    length = request.content_length
    if length is not None and length > FORM_LIMIT:
        raise FileTooLarge(FORM_LIMIT, length)
    if body_waits():
        _read_form(length)


def _read_form(length: int | None) -> None:
    """Read a body that the server has not collected: it may hold a thread, so in a slot.

    Raises FileTooLarge, BadRequest when it breaks off, Unavailable.
    """
    # Werkzeug cuts what comes in chunks at its limit, without a word.
    request.max_content_length = FORM_LIMIT + 1
    with slot():
        body = request.get_data()
    if len(body) > FORM_LIMIT:
        raise FileTooLarge(FORM_LIMIT)
    if length is not None and len(body) != length:
        raise BadRequest(f"The request broke off after {len(body)} of {length} bytes, or took too long.")


def sign_in_page() -> ResponseReturnValue:
    """Send a visitor to the sign-in page, and back afterwards."""
    from urllib.parse import quote

    target = request.full_path.rstrip("?")
    query = f"?next={quote(target, safe='/')}" + (
        f"&ended={g.session_ended}" if g.get("session_ended") else ""
    )
    return redirect(current_app.config["SIGN_IN_PATH"] + query, 302)


def open_to_all(app: Flask, *endpoints: str) -> None:
    """Declare views that a library registered, such as static files, as public."""
    for endpoint in endpoints:
        view = app.view_functions[endpoint]
        app.view_functions[endpoint] = public(lambda view=view, **values: view(**values))


def init_app(app: Flask) -> None:
    app.config.update(WTF_CSRF_CHECK_DEFAULT=False, WTF_CSRF_TIME_LIMIT=None, WTF_CSRF_SSL_STRICT=False)
    csrf.init_app(app)
    login_manager.init_app(app)
    login_manager.session_protection = None
    login_manager.unauthorized_handler(sign_in_page)
    app.before_request(guard)
