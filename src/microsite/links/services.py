"""Verbs of links. `claim` is the only way in: one conditional UPDATE decides who opens."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Response, current_app
from sqlalchemy import ColumnElement, delete, exists, or_, select, update

from microsite.core.clock import now
from microsite.core.db import atomic, db, release
from microsite.core.exceptions import ValidationFailed
from microsite.core.feature import registry
from microsite.core.identity import Role, User
from microsite.core.passwords import check_password
from microsite.core.sharing import SharedItem
from microsite.core.throttle import Throttle, address_key

from .exceptions import LinkGone, PasswordRequired, PasswordWrong
from .models import Link, LinkEvent, LinkItem, LinkTicket, State
from .queries import items_of, provider

TICKET_LIFE = timedelta(minutes=15)
USES_MAX = 1_000_000
FILES_MAX = 100
WRONG_BY_ADDRESS = Throttle(
    "link password address", "5 per 5 minutes", "Too many wrong passwords for this link."
)
WRONG_BY_LINK = Throttle("link password", "100 per hour", "Too many wrong passwords for this link.")
ONE_TRY = tuple(threading.Lock() for _ in range(64))
"""Tries of one link come one after the other: all at once they would pass the limit before the first is counted."""


@dataclass(frozen=True)
class Visitor:
    """Who opens a link, as far as it is known."""

    address: str
    agent: str


@dataclass(frozen=True)
class Opened:
    """What a ticket opens."""

    ticket: str
    link: Link
    text: str | None
    items: list[SharedItem]
    expires_at: datetime


def hashed(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


# --- making ------------------------------------------------------------------------------------------------------


def limits(expires_in: int | None, max_uses: int | None) -> tuple[timedelta, int | None]:
    """The life and uses that a link gets. `expires_in` is seconds. Raises ValidationFailed beyond the operator's ceilings."""
    errors: dict[str, list[str]] = {}
    longest: timedelta = current_app.config["LINK_EXPIRY_MAX"]
    most: int | None = current_app.config["LINK_USES_MAX"]
    life = (
        min(current_app.config["LINK_EXPIRY_DEFAULT"], longest)
        if expires_in is None
        else timedelta(seconds=expires_in)
    )
    if not timedelta(seconds=1) <= life <= longest:
        errors["expires_in"] = [
            f"A link lives from 1 to {int(longest.total_seconds())} seconds here; {expires_in} were asked for."
        ]
    if max_uses is None and most is not None:
        errors["max_uses"] = [f"A link works at most {most} times here; unlimited was asked for."]
    elif max_uses is not None and not 1 <= max_uses <= (most or USES_MAX):
        errors["max_uses"] = [
            f"A link works from 1 to {most or USES_MAX} times here; {max_uses} was asked for."
        ]
    if errors:
        raise ValidationFailed(errors)
    return life, max_uses


def create_link(
    actor: User,
    *,
    files: Sequence[str] | None = None,
    text: str | None = None,
    expires_in: int | None = None,
    max_uses: int | None = 1,
    password_hash: str | None = None,
    title: str = "",
    note: str = "",
) -> tuple[Link, str]:
    """Make a link to files of the actor's own or to a note; returns it with its token, which is stored nowhere.

    `expires_in` is seconds, `max_uses` None means unlimited until expiry. Raises ValidationFailed.
    """
    if (files is None) == (text is None):
        raise ValidationFailed({"files": ["A link hands out either files or a text."]})
    life, max_uses = limits(expires_in, max_uses)
    token = secrets.token_urlsafe(24)
    link = Link(
        owner_id=actor.id, kind="files" if text is None else "text", token_hash=hashed(token), title=title.strip(),
        note=note.strip(), text=text, password_hash=password_hash, max_uses=max_uses, expires_at=now() + life,
    )  # fmt: skip
    if files is not None:
        wanted = list(dict.fromkeys(files))
        if len(wanted) > FILES_MAX:
            raise ValidationFailed(
                {"files": [f"A link hands out up to {FILES_MAX} files; {len(wanted)} were chosen."]}
            )
        answering = provider("files")
        own = {item.id for item in answering.own(actor, wanted)} if answering else set()
        missing = [item_id for item_id in wanted if item_id not in own]
        if missing or not wanted:
            raise ValidationFailed(
                {
                    "files": [
                        f"You have no file {missing[0][:40]!r}." if missing else "Choose at least one file."
                    ]
                }
            )
        link.items = [LinkItem(kind="files", item_id=item_id, position=n) for n, item_id in enumerate(wanted)]
    db.session.add(link)
    db.session.flush()
    _record(link.id, "created", None)
    return link, token


def revoke(link: Link) -> None:
    """End a link and its tickets at once, and erase its note; once is enough."""
    if link.revoked_at is None:
        link.revoked_at = now()
        _record(link.id, "revoked", None)
    link.text = None
    db.session.execute(delete(LinkTicket).where(LinkTicket.link_id == link.id))


def delete_all(user: User) -> None:
    """Delete all links of a member who leaves."""
    for link in db.session.scalars(select(Link).where(Link.owner_id == user.id)):
        db.session.delete(link)


def _record(link_id: int, kind: str, visitor: Visitor | None) -> None:
    address, agent = (visitor.address, visitor.agent[:200]) if visitor else ("", "")
    db.session.add(LinkEvent(link_id=link_id, type=kind, address=address, agent=agent))


# --- opening -----------------------------------------------------------------------------------------------------


def _owner_ok() -> ColumnElement[bool]:
    """SQL: the maker is enabled and may still hand things out."""
    least = registry().permissions["links:use"]
    roles = [role.value for role in Role if role.rank >= least.rank]
    return exists().where(User.id == Link.owner_id, User.disabled_at.is_(None), User.role.in_(roles))


