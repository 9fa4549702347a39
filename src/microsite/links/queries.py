"""Read functions of links, for their makers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, or_, select

from microsite.core.clock import now
from microsite.core.db import db
from microsite.core.feature import registry
from microsite.core.identity import User
from microsite.core.paging import Listing, Page
from microsite.core.sharing import Shareable, SharedItem

from .models import Link, LinkEvent, State

LINKS: Listing[Link] = Listing(select(Link).where(Link.owner_id == bindparam("owner_id")), Link.id)
EVENTS: Listing[LinkEvent] = Listing(
    select(LinkEvent).where(LinkEvent.link_id == bindparam("link_id")), LinkEvent.id
)


def provider(kind: str) -> Shareable | None:
    """Who answers for things of that kind; None while that feature is off."""
    return registry().capability("shareable").get(kind)


def items_of(link: Link) -> list[SharedItem]:
    """What the link still hands out: deleted things are left out."""
    found: list[SharedItem] = []
    for kind in dict.fromkeys(item.kind for item in link.items):
        answering = provider(kind)
        if answering:
            found += answering.existing(
                link.owner_id, [item.item_id for item in link.items if item.kind == kind]
            )
    return found


def state_of(link: Link, items: list[SharedItem]) -> State:
    """The state that its maker sees; a link whose last thing was deleted hands out nothing any more."""
    state = link.state_at(now())
    return State.REVOKED if state is State.OPEN and link.kind == "files" and not items else state


def links_of(owner: User, limit: int, cursor: str | None) -> Page[Link]:
    """A page of a member's links, newest first."""
    return LINKS.page(limit, cursor, owner_id=owner.id)


def events_of(link: Link, limit: int, cursor: str | None) -> Page[LinkEvent]:
    """A page of what happened to a link, newest first."""
    return EVENTS.page(limit, cursor, link_id=link.id)


def first_opened(links: list[Link]) -> dict[int, Any]:
    """When each of these links was opened first."""
    query = select(LinkEvent.link_id, LinkEvent.time).where(
        LinkEvent.link_id.in_([link.id for link in links]), LinkEvent.type == "opened"
    )
    found: dict[int, Any] = {}
    for link_id, time in db.session.execute(query.order_by(LinkEvent.id)):
        found.setdefault(link_id, time)
    return found


def home_panel(user: User) -> dict[str, Any] | None:
    """The panel of links that are still open."""
    if not user.may("links:use"):
        return None
    still = (
        Link.revoked_at.is_(None),
        Link.expires_at > now(),
        or_(Link.max_uses.is_(None), Link.uses < Link.max_uses),
    )
    links = db.session.scalars(
        select(Link).where(Link.owner_id == user.id, *still).order_by(Link.expires_at).limit(5)
    ).all()
    return {"title": "Open links", "icon": "link-45deg", "template": "links/_panel.html", "links": links}
