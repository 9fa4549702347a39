"""The recipient's verbs of links. `claim` is the only way in: one conditional UPDATE decides who opens.

Order of an opening: password and proof of key first, which spend nothing; then the claim; then, by the ticket that
the winner got, the things themselves. Every byte leaves through `send_item` or `send_all`.
"""

from __future__ import annotations

import hmac
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, cast

from flask import Response, current_app
from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    String,
    Update,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from microsite.core.clock import now
from microsite.core.db import UTCDateTime, atomic, db, release
from microsite.core.downloads import ZipMember, may_show, send_zip
from microsite.core.exceptions import ValidationFailed
from microsite.core.feature import registry
from microsite.core.identity import Role, User
from microsite.core.passwords import check_password
from microsite.core.sharing import Shareable, SharedItem
from microsite.core.slots import Holder, Slot, take_slot
from microsite.core.throttle import Throttle, address_key

from .exceptions import LinkGone, PasswordRequired, PasswordWrong, ProofMissing
from .history import Visitor, crowded, happened, record, tell_owner
from .models import Kind, Link, LinkEvent, LinkReport, LinkTicket, State
from .queries import items_of, provider
from .services import erase_text, hashed

TICKET_LIFE = timedelta(minutes=15)
SENDING_LIFE = timedelta(hours=2)
"""An upload ticket lives longer: gathering files and sending large ones takes time."""
WRONG_BY_ADDRESS = Throttle(
    "link password address", "5 per 5 minutes", "Too many wrong passwords for this link."
)
WRONG_BY_LINK = Throttle("link password", "100 per hour", "Too many wrong passwords for this link.")
REPORTS = Throttle("link reports", "10 per hour", "Too many reports from your network.")
ADD_TICKET = insert(cast(Any, LinkTicket.__table__))


@dataclass(frozen=True)
class Opened:
    """What a ticket opens; `cookie` is the secret that a browser gets beside it."""

    ticket: str
    link: Link
    text: str | None
    items: list[SharedItem]
    expires_at: datetime
    of_owner: bool = False
    cookie: str | None = None
    received: int = 0


# --- before the claim --------------------------------------------------------------------------------------------


def owner_ok() -> ColumnElement[bool]:
    """SQL: the maker may still use links; otherwise the links have stopped."""
    least = registry().permissions["links:use"]
    roles = [role.value for role in Role if role.rank >= least.rank]
    return exists().where(User.id == Link.owner_id, User.disabled_at.is_(None), User.role.in_(roles))


def _still_open() -> tuple[ColumnElement[bool], ...]:
    """SQL: everything that must hold for a use of `asked_hash` at `moment`; the same conditions find and claim."""
    return (
        Link.token_hash == bindparam("asked_hash", type_=String),
        Link.revoked_at.is_(None),
        Link.expires_at > bindparam("moment", type_=UTCDateTime),
        or_(Link.max_uses.is_(None), Link.uses < Link.max_uses),
        owner_ok(),
    )


@cache
def _find() -> Select[Link]:
    """Built once, like `_take` and `_taken`: every opening runs all three."""
    return select(Link).where(*_still_open())


@cache
def _take() -> Update:
    opened_at = func.coalesce(Link.opened_at, bindparam("moment", type_=UTCDateTime))
    of_link: Any = Link.__table__  # not the model: this one runs without the session's bookkeeping
    same = Link.id == func.coalesce(bindparam("asked_id", type_=Integer), Link.id)
    return update(of_link).where(same, *_still_open()).values(uses=Link.uses + 1, opened_at=opened_at)


@cache
def _taken() -> Select[Link]:
    of_token = Link.token_hash == bindparam("asked_hash", type_=String)
    return select(Link).where(of_token).execution_options(populate_existing=True)


def _things(link: Link) -> list[SharedItem]:
    """What it hands out. Raises LinkGone for files that are all deleted."""
    items = items_of(link)
    if link.kind == Kind.FILES and not items:
        raise LinkGone()
    return items


def find_open(token: str) -> Link:
    """The link, while it can be opened. Spends nothing. Raises LinkGone, one answer for every reason."""
    link: Link | None = db.session.scalar(_find(), {"asked_hash": hashed(token), "moment": now()})
    if link is None:
        raise LinkGone()
    _things(link)
    return link


