"""Access tokens: JWT (RFC 7519), signed with HS256 alone, whose id is a session row, so that they end with the others.

Every claim is required and checked by type and value, without leeway. What was wrong is told only to whoever has a token
that was signed here.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from datetime import timedelta
from typing import Any

import jwt
from flask import current_app
from sqlalchemy import bindparam, select

from microsite.core.clock import now
from microsite.core.db import db
from microsite.core.exceptions import Unauthorized
from microsite.core.identity import User
from microsite.core.sessions import SessionRow, client_address, hashed, why_over

ALGORITHM = "HS256"
LIFE_SECONDS, LIFE_MIN, LIFE_MAX = 900, 60, 86_400
ROW_OF_TOKEN = (
    select(SessionRow, User)
    .join(User, User.id == SessionRow.user_id)
    .where(SessionRow.id_hash == bindparam("id_hash"), SessionRow.kind == "token")
)
"""Built once, since every request of a program runs it."""
SENTENCES = {
    "": "This token is not valid. Ask for a new one.",
    "expired": "This token has ended. Ask for a new one.",
    "issuer": "This token was issued by another site.",
    "audience": "This token is not for this API.",
    "revoked": "This token was ended. Ask for a new one.",
}


class TokenRefused(Unauthorized):
    """A token that opens nothing; `reason` is "" where its signature or its form is wrong."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(SENTENCES[reason])
        description = f', error_description="{reason}"' if reason else ""
        self.challenge = f'Bearer error="invalid_token"{description}'


def issue_token(user: User, login_id: str, life: int) -> str:
    """An access token of `life` seconds, inside the present transaction.

    `login_id` is that under which the password was checked. Raises Unauthorized when it was rotated since.
    """
    if user.login_id != login_id:
        raise Unauthorized("The password was changed just now. Sign in with the new one.")
    token_id, moment = secrets.token_urlsafe(24), now().replace(microsecond=0)
    expires = moment + timedelta(seconds=life)
    db.session.add(
        SessionRow(
            id_hash=hashed(token_id),
            kind="token",
            user_id=user.id,
            expires_at=expires,
            address=client_address(),
        )
    )
    claims = {
        "iss": _issuer(),
        "aud": _audience(),
        "sub": user.login_id,
        "jti": token_id,
        "iat": int(moment.timestamp()),
        "exp": int(expires.timestamp()),
        "username": user.username,
    }
    return jwt.encode(claims, _signing_key(), ALGORITHM)


def checked_token(token: str) -> tuple[SessionRow, User, dict[str, Any]]:
    """The live row behind an access token, its user, and its claims. Raises TokenRefused."""
    claims = _signed_claims(token)
    moment = int(time.time())
    if not all(isinstance(claims.get(name), str) for name in ("sub", "jti")):
        raise TokenRefused()
    if not all(type(claims.get(name)) is int for name in ("iat", "exp")) or claims["iat"] > moment:
        raise TokenRefused()
    if claims["exp"] <= moment:
        raise TokenRefused("expired")
    if claims.get("iss") != _issuer():
        raise TokenRefused("issuer")
    if claims.get("aud") != _audience():
        raise TokenRefused("audience")
    row = db.session.execute(ROW_OF_TOKEN, {"id_hash": hashed(claims["jti"])}).first()
    if row is None or why_over(row[0], now()) is not None or row[1].login_id != claims["sub"]:
        raise TokenRefused("revoked")
    return row[0], row[1], claims


def _signed_claims(token: str) -> dict[str, Any]:
    try:
        payload = jwt.PyJWS().decode(token, _signing_key(), algorithms=[ALGORITHM])
        claims = json.loads(payload)
    except (jwt.InvalidTokenError, ValueError):
        raise TokenRefused() from None
    if not isinstance(claims, dict):
        raise TokenRefused()
    return claims


def _signing_key() -> bytes:
    return hashlib.sha256(b"access token " + current_app.config["SECRET_KEY"].encode()).digest()


def _issuer() -> str:
    issuer: str = current_app.config["BASE_URL"]
    return issuer


def _audience() -> str:
    return f"{_issuer()}/api"
