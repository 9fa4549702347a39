"""Credentials in the Authorization header: API keys, access tokens, and a key as the password of HTTP Basic (RFC 7617).

An API key is `mst_` and 256 random bits; an access token is a JWT (RFC 7519) of 15 minutes whose id is a session row,
so that it ends with "sign out everywhere".
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import timedelta

import jwt
from flask import Flask, Request, current_app, g
from sqlalchemy import Select, bindparam, or_, select, update

from microsite.core.clock import now
from microsite.core.db import db
from microsite.core.exceptions import Forbidden, NotFound, Unauthorized, ValidationFailed
from microsite.core.feature import registry
from microsite.core.identity import User
from microsite.core.paging import Listing, Page
from microsite.core.sessions import SEEN_EVERY, SessionRow, client_address, hashed, why_over
from microsite.extensions import login_manager

from .models import ApiKey

KEY_PREFIX = "mst_"
TOKEN_LIFE = timedelta(minutes=15)
ALGORITHM = "HS256"
KEYS_MAX = 50
KEY_WITH_USER = (
    select(ApiKey, User)
    .join(User, User.id == ApiKey.user_id)
    .where(ApiKey.secret_hash == bindparam("digest"))
)
TOKEN_WITH_USER = (
    select(SessionRow, User)
    .join(User, User.id == SessionRow.user_id)
    .where(SessionRow.id_hash == bindparam("id_hash"), SessionRow.kind == "token")
)
"""Built once, since every request of a program runs one of them."""


def setup(app: Flask) -> None:
    """Tell Flask-Login who somebody is, and the kernel where signing in happens."""
    app.config.update(
        SIGN_IN_PATH="/auth/login",
        SIGN_OUT_PATH="/auth/logout",
        REGISTER_PATH="/auth/register",
        ACCOUNT_PATH="/account/",
    )
    login_manager.user_loader(_by_session)
    login_manager.request_loader(_by_header)


def _usable(user: User | None) -> User | None:
    return user if user is not None and user.is_active and user.confirmed_at is not None else None


def _by_session(login_id: str) -> User | None:
    user: User | None = g.get("session_user")
    if user is None or user.login_id != login_id:
        user = db.session.scalar(select(User).where(User.login_id == login_id))
    return _usable(user)


def _by_header(request: Request) -> User | None:
    given = request.authorization
    if given is None or not request.path.startswith("/api/"):
        return None
    if given.type == "basic":
        user = by_secret(given.password or "")
        return user if user is not None and user.username_key == (given.username or "").lower() else None
    if given.type == "bearer" and given.token:
        return by_secret(given.token)
    return None


def by_secret(secret: str) -> User | None:
    """The member whom this API key or access token opens for; remembers credential and scopes for this request."""
    return _by_key(secret) if secret.startswith(KEY_PREFIX) else _by_token(secret)


def for_socket(secret: str) -> tuple[User | None, int | None, Callable[[], bool]]:
    """What a live connection needs: the member, the session row behind a token, and whether a key is still good."""
    user = by_secret(secret)
    row_id = g.get("token_row_id")
    digest = hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
    return user, row_id, lambda: row_id is not None or db.session.scalar(_live_key(digest)) is not None


def _live_key(digest: str) -> Select[int]:
    ends = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now())
    return select(ApiKey.id).where(ApiKey.secret_hash == digest, ends)


def _by_key(secret: str) -> User | None:
    digest = hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
    found = db.session.execute(KEY_WITH_USER, {"digest": digest}).first()
    if found is None:
        return None
    key, user = found
    moment = now()
    if key.expires_at is not None and key.expires_at <= moment:
        return None
    if key.used_at is None or moment - key.used_at >= SEEN_EVERY:
        with db.engine.begin() as connection:  # like a session's `seen`: on its own, at most once a minute
            connection.execute(update(ApiKey).where(ApiKey.id == key.id).values(used_at=moment))
    g.credential, g.scopes = "key", key.scope_list
    return _usable(user)


def _by_token(token: str) -> User | None:
    row = token_row(token)
    if row is None:
        return None
    g.credential, g.token_row_id = "token", row.id
    return _usable(db.session.get(User, row.user_id))


def token_row(token: str) -> SessionRow | None:
    """The live row behind an access token; its member is loaded with it."""
    try:
        claims = jwt.decode(
            token, _signing_key(), algorithms=[ALGORITHM], options={"require": ["exp", "jti", "sub"]}
        )
    except (jwt.InvalidTokenError, UnicodeError):
        return None
    found = db.session.execute(TOKEN_WITH_USER, {"id_hash": hashed(claims["jti"])}).first()
    return found[0] if found is not None and why_over(found[0], now()) is None else None


def _signing_key() -> bytes:
    return hashlib.sha256(b"access token " + current_app.config["SECRET_KEY"].encode()).digest()


def issue_token(user: User, login_id: str) -> tuple[str, int]:
    """An access token and its life in seconds, inside the present transaction.

    `login_id` is that under which the password was checked. Raises Unauthorized when it was rotated since.
    """
    if user.login_id != login_id:
        raise Unauthorized("The password was changed just now. Sign in with the new one.")
    token_id, moment = secrets.token_urlsafe(24), now()
    expires = moment + TOKEN_LIFE
    db.session.add(
        SessionRow(
            id_hash=hashed(token_id),
            kind="token",
            user_id=user.id,
            expires_at=expires,
            address=client_address(),
        )
    )
    claims = {"sub": user.login_id, "jti": token_id, "iat": moment, "exp": expires}
    return jwt.encode(claims, _signing_key(), ALGORITHM), int(TOKEN_LIFE.total_seconds())


def create_key(
    actor: User, name: str, scopes: list[str] | None, expires_in: int | None
) -> tuple[str, ApiKey]:
    """Make a key; its secret is returned this once. `expires_in` is seconds. Raises ValidationFailed, Forbidden."""
    if g.get("scopes") is not None:
        raise Forbidden("A key with scopes cannot make keys.")
    unknown = sorted(set(scopes or []) - set(registry().permissions))
    if unknown:
        raise ValidationFailed(
            {
                "scopes": [
                    f"{unknown[0]} is not a scope; known are {', '.join(sorted(registry().permissions))}."
                ]
            }
        )
    if len(keys_of(actor)) >= KEYS_MAX:
        raise ValidationFailed({"name": [f"You have {KEYS_MAX} keys, which is the most. Delete one first."]})
    secret = KEY_PREFIX + secrets.token_urlsafe(32)
    key = ApiKey(
        user_id=actor.id, name=name.strip(), secret_hash=hashlib.sha256(secret.encode()).hexdigest(), hint=secret[-4:],
        scopes=None if scopes is None else " ".join(sorted(set(scopes))),
        expires_at=None if expires_in is None else now() + timedelta(seconds=expires_in),
    )  # fmt: skip
    db.session.add(key)
    db.session.flush()
    current_app.logger.info("API key created", extra={"user": actor.username, "key": key.public_id})
    return secret, key


KEYS: Listing[ApiKey] = Listing(
    "keys", select(ApiKey).where(ApiKey.user_id == bindparam("user_id")), ApiKey.id
)


def keys_page(user: User, limit: int, cursor: str | None) -> Page[ApiKey]:
    """A page of a member's keys, newest first."""
    return KEYS.page(limit, cursor, user_id=user.id)


def keys_of(user: User) -> list[ApiKey]:
    """A member's keys, newest first."""
    return list(
        db.session.scalars(select(ApiKey).where(ApiKey.user_id == user.id).order_by(ApiKey.id.desc()))
    )


def delete_keys(user: User) -> None:
    """Delete all keys of a member."""
    for key in keys_of(user):
        db.session.delete(key)
    current_app.logger.info("API keys deleted", extra={"user": user.username})


def delete_key(actor: User, public_id: str) -> None:
    """Delete a key of one's own; it is refused from the next request on. Raises NotFound."""
    key = db.session.scalar(select(ApiKey).where(ApiKey.public_id == public_id, ApiKey.user_id == actor.id))
    if key is None:
        raise NotFound()
    db.session.delete(key)
    current_app.logger.info("API key deleted", extra={"user": actor.username, "key": public_id})