def check_link_password(link: Link, password: str | None, visitor: Visitor) -> None:
    """Check the password before the claim; a wrong one is counted and remembered, and spends no use.

    Raises PasswordRequired, PasswordWrong, RateLimited, Unavailable. Not to be called inside `atomic()`.
    """
    if link.password_hash is None:
        return
    if not password:
        raise PasswordRequired()
    link_id, stored, address = link.id, link.password_hash, address_key(visitor.address)
    release()
    try:
        with (
            WRONG_BY_ADDRESS.try_once(link_id, address, failure=PasswordWrong),
            WRONG_BY_LINK.try_once(link_id, failure=PasswordWrong),
        ):
            if not check_password(stored, password):
                raise PasswordWrong()
    except PasswordWrong:
        with atomic():
            record(link_id, "password_failed", visitor)
        raise


def check_proof(proof_hash: str | None, proof: str | None) -> None:
    """Of an encrypted note: that the reader has its key, by the value derived from it. Raises ProofMissing.

    There is nothing to guess here (256 bits), so nothing is counted.
    """
    if proof_hash is not None and not hmac.compare_digest(hashed(proof or ""), proof_hash):
        raise ProofMissing()


# --- the claim ---------------------------------------------------------------------------------------------------


def claim(token: str, link_id: int | None, visitor: Visitor, *, in_browser: bool = False) -> Opened:
    """Spend one use of the link that was checked (`link_id`; of whichever has the token when None) inside the present transaction: exactly as many win as there are uses, the others raise LinkGone.

    The event is in the same transaction. The winner gets a ticket, bound to a cookie `in_browser`; the last use erases
    a note from the link, and the ticket keeps a copy until it ends.
    """
    moment = now()
    link = spend(token, moment, link_id)
    items = _things(link)
    if link.shorten_to is not None and link.uses == 1:
        link.expires_at = min(link.expires_at, moment + timedelta(seconds=link.shorten_to))
    text = link.text
    if link.state_at(moment) is State.USED:
        erase_text(link, moment)
    happened(link, "opened", visitor, link.recipient)
    if link.notify and link.kind != Kind.UPLOAD:  # of an upload request the arrival is told, not the opening
        tell_owner(link, "opened", visitor=visitor)
    if link.kind == Kind.TEXT and not in_browser:
        return Opened("", link, text, items, moment)  # the answer has it all
    kept = text if link.text is None else None
    return replace(_ticket(link, kept, items, moment, in_browser=in_browser), text=text)


def claim_as_zip(token: str, link_id: int, visitor: Visitor) -> Response:
    """Spend one use and send everything. Raises LinkGone, and Unavailable before anything is spent."""
    held = take_slot(Holder("link", link_id))
    try:
        with atomic():
            opened = claim(token, link_id, visitor)
        return send_all(by_ticket(opened.ticket), visitor, held)
    except BaseException:
        held.release()
        raise


def spend(token: str, moment: datetime | None = None, link_id: int | None = None) -> Link:
    """The one gate, inside the present transaction: takes a use, or raises LinkGone."""
    asked = {"asked_hash": hashed(token), "moment": moment or now(), "asked_id": link_id}
    if db.session.connection().execute(_take(), asked).rowcount != 1:
        raise LinkGone()
    return db.session.scalars(_taken(), asked).one()


def _ticket(
    link: Link,
    text: str | None,
    items: list[SharedItem],
    moment: datetime,
    *,
    in_browser: bool,
    of_owner: bool = False,
) -> Opened:
    ticket, cookie = secrets.token_urlsafe(24), secrets.token_urlsafe(24) if in_browser else None
    expires_at = moment + (SENDING_LIFE if link.kind == Kind.UPLOAD else TICKET_LIFE)
    row = {
        "link_id": link.id, "ticket_hash": hashed(ticket), "text": text, "expires_at": expires_at, "of_owner": of_owner,
        "cookie_hash": hashed(cookie) if cookie else None,
    }  # fmt: skip
    db.session.connection().execute(ADD_TICKET, row)
    return Opened(ticket, link, text, items, expires_at, of_owner, cookie)


def owner_ticket(link: Link) -> Opened:
    """The maker's own look, inside the present transaction: nothing is spent, and nothing remembered."""
    if link.kind == Kind.TEXT and link.proof_hash is not None:
        return Opened("", link, link.text, [], now(), of_owner=True)
    return _ticket(link, None, items_of(link), now(), in_browser=True, of_owner=True)


# --- after the claim ---------------------------------------------------------------------------------------------


