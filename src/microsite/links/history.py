"""What happened to a link: events in the transaction that makes them true, and word to the maker who asked for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from microsite.core.clock import now
from microsite.core.db import atomic, db
from microsite.core.exceptions import RateLimited
from microsite.core.identity import User
from microsite.core.mailer import send_mail
from microsite.core.pages import absolute
from microsite.core.throttle import Throttle, address_key

from . import webhooks
from .exceptions import LinkGone
from .models import Link, LinkEvent
from .queries import called, items_of

NEWS = Throttle("link news", "10 per hour")
ADD_EVENT = insert(cast(Any, LinkEvent.__table__))
EVENTS_PER_HOUR = 200
"""Looks and downloads of one link that are remembered within an hour; a link that everybody finds would fill the table."""


@dataclass(frozen=True)
class Visitor:
    """Who opens a link, as far as it is known."""

    address: str
    agent: str


def record(link_id: int, event: str, visitor: Visitor | None = None, detail: str = "") -> None:
    """Add an event to the present transaction. Raises LinkGone for a link that was deleted meanwhile."""
    address, agent = (visitor.address[:45], visitor.agent[:200]) if visitor else ("", "")
    row = {"link_id": link_id, "type": event, "address": address, "agent": agent, "detail": detail[:255]}
    try:
        db.session.connection().execute(ADD_EVENT, row)
    except IntegrityError:
        raise LinkGone() from None


def happened(link: Link, event: str, visitor: Visitor | None = None, detail: str = "") -> None:
    """Add an event to the present transaction, and tell the maker's program. Raises LinkGone."""
    record(link.id, event, visitor, detail)
    if link.webhook is not None:
        told = {"address": visitor.address, "agent": visitor.agent} if visitor else {}
        webhooks.tell(link, event, detail=detail, **told)


def crowded(link_id: int, event: str) -> bool:
    """Whether so many of these were remembered within the hour that one more says nothing new."""
    return len(_of_hour(link_id, event)) == EVENTS_PER_HOUR


def _of_hour(link_id: int, event: str) -> Sequence[str]:
    since = LinkEvent.time > now() - timedelta(hours=1)
    same = select(LinkEvent.address).where(LinkEvent.link_id == link_id, LinkEvent.type == event, since)
    return db.session.scalars(same.limit(EVENTS_PER_HOUR)).all()


def record_page(link: Link, visitor: Visitor) -> None:
    """Remember that the page was looked at, once for each network address and hour."""
    link_id, key = link.id, address_key(visitor.address)
    if _seen_this_hour(link_id, key):
        return
    with atomic(despite_get="one page_opened for each link, address and hour"):
        of_link = select(Link.id).where(Link.id == link_id).with_for_update(key_share=True)
        if db.session.scalar(of_link) is None:
            raise LinkGone()
        if not _seen_this_hour(link_id, key):
            record(link_id, "page_opened", visitor)


def _seen_this_hour(link_id: int, key: str) -> bool:
    seen = _of_hour(link_id, "page_opened")
    return len(seen) == EVENTS_PER_HOUR or any(address_key(address) == key for address in seen)


def tell_owner(link: Link, template: str, **values: Any) -> None:
    """Queue a mail to the maker, in the present transaction; of one link no more than ten an hour."""
    try:
        NEWS.spend(link.id)
    except RateLimited:
        return
    owner = db.session.get(User, link.owner_id)
    assert owner is not None
    title = called(link, items_of(link))[:120]
    send_mail(
        owner.email,
        {"opened": f"Opened: {title}", "received": f"Files arrived: {title}"}[template],
        f"links/mail/{template}.txt",
        link=link, owner=owner, title=title, moment=now(), address=absolute(f"/links/{link.public_id}"), **values,
    )  # fmt: skip
