"""Tables of links: the promise, what it hands out, what happened to it, and the winners' tickets."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from microsite.core.clock import now
from microsite.core.db import Base, UTCDateTime, opaque_id


class State(StrEnum):
    OPEN = "open"
    USED = "used"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Link(Base):
    """What its maker promised: these things, this often, until then. Only the hash of its token is stored."""

    __tablename__ = "links"
    __table_args__ = (Index("ix_links_owner_id_id", "owner_id", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(22), unique=True, default=opaque_id)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(16))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    title: Mapped[str] = mapped_column(String(120), default="")
    note: Mapped[str] = mapped_column(String(1000), default="")
    text: Mapped[str | None] = mapped_column(Text)
    password_hash: Mapped[str | None] = mapped_column(String(100))
    max_uses: Mapped[int | None] = mapped_column()
    uses: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime, index=True)
    revoked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    purged_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    items: Mapped[list[LinkItem]] = relationship(
        order_by="LinkItem.position", cascade="all, delete-orphan", lazy="selectin"
    )

    def state_at(self, moment: datetime) -> State:
        if self.revoked_at is not None:
            return State.REVOKED
        if self.max_uses is not None and self.uses >= self.max_uses:
            return State.USED
        return State.EXPIRED if self.expires_at <= moment else State.OPEN


class LinkItem(Base):
    """One thing of another feature, named by that feature and its id."""

    __tablename__ = "link_items"

    id: Mapped[int] = mapped_column(primary_key=True)
    link_id: Mapped[int] = mapped_column(ForeignKey("links.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(32))
    item_id: Mapped[str] = mapped_column(String(40))
    position: Mapped[int] = mapped_column()


class LinkEvent(Base):
    """Something that happened: created, page_opened, password_failed, opened, downloaded, expired, revoked."""

    __tablename__ = "link_events"
    __table_args__ = (Index("ix_link_events_link_id_id", "link_id", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    link_id: Mapped[int] = mapped_column(ForeignKey("links.id", ondelete="CASCADE"))
    type: Mapped[str] = mapped_column(String(20))
    time: Mapped[datetime] = mapped_column(UTCDateTime, default=now)
    address: Mapped[str] = mapped_column(String(45), default="")
    agent: Mapped[str] = mapped_column(String(200), default="")


class LinkTicket(Base):
    """What a winner of `claim` reads with for a quarter of an hour; a spent note lives on in it for that long."""

    __tablename__ = "link_tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    link_id: Mapped[int] = mapped_column(ForeignKey("links.id", ondelete="CASCADE"), index=True)
    ticket_hash: Mapped[str] = mapped_column(String(64), unique=True)
    text: Mapped[str | None] = mapped_column(Text)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime, index=True)
