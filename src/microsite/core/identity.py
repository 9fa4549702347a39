"""Who somebody is: User and Role, the only models that a feature may refer to."""

from __future__ import annotations

import secrets
from datetime import datetime
from enum import StrEnum

from flask import current_app, g, has_request_context
from flask_login import AnonymousUserMixin, UserMixin
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from microsite.core.clock import now
from microsite.core.db import Base, UTCDateTime


class Role(StrEnum):
    """One per member, each with all rights of those before it."""

    GUEST = "guest"
    MEMBER = "member"
    MANAGER = "manager"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        return _RANKS[self]


_RANKS = {role: rank for rank, role in enumerate(Role)}


def rotated_login_id() -> str:
    """A fresh value for `User.login_id`: whatever was signed in under the old one no longer is."""
    return secrets.token_urlsafe(24)


class User(Base, UserMixin):
    """A member of the site."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(32))
    username_key: Mapped[str] = mapped_column(String(32), unique=True)
    email: Mapped[str] = mapped_column(String(254))
    email_key: Mapped[str] = mapped_column(String(254), unique=True)
    password_hash: Mapped[str] = mapped_column(String(100))
    login_id: Mapped[str] = mapped_column(String(32), unique=True, default=rotated_login_id)
    role: Mapped[str] = mapped_column(String(16), default=Role.MEMBER.value)
    name: Mapped[str] = mapped_column(String(80), default="")
    about: Mapped[str] = mapped_column(String(500), default="")
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)
    confirmed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    disabled_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    def get_id(self) -> str:
        """Flask-Login's id: random and rotatable, never the row's number."""
        return self.login_id

    @property
    def is_active(self) -> bool:
        return self.disabled_at is None

    @property
    def display_name(self) -> str:
        return self.name or self.username

    def may(self, permission: str) -> bool:
        """Whether the role, and the scopes of the credential in use, grant `permission`.

        The least role for each permission stands on the feature's card.
        """
        least: Role | None = current_app.extensions["microsite"].permissions.get(permission)
        if least is None or Role(self.role).rank < least.rank:
            return False
        scopes = g.get("scopes") if has_request_context() else None
        return scopes is None or permission in scopes


class Anonymous(AnonymousUserMixin):
    """Nobody is signed in; answers the same questions as a member."""

    id = None
    username = ""
    display_name = ""
    role = ""

    def may(self, permission: str) -> bool:  # noqa: ARG002 - same question as User.may
        return False