def by_ticket(ticket: str, cookie: str | None = None) -> Opened:
    """What a ticket still opens: not after its end, a revocation, the maker's end, or that of the last thing.

    Raises LinkGone, also for a browser's ticket without its cookie.
    """
    query = select(LinkTicket, Link).join(Link, Link.id == LinkTicket.link_id)
    found = db.session.execute(
        query.where(
            LinkTicket.ticket_hash == hashed(ticket),
            LinkTicket.expires_at > now(),
            Link.revoked_at.is_(None),
            owner_ok(),
        )
    ).first()
    if found is None:
        raise LinkGone()
    row, link = found
    if row.cookie_hash is not None and not hmac.compare_digest(hashed(cookie or ""), row.cookie_hash):
        raise LinkGone()
    text = link.text if row.text is None else row.text
    return Opened(ticket, link, text, _things(link), row.expires_at, row.of_owner, None, row.received)


class Watched:
    """A running download: asked from time to time whether it may go on, and told when it is through."""

    def __init__(self, opened: Opened, visitor: Visitor, what: str, *, counts: bool) -> None:
        self.app = current_app._get_current_object()  # type: ignore[attr-defined]
        self.link_id, self.visitor, self.what = opened.link.id, visitor, what
        self.holder = Holder("link", opened.link.id)
        self.counts, self.whole = counts and not opened.of_owner, True

    def started(self, *, from_beginning: bool = True) -> None:
        """A range that begins later goes on with what was begun before; where nothing was, it is told as a beginning."""
        if not self.counts:
            return
        self.whole = from_beginning or self._began()
        if (from_beginning or not self.whole) and not crowded(self.link_id, "download_started"):
            with atomic(despite_get="the maker is told of each download"):
                record(self.link_id, "download_started", self.visitor, self.what)

    def _began(self) -> bool:
        began = (LinkEvent.link_id == self.link_id, LinkEvent.type == "download_started")
        same = select(LinkEvent.id).where(*began, LinkEvent.detail == self.what[:255]).limit(1)
        return db.session.scalar(same) is not None

    def may_go_on(self) -> bool:
        """Whether the link was neither withdrawn nor its maker stopped meanwhile; the end of the ticket cuts nothing."""
        with self.app.app_context():
            query = select(Link.id).where(Link.id == self.link_id, Link.revoked_at.is_(None), owner_ok())
            return db.session.scalar(query) is not None

    def finished(self) -> None:
        """The last bytes go out; of a link that is deleted by now there is nobody to tell."""
        if not self.counts or not self.whole:
            return
        with self.app.app_context():
            if crowded(self.link_id, "downloaded"):
                return
            with suppress(LinkGone), atomic(despite_get="the maker is told of each download"):
                link = db.session.get(Link, self.link_id)
                if link is not None:
                    happened(link, "downloaded", self.visitor, self.what)


def _kind_of(opened: Opened, item_id: str) -> Shareable:
    kind = next((item.kind for item in opened.link.items if item.item_id == item_id), None)
    answering = provider(kind) if kind else None
    if answering is None or opened.link.kind != Kind.FILES:
        raise LinkGone()
    return answering


def send_item(opened: Opened, item_id: str, visitor: Visitor, *, inline: bool) -> Response:
    """The bytes of one thing; what the page shows `inline` is no download. Raises LinkGone."""
    item = next((item for item in opened.items if item.id == item_id), None)
    if item is None:
        raise LinkGone()
    answering, owner_id = _kind_of(opened, item_id), opened.link.owner_id
    watched = Watched(opened, visitor, item.name, counts=not (inline and may_show(item.media_type)))
    return answering.send(owner_id, item_id, inline=inline, watched=watched)


def send_all(opened: Opened, visitor: Visitor, held: Slot | None = None) -> Response:
    """All things as one zip, made while it is sent; `held` is a slot that was taken already. Raises LinkGone."""
    owner_id = opened.link.owner_id
    members = []
    for item in opened.items:
        answering = _kind_of(opened, item.id)
        members.append(ZipMember(item.name, item.size, answering.reader(owner_id, item.id)))
    if not members:
        raise LinkGone()
    watched = Watched(opened, visitor, "all, as a zip", counts=True)
    return send_zip(members, opened.link.title or "files", watched, held)


def end_ticket(opened: Opened, visitor: Visitor) -> None:
    """Forget a ticket with its copy of a note, at its reader's wish and in the present transaction."""
    db.session.execute(delete(LinkTicket).where(LinkTicket.ticket_hash == hashed(opened.ticket)))
    if not opened.of_owner:
        happened(opened.link, "ended", visitor)


def report(link: Link, reason: str, visitor: Visitor) -> None:
    """Keep a recipient's report for the administrators, in the present transaction. Raises ValidationFailed."""
    if not reason.strip():
        raise ValidationFailed({"reason": ["Say in a few words what is wrong with it."]})
    db.session.add(LinkReport(link_id=link.id, reason=reason.strip()[:1000], address=visitor.address))
    happened(link, "reported")