def _still_open(moment: datetime) -> tuple[ColumnElement[bool], ...]:
    """SQL: everything that must hold for a use; the same conditions find and claim."""
    return (
        Link.revoked_at.is_(None),
        Link.expires_at > moment,
        or_(Link.max_uses.is_(None), Link.uses < Link.max_uses),
        _owner_ok(),
    )


def find_open(token: str) -> Link:
    """The link, while it can be opened. Spends nothing. Raises LinkGone, one answer for every reason."""
    link: Link | None = db.session.scalar(
        select(Link).where(Link.token_hash == hashed(token), *_still_open(now()))
    )
    if link is None or (link.kind == "files" and not items_of(link)):
        raise LinkGone()
    return link


def record_page(link: Link, visitor: Visitor) -> None:
    """Remember that the page was opened, once for each address and hour."""
    link_id, hour = link.id, now() - timedelta(hours=1)
    of_hour = (
        LinkEvent.link_id == link_id,
        LinkEvent.type == "page_opened",
        LinkEvent.address == visitor.address,
        LinkEvent.time > hour,
    )
    recent = select(LinkEvent.id).where(*of_hour).limit(1)
    if db.session.scalar(recent) is not None:
        return
    with atomic(despite_get="one page_opened for each link, address and hour"):
        db.session.execute(
            select(Link.id).where(Link.id == link_id).with_for_update()
        )  # of several at once one writes
        if db.session.scalar(recent) is None:
            _record(link_id, "page_opened", visitor)


def check_link_password(link: Link, password: str | None, visitor: Visitor) -> None:
    """Check the password before the claim; a wrong one is counted and remembered, and spends no use.

    Raises PasswordRequired, PasswordWrong, RateLimited. Not to be called inside `atomic()`.
    """
    if link.password_hash is None:
        return
    if not password:
        raise PasswordRequired()
    link_id, stored, address = link.id, link.password_hash, address_key(visitor.address)
    release()
    with ONE_TRY[link_id % len(ONE_TRY)]:
        WRONG_BY_ADDRESS.check(link_id, address)
        WRONG_BY_LINK.check(link_id)
        if check_password(stored, password):
            return
        WRONG_BY_ADDRESS.hit(link_id, address)
        WRONG_BY_LINK.hit(link_id)
    with atomic():
        _record(link_id, "password_failed", visitor)
    raise PasswordWrong()


def claim(token: str, visitor: Visitor) -> Opened:
    """Spend one use inside the present transaction: exactly as many win as there are uses, the others raise LinkGone.

    The event is in the same transaction. The winner gets a ticket; the last use erases a note from the link, and the
    ticket keeps a copy until it ends.
    """
    moment = now()
    won = db.session.execute(
        update(Link)
        .where(Link.token_hash == hashed(token), *_still_open(moment))
        .values(uses=Link.uses + 1)
        .execution_options(synchronize_session=False)
    )
    if won.rowcount != 1:  # type: ignore[attr-defined]
        raise LinkGone()
    link = db.session.scalars(
        select(Link).where(Link.token_hash == hashed(token)).execution_options(populate_existing=True)
    ).one()
    items = items_of(link)
    if link.kind == "files" and not items:
        raise LinkGone()
    text, ticket = link.text, secrets.token_urlsafe(24)
    expires_at = moment + TICKET_LIFE
    db.session.add(LinkTicket(link_id=link.id, ticket_hash=hashed(ticket), text=text, expires_at=expires_at))
    if link.state_at(moment) is State.USED:
        link.text = None
    _record(link.id, "opened", visitor)
    db.session.flush()
    return Opened(ticket, link, text, items, expires_at)


def by_ticket(ticket: str) -> Opened:
    """What a ticket still opens: not after its end, a revocation, the maker's end, or that of the last thing. Raises LinkGone."""
    query = select(LinkTicket, Link).join(Link, Link.id == LinkTicket.link_id)
    found = db.session.execute(
        query.where(
            LinkTicket.ticket_hash == hashed(ticket),
            LinkTicket.expires_at > now(),
            Link.revoked_at.is_(None),
            _owner_ok(),
        )
    ).first()
    if found is None:
        raise LinkGone()
    row, link = found
    items = items_of(link)
    if link.kind == "files" and not items:
        raise LinkGone()
    return Opened(ticket, link, row.text, items, row.expires_at)


def send_item(ticket: str, item_id: str, visitor: Visitor, *, first_read: bool) -> Response:
    """The bytes of one thing by a ticket; `first_read` remembers the download. Raises LinkGone."""
    opened = by_ticket(ticket)
    kind = next((item.kind for item in opened.link.items if item.item_id == item_id), None)
    answering = provider(kind) if kind else None
    if answering is None or item_id not in {item.id for item in opened.items}:
        raise LinkGone()
    owner_id, link_id = opened.link.owner_id, opened.link.id
    if first_read:
        with atomic(despite_get="the maker is told of each download"):
            _record(link_id, "downloaded", visitor)
    return answering.send(owner_id, item_id)


# --- ending ------------------------------------------------------------------------------------------------------


def purge() -> None:
    """Task: erase notes of links that are over, tell expired ones their event, and forget ended tickets."""
    moment = now()
    with atomic():
        db.session.execute(delete(LinkTicket).where(LinkTicket.expires_at <= moment))
        over = db.session.scalars(
            select(Link).where(Link.purged_at.is_(None), Link.expires_at <= moment).limit(1000)
        ).all()
        for link in over:
            if link.state_at(moment) is State.EXPIRED:
                _record(link.id, "expired", None)
            link.text, link.purged_at = None, moment
