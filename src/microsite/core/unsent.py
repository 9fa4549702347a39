"""Forms that were posted after their session's end: the text waits until its member has signed in again.

It waits sealed (Fernet) in the sign-in form of the browser that sent it, and after signing in for a moment in the new
session; no page and no request of anybody else can open it. It is shown in its form again, and never sent by itself:
the view runs once more with every form refused (`Form.validate`) and every write barred (`atomic`).

Whose text it is says the form token, which is signed: that of a member's session begins with the member's marker.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

from cryptography.fernet import Fernet, InvalidToken
from flask import Response, current_app, flash, g, make_response, redirect, request, session
from itsdangerous import BadData, URLSafeTimedSerializer
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from microsite.core.connection import body_waits
from microsite.core.db import NotSent
from microsite.core.exceptions import DomainError
from microsite.core.forms import password_names
from microsite.core.identity import User

TEXT_MAX = 64 * 2**10
BODY_MAX = 4 * TEXT_MAX
"""Bytes of a body that is read for its text; one of three bytes for a letter still fits."""
LIFE = 3600
"""Seconds."""
SLOT = "unsent"
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")
KEPT = (
    "You were signed out before this was sent. Sign in, and the form is shown again with your text, "
    "which is kept for an hour. Passwords and files are not kept, and nothing is sent by itself."
)
NOT_KEPT = (
    "You were signed out before this was sent. Nothing was done. If you typed something, go back with your browser "
    "and copy it first; then sign in, and do it again."
)
SHOWN = (
    "You were signed out before this was sent. Here is your text; look it over and send it. "
    "Type passwords and choose files again: they are not kept."
)
RENEWED = "You signed in anew after this page was opened, so it was not sent. Look it over and send it again."
NOT_SHOWN = "You were signed out before your last step, so it was not done. Do it again."


# --- whose form it is --------------------------------------------------------------------------------------------


def _key(purpose: str) -> bytes:
    return hashlib.sha256(f"{purpose} {current_app.config['SECRET_KEY']}".encode()).digest()


def _marker(user: User) -> str:
    return hmac.new(_key("member of a form"), str(user.id).encode(), hashlib.sha256).hexdigest()[:24]


def new_form_secret(user: User) -> str:
    """What the form tokens of a new session of this member carry."""
    return f"{_marker(user)}.{secrets.token_hex(20)}"


def _marker_of(token: str) -> str | None:
    """The marker that a form token of any session carries, when it was signed here."""
    try:
        secret = URLSafeTimedSerializer(current_app.secret_key or "", salt="wtf-csrf-token").loads(token)
    except BadData:
        return None
    marker, dot, _ = str(secret).partition(".")
    return marker if dot else None


# --- keeping -----------------------------------------------------------------------------------------------------


def keep() -> str | None:
    """The text of the form that this request posts, sealed for its member; None where it is nobody's or too long."""
    if request.method != "POST" or request.mimetype not in FORM_TYPES or not _from_this_site():
        return None
    if body_waits() or (request.content_length or 0) > BODY_MAX:
        return None
    request.max_content_length = BODY_MAX
    left_out = password_names() | {"csrf_token"}
    fields = [(name, text) for name, text in request.form.items(multi=True) if name not in left_out]
    marker = _marker_of(request.form.get("csrf_token", ""))
    kept = {
        "member": marker,
        "page": page(),
        "path": request.environ["PATH_INFO"],
        "query": request.environ.get("QUERY_STRING", ""),
        "fields": fields,
    }
    written = json.dumps(kept, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if marker is None or not fields or len(written) > TEXT_MAX:
        return None
    return _seal().encrypt(written).decode()


def _from_this_site() -> bool:
    """Whether the browser says so; silence is no proof."""
    fetched = request.headers.get("Sec-Fetch-Site")
    if fetched is not None:
        return fetched == "same-origin"
    origin = request.headers.get("Origin", "")
    return origin == current_app.config["BASE_URL"] or origin.partition("://")[2] == request.host


def page() -> str:
    """The page on which the form of this request stands: where the browser came from, or what its path shows by GET."""
    came_from = urlsplit(request.referrer or "")
    if came_from.netloc == request.host and came_from.path.startswith("/"):
        return came_from.path + (f"?{came_from.query}" if came_from.query else "")
    try:
        current_app.create_url_adapter(request).match(method="GET")  # type: ignore[union-attr]
    except (HTTPException, RequestRedirect):
        return str(current_app.config["ACCOUNT_PATH"])
    return request.full_path.rstrip("?")


def _seal() -> Fernet:
    return Fernet(base64.urlsafe_b64encode(_key("unsent form")))


def _opened(sealed: str, user: User) -> dict[str, Any] | None:
    try:
        kept: dict[str, Any] = json.loads(_seal().decrypt(sealed, ttl=LIFE))
    except (InvalidToken, ValueError):
        return None
    return kept if hmac.compare_digest(str(kept["member"]), _marker(user)) else None


# --- showing again -----------------------------------------------------------------------------------------------


def hand_over(sealed: str, user: User) -> str | None:
    """Put the text into the session of whoever signed in just now, when it is theirs; gives the page that shows it."""
    kept = _opened(sealed, user)
    if kept is None:
        return None
    session[SLOT] = sealed
    return str(kept["page"])


def show_again(user: User, refuse: Callable[[Any], Any]) -> Response | None:
    """The form that waits for this page, filled in again; None when there is none.

    `refuse` is the check of rights of the view to which the form belongs.
    """
    sealed = session.get(SLOT)
    kept = _opened(sealed, user) if sealed else None
    if kept is not None and kept["page"] != request.full_path.rstrip("?"):
        return None
    session.pop(SLOT, None)
    if kept is None:
        return None
    body = urlencode([tuple(pair) for pair in kept["fields"]], errors="surrogatepass").encode()
    environ = request.environ | {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": kept["path"],
        "QUERY_STRING": kept["query"],
        "CONTENT_TYPE": FORM_TYPES[0],
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    for own in ("werkzeug.request", "HTTP_TRANSFER_ENCODING", "wsgi.input_terminated"):
        environ.pop(own, None)
    with current_app.request_context(environ):
        shown = _form_again(SHOWN, 200, refuse)
    if shown is None:
        flash(NOT_SHOWN, "warning")
    return shown


def after_renewal(user: User) -> Response | None:
    """The form of this request, whose token is of an earlier session of the same member; None where it is not so."""
    if request.mimetype not in FORM_TYPES or not _from_this_site():
        return None
    page = hand_over(request.form.get(SLOT, ""), user)
    if page is not None:
        return make_response(redirect(page, 303))
    if _marker_of(request.form.get("csrf_token", "")) != _marker(user):
        return None
    return _form_again(RENEWED, 422)


def _form_again(sentence: str, status: int, refuse: Callable[[Any], Any] | None = None) -> Response | None:
    """What the view of the present request shows when its form is refused and nothing may be written.

    None when it shows no form.
    """
    g.not_sent = True
    try:
        if request.endpoint is None:
            return None
        view = current_app.view_functions[request.endpoint]
        if refuse is not None and refuse(view) is not None:
            return None
        flash(sentence, "warning")
        answer: Any = view(**(request.view_args or {}))
        response = make_response(answer)
    except (NotSent, DomainError, HTTPException):
        return None
    finally:
        g.pop("not_sent", None)
    if response.status_code in range(300, 400):
        return None
    response.status_code = status
    return response
