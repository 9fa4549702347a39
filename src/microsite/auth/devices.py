"""Known devices: a browser that signed in before gets in while guesses of strangers have closed its account.

The cookie proves no more than that. It dies with a new password and with "sign out everywhere", since it is bound to
`User.login_id`, and has a limit of wrong passwords of its own (OWASP, "Slow Down Online Guessing Attacks with Device
Cookies").
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import timedelta

from flask import current_app, request
from itsdangerous import BadData, URLSafeTimedSerializer
from werkzeug.wrappers import Response

from microsite.core.identity import User

LIFE = timedelta(days=180)


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_app.config["SECRET_KEY"], salt="known device")


def _cookie_name() -> str:
    if current_app.config["SESSION_COOKIE_SECURE"]:
        return "__Secure-device"
    return f"device_{current_app.config['PORT']}"


def _bond(user: User) -> str:
    key = current_app.config["SECRET_KEY"].encode()
    return hmac.new(key, f"known device {user.login_id}".encode(), hashlib.sha256).hexdigest()[:32]


def presented() -> str:
    """What the browser of this request shows."""
    return request.cookies.get(_cookie_name(), "")


def known(cookie: str, user: User) -> str | None:
    """The name of the device under which its tries are counted; None where it is not one of this user."""
    try:
        name, bond = _signer().loads(cookie, max_age=int(LIFE.total_seconds()))
    except (BadData, ValueError, TypeError):
        return None
    return str(name) if hmac.compare_digest(str(bond), _bond(user)) else None


def remember(response: Response, user: User) -> Response:
    """The same response, by which the browser becomes a known device of whoever signed in."""
    name = known(presented(), user) or secrets.token_urlsafe(16)
    response.set_cookie(
        _cookie_name(), str(_signer().dumps([name, _bond(user)])), max_age=LIFE, path="/auth", httponly=True,
        samesite="Lax", secure=current_app.config["SESSION_COOKIE_SECURE"],
    )  # fmt: skip
    return response
