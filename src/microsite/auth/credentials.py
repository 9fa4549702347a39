"""Credentials in the Authorization header: API keys, access tokens, and a key as the password of HTTP Basic (RFC 7617).

An API key is `mst_` and 256 random bits. Access tokens are in `access_tokens`.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import timedelta

from flask import Flask, Request, current_app, g
from sqlalchemy import Select, bindparam, or_, select, update
from werkzeug.datastructures import Authorization

from microsite.core.clock import now
from microsite.core.db import db
from microsite.core.exceptions import Forbidden, NotFound, Unauthorized, ValidationFailed
from microsite.core.feature import registry
from microsite.core.identity import User
from microsite.core.paging import Listing, Page
from microsite.core.sessions import SEEN_EVERY
from microsite.extensions import login_manager

from .access_tokens import TokenRefused, checked_token
from .models import ApiKey

KEY_PREFIX = "mst_"
KEYS_MAX = 50
KEY_WITH_USER = (
    select(ApiKey, User)
    .join(User, User.id == ApiKey.user_id)
    .where(ApiKey.secret_hash == bindparam("digest"))
)
"""Built once, since every request of a program runs it."""


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


class KeyRefused(Unauthorized):
    """An API key that opens nothing."""

    challenge = 'Bearer error="invalid_token"'

    def __init__(self) -> None:
        super().__init__("This key is not valid. It was deleted, has ended, or was not copied whole.")


def _by_header(request: Request) -> User | None:
    """Who the header opens for; None without one, and at addresses that ask for none. Raises Unauthorized."""
    given = request.authorization
    if given is None or not request.path.startswith("/api/"):
        return None
    try:
        return _by_authorization(given)
    except Unauthorized:
        g._login_user = login_manager.anonymous_user()  # whoever asks later, such as the log, asks in vain
        access = getattr(current_app.view_functions.get(request.endpoint or ""), "access", None)
        if access is None or access.public:
            return None
        raise


def _by_authorization(given: Authorization) -> User | None:
    if given.type == "basic":
        user = _by_key(given.password or "")
        if user.username_key != (given.username or "").lower():
            raise KeyRefused()
        return user
    if given.type == "bearer" and given.token:
        return _by_secret(given.token)
    return None


def _by_secret(secret: str) -> User:
    """The user whom this API key or access token opens for; remembers credential and scopes for this request.

    Raises Unauthorized.
    """
    return _by_key(secret) if secret.startswith(KEY_PREFIX) else _by_token(secret)


def for_socket(secret: str) -> tuple[User | None, int | None, Callable[[], bool]]:
    """What a live connection needs: the member, the session row behind a token, and whether a key is still good."""
    try:
        user = _by_secret(secret)
    except Unauthorized:
        user = None
    row_id = g.get("token_row_id")
    digest = hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
    return user, row_id, lambda: row_id is not None or db.session.scalar(_live_key(digest)) is not None


def _live_key(digest: str) -> Select[int]:
    ends = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now())
    return select(ApiKey.id).where(ApiKey.secret_hash == digest, ends)


def _by_key(secret: str) -> User:
    digest = hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
    found = db.session.execute(KEY_WITH_USER, {"digest": digest}).first()
    if found is None:
        raise KeyRefused()
    key, user = found
    moment = now()
    if (key.expires_at is not None and key.expires_at <= moment) or _usable(user) is None:
        raise KeyRefused()
    if key.used_at is None or moment - key.used_at >= SEEN_EVERY:
        with db.engine.begin() as connection:  # like a session's `seen`: on its own, at most once a minute
            connection.execute(update(ApiKey).where(ApiKey.id == key.id).values(used_at=moment))
    g.credential, g.scopes = "key", key.scope_list
    return user


def _by_token(token: str) -> User:
    row, user, claims = checked_token(token)
    if _usable(user) is None:
        raise TokenRefused("revoked")
    g.credential, g.token_row_id, g.token_claims = "token", row.id, claims
    return user


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
