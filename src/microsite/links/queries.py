"""Read functions of links, for their makers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, func, or_, select
from sqlalchemy.orm import selectinload

from microsite.core.clock import now
from microsite.core.db import db
from microsite.core.feature import registry
from microsite.core.identity import User
from microsite.core.paging import Listing, Page
from microsite.core.sharing import Inbox, Shareable, SharedItem

from .models import Kind, Link, LinkEvent, LinkReport, LinkTicket, State

NEWS_FOR = timedelta(days=7)
LINKS: Listing[Link] = Listing(
    "links",
    select(Link).options(selectinload(Link.items)).where(Link.owner_id == bindparam("owner_id")),
    Link.id,
)
EVENTS: Listing[LinkEvent] = Listing(
    "link events", select(LinkEvent).where(LinkEvent.link_id == bindparam("link_id")), LinkEvent.id
)


def provider(kind: str) -> Shareable | None:
    """Who answers for things of that kind; None while that feature is off."""
    return registry().capability("shareable").get(kind)


def inbox() -> Inbox | None:
    """Who takes files that outsiders send in; None while no feature does."""
    return next(iter(registry().capability("inbox").values()), None)


def items_of(link: Link) -> list[SharedItem]:
    """What the link still hands out: deleted things are left out."""
    found: list[SharedItem] = []
    if link.kind not in (Kind.FILES, Kind.UPLOAD):
        return found
    for kind in dict.fromkeys(item.kind for item in link.items):
        answering = provider(kind)
        if answering:
            found += answering.existing(
                link.owner_id, [item.item_id for item in link.items if item.kind == kind]
            )
    return found


def pages_of(link: Link) -> dict[str, str]:
    """The paths of the pages of a link's things, for its maker, by their ids."""
    answering = {item.item_id: provider(item.kind) for item in link.items}
    return {item_id: found.page(item_id) for item_id, found in answering.items() if found}


def items_of_all(links: Sequence[Link]) -> dict[int, list[SharedItem]]:
    """`items_of` of many links of one owner, with one question for each kind of thing."""
    wanted = [item for link in links for item in link.items]
    known: dict[tuple[str, str], SharedItem] = {}
    for kind in {item.kind for item in wanted}:
        answering = provider(kind)
        if answering:
            ids = list({item.item_id for item in wanted if item.kind == kind})
            known |= {(kind, item.id): item for item in answering.existing(links[0].owner_id, ids)}
    return {
        link.id: [known[key] for item in link.items if (key := (item.kind, item.item_id)) in known]
        for link in links
    }


NAMES = {Kind.TEXT: "Note", Kind.UPLOAD: "Upload request", Kind.INVITATION: "Invitation"}


def called(link: Link, items: Sequence[SharedItem]) -> str:
    """What a link is called on its maker's pages and in mails."""
    names = ", ".join(item.name for item in items)
    return link.title or NAMES.get(Kind(link.kind)) or names or "Deleted files"


def taken_down(links: Sequence[Link]) -> set[int]:
    """Which of these an administrator took down."""
    ids = [link.id for link in links if link.revoked_at is not None]
    down = select(LinkEvent.link_id).where(LinkEvent.link_id.in_(ids), LinkEvent.type == "taken_down")
    return set(db.session.scalars(down)) if ids else set()


def state_of(link: Link, items: list[SharedItem]) -> State:
    """The state that its maker sees; a link whose last thing was deleted hands out nothing any more."""
    state = link.state_at(now())
    return State.REVOKED if state is State.OPEN and link.kind == Kind.FILES and not items else state


def links_of(owner: User, limit: int, cursor: str | None) -> Page[Link]:
    """A page of a member's links, newest first."""
    return LINKS.page(limit, cursor, owner_id=owner.id)


def events_of(link: Link, limit: int, cursor: str | None) -> Page[LinkEvent]:
    """A page of what happened to a link, newest first."""
    return EVENTS.page(limit, cursor, link_id=link.id)


def home_panel(user: User) -> dict[str, Any] | None:
    """The panel of links that are still open, with the news of those whose maker wants to be told."""
    if not user.may("links:use"):
        return None
    still = (
        Link.revoked_at.is_(None),
        Link.expires_at > now(),
        or_(Link.max_uses.is_(None), Link.uses < Link.max_uses),
    )
    things = selectinload(Link.items)
    mine = select(Link).options(things).where(Link.owner_id == user.id, *still)
    links = db.session.scalars(mine.order_by(Link.expires_at).limit(5)).all()
    told = LinkEvent.type.in_(("opened", "received", "reported", "taken_down"))
    news = db.session.execute(
        select(LinkEvent, Link)
        .options(things)
        .join(Link, Link.id == LinkEvent.link_id)
        .where(Link.owner_id == user.id, Link.notify, told, LinkEvent.time > now() - NEWS_FOR)
        .order_by(LinkEvent.id.desc())
        .limit(5)
    ).all()
    shown = list({link.id: link for link in [*links, *(link for _, link in news)]}.values())
    items = items_of_all(shown)
    return {
        "title": "Links" if news else "Open links", "icon": "link-45deg", "template": "links/_panel.html", "links": links, "news": news,
        "called": {link.id: called(link, items[link.id]) for link in shown},
        "reports": count_reported() if user.may("links:moderate") else 0,
    }  # fmt: skip


def count_reported() -> int:
    """Links with reports that nobody has looked at."""
    return len(reported())


def reported() -> list[tuple[Link, User, list[LinkReport]]]:
    """Links with unsettled reports, the newest report first, with their makers; at most 100."""
    query = (
        select(LinkReport, Link, User)
        .join(Link, Link.id == LinkReport.link_id)
        .join(User, User.id == Link.owner_id)
        .where(LinkReport.settled_at.is_(None))
    )
    found: dict[int, tuple[Link, User, list[LinkReport]]] = {}
    for report, link, maker in db.session.execute(query.order_by(LinkReport.id.desc()).limit(1000)):
        found.setdefault(link.id, (link, maker, []))[2].append(report)
    return list(found.values())


def findings() -> Iterator[str]:
    """For `microsite check`: texts that ought to be erased. A purge runs every five minutes; it gets a quarter of an hour."""
    moment = now() - timedelta(minutes=15)
    for model, what in ((Link, "links that are over"), (LinkTicket, "tickets that have ended")):
        over = (model.text.is_not(None), model.expires_at <= moment)
        count = db.session.scalar(select(func.count()).select_from(model).where(*over)) or 0
        if count:
            yield f"{count} {what} still hold their text; the job links.purge does not run."
    spent = or_(Link.revoked_at.is_not(None), Link.uses >= Link.max_uses)
    count = (
        db.session.scalar(select(func.count()).select_from(Link).where(Link.text.is_not(None), spent)) or 0
    )
    if count:
        yield f"{count} links that are used up or withdrawn still hold their text."
