"""Tables of links: the promise, what it hands out, what happened to it, the winners' tickets, and reports of abuse."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, false
from sqlalchemy.orm import Mapped, mapped_column, relationship

from microsite.core.clock import now
from microsite.core.db import Base, UTCDateTime, opaque_id


class State(StrEnum):
    OPEN = "open"
    USED = "used"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Kind(StrEnum):
    """What a link is for."""

    FILES = "files"
    TEXT = "text"
    UPLOAD = "upload"
    INVITATION = "invitation"


class Link(Base):
    """What its maker promised: these things, this often, until then. Only the hash of its token is stored."""

    __tablename__ = "links"
    __table_args__ = (Index("ix_links_owner_id_id", "owner_id", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(22), unique=True, default=opaque_id)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(16))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str | None] = mapped_column(String(64))
    """The token itself where it is a public name; the only token that is kept."""
    title: Mapped[str] = mapped_column(String(120), default="")
    note: Mapped[str] = mapped_column(String(1000), default="")
    recipient: Mapped[str] = mapped_column(String(254), default="", server_default="")
    password_hash: Mapped[str | None] = mapped_column(String(100))

    text: Mapped[str | None] = mapped_column(Text)
    """A note; of one that is encrypted in the browser, its ciphertext."""
    proof_hash: Mapped[str | None] = mapped_column(String(64))
    """SHA-256 of what only a holder of the note's key can show; None for a note that is not encrypted."""
    upload_files_max: Mapped[int | None] = mapped_column()
    upload_size_max: Mapped[int | None] = mapped_column(BigInteger)
    upload_types: Mapped[str] = mapped_column(String(500), default="", server_default="")
    received: Mapped[int] = mapped_column(default=0, server_default="0")
    role: Mapped[str] = mapped_column(String(16), default="", server_default="")

    webhook: Mapped[str | None] = mapped_column(String(500))
    """An address of the maker's program, which is told what happens."""
    notify: Mapped[bool] = mapped_column(default=False, server_default=false())
    show_items: Mapped[bool] = mapped_column(default=False, server_default=false())
    hold: Mapped[bool] = mapped_column(default=False, server_default=false())
    shorten_to: Mapped[int | None] = mapped_column()
    """Seconds that the link has left after its first opening."""

    max_uses: Mapped[int | None] = mapped_column()
    uses: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime, index=True)
    opened_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    purged_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    items: Mapped[list[LinkItem]] = relationship(order_by="LinkItem.position", cascade="all, delete-orphan")

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
    """Something that happened: created, page_opened, password_failed, opened, download_started, downloaded (whole),
    ended, webhook_failed, received, extended, reported, expired, revoked, taken_down. `detail` names the thing concerned."""

    __tablename__ = "link_events"
    __table_args__ = (Index("ix_link_events_link_id_id", "link_id", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    link_id: Mapped[int] = mapped_column(ForeignKey("links.id", ondelete="CASCADE"))
    type: Mapped[str] = mapped_column(String(20))
    time: Mapped[datetime] = mapped_column(UTCDateTime, default=now)
    address: Mapped[str] = mapped_column(String(45), default="")
    agent: Mapped[str] = mapped_column(String(200), default="")
    detail: Mapped[str] = mapped_column(String(255), default="", server_default="")


class LinkTicket(Base):
    """What a winner of `claim` reads with for a short while; a spent note lives on in it for that long.

    In a browser a cookie belongs to it, so that its address alone is worth nothing.
    """

    __tablename__ = "link_tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    link_id: Mapped[int] = mapped_column(ForeignKey("links.id", ondelete="CASCADE"), index=True)
    ticket_hash: Mapped[str] = mapped_column(String(64), unique=True)
    text: Mapped[str | None] = mapped_column(Text)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime, index=True)
    cookie_hash: Mapped[str | None] = mapped_column(String(64))
    of_owner: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Made for the link's own maker, who spends nothing and leaves no trace."""
    received: Mapped[int] = mapped_column(default=0, server_default="0")


class LinkName(Base):
    """A public name whose link was deleted, and who may have it again before others."""

    __tablename__ = "link_names"

    name_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner_id: Mapped[int] = mapped_column()
    """Of a member who may be gone, so no foreign key."""
    rests_until: Mapped[datetime] = mapped_column(UTCDateTime)


class LinkReport(Base):
    """A recipient's word that a link is being abused."""

    __tablename__ = "link_reports"

    id: Mapped[int] = mapped_column(primary_key=True)
    link_id: Mapped[int] = mapped_column(ForeignKey("links.id", ondelete="CASCADE"), index=True)
    reason: Mapped[str] = mapped_column(String(1000))
    address: Mapped[str] = mapped_column(String(45), default="")
    time: Mapped[datetime] = mapped_column(UTCDateTime, default=now)
    settled_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
