"""Single-use tokens that travel by mail or terminal: 256 random bits, hashed at rest, bound to one purpose."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import ForeignKey, String, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from microsite.core.clock import now
from microsite.core.db import Base, UTCDateTime, atomic, db
from microsite.core.exceptions import Gone
from microsite.core.identity import User

GONE = "This address was used already, has ended, or was replaced by a newer one. Ask for a new one."


class MailToken(Base):
    """One promise to let its bearer do one thing once."""

    __tablename__ = "mail_tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    purpose: Mapped[str] = mapped_column(String(16))
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime)
    spent_at: Mapped[datetime | None] = mapped_column(UTCDateTime)


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def issue(purpose: str, user: User | None, life: timedelta) -> str:
    """Make a token inside the present transaction; it withdraws the older ones for the same purpose."""
    withdraw(purpose, user)
    token = secrets.token_urlsafe(32)
    user_id = user.id if user else None
    db.session.add(
        MailToken(token_hash=_hashed(token), purpose=purpose, user_id=user_id, expires_at=now() + life)
    )
    return token


def withdraw(purpose: str, user: User | None) -> None:
    """Withdraw what was issued for this purpose."""
    owner = MailToken.user_id == user.id if user else MailToken.user_id.is_(None)
    db.session.execute(delete(MailToken).where(MailToken.purpose == purpose, owner))


def look(purpose: str, token: str) -> MailToken:
    """The token, unspent. Raises Gone."""
    found = db.session.scalar(
        select(MailToken).where(MailToken.token_hash == _hashed(token), MailToken.purpose == purpose)
    )
    if found is None or found.spent_at is not None or found.expires_at <= now():
        raise Gone(GONE)
    return found


def spend(purpose: str, token: str) -> User | None:
    """Spend the token inside the present transaction: of several at once one wins, the others raise Gone."""
    still_valid = (MailToken.spent_at.is_(None), MailToken.expires_at > now())
    won = db.session.execute(
        update(MailToken)
        .where(MailToken.token_hash == _hashed(token), MailToken.purpose == purpose, *still_valid)
        .values(spent_at=now())
    )
    if won.rowcount != 1:  # type: ignore[attr-defined]
        raise Gone(GONE)
    found = db.session.scalars(select(MailToken).where(MailToken.token_hash == _hashed(token))).one()
    return db.session.get(User, found.user_id) if found.user_id else None


def purge_tokens() -> None:
    """Task: delete what has ended."""
    with atomic():
        db.session.execute(delete(MailToken).where(MailToken.expires_at < now() - timedelta(days=1)))
