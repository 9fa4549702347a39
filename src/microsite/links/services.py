"""The maker's verbs of links: make, change, withdraw, delete, clean up. The recipient's are in `opening`."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from flask import current_app
from sqlalchemy import Integer, Text, bindparam, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from microsite.core.clock import now
from microsite.core.db import UTCDateTime, atomic, db
from microsite.core.exceptions import Conflict, Forbidden, ValidationFailed
from microsite.core.identity import Role, User
from microsite.core.pages import for_seconds

from . import webhooks
from .history import happened, record
from .models import Kind, Link, LinkItem, LinkName, LinkReport, LinkTicket, State
from .names import NAMES_PER_MEMBER, checked_name
from .queries import inbox, provider

USES_MAX = 1_000_000
FILES_MAX = 100
ONE_THING = "A link hands out exactly one of files, text, upload."
KEEP_COPIES = (
    update(cast(Any, LinkTicket.__table__))
    .where(
        LinkTicket.link_id == bindparam("of_link", type_=Integer),
        LinkTicket.text.is_(None),
        LinkTicket.expires_at > bindparam("moment", type_=UTCDateTime),
    )
    .values(text=bindparam("copy", type_=Text))
)
REPORTED = "A reader reported this link. It can be withdrawn now, and deleted when an administrator has looked at it."
NAME_RESTS = timedelta(days=30)
"""How long a public name stays with its last holder, so that nobody else's things appear under a known address."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Limits and words of a link. `expires_in` and `shorten_to` are seconds; no `max_uses` is unlimited until expiry."""

    expires_in: int | None = None
    max_uses: int | None = 1
    password_hash: str | None = None
    title: str = ""
    note: str = ""
    notify: bool = False
    show_items: bool = False
    hold: bool = False
    shorten_to: int | None = None
    name: str | None = None
    webhook: str | None = None


@dataclass(frozen=True, kw_only=True)
class Encrypted:
    """A note that was encrypted in the browser (docs/encrypted-notes.md); `proof_hash` is SHA-256 in hexadecimal digits."""

    ciphertext: str
    proof_hash: str


@dataclass(frozen=True, kw_only=True)
class UploadRequest:
    """What outsiders may send in: so many files altogether, each up to so many bytes, with these endings (none: all)."""

    max_files: int = 20
    max_size: int | None = None
    types: Sequence[str] = ()


def hashed(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


# --- making ------------------------------------------------------------------------------------------------------


def life_of(expires_in: int | None) -> timedelta:
    """The life that a link gets. Raises ValidationFailed beyond the operator's ceiling."""
    longest: timedelta = current_app.config["LINK_EXPIRY_MAX"]
    usual: timedelta = current_app.config["LINK_EXPIRY_DEFAULT"]
    if expires_in is None:
        return min(usual, longest)
    life = timedelta(seconds=expires_in)
    if not timedelta(seconds=1) <= life <= longest:
        most = int(longest.total_seconds())
        sentence = f"A link lives from 1 to {most} seconds here; {expires_in} were asked for."
        raise ValidationFailed({"expires_in": [sentence]})
    return life


def checked_uses(max_uses: int | None) -> int | None:
    """Raises ValidationFailed beyond the operator's ceiling."""
    most: int | None = current_app.config["LINK_USES_MAX"]
    if max_uses is None and most is not None:
        sentence = f"A link works at most {most} times here; unlimited was asked for."
        raise ValidationFailed({"max_uses": [sentence]})
    if max_uses is not None and not 1 <= max_uses <= (most or USES_MAX):
        sentence = f"A link works from 1 to {most or USES_MAX} times here; {max_uses} was asked for."
        raise ValidationFailed({"max_uses": [sentence]})
    return max_uses


def limits(terms: Terms) -> timedelta:
    """Check all limits at once. Raises ValidationFailed."""
    errors: dict[str, list[str]] = {}
    life = timedelta(0)
    for check in (lambda: life_of(terms.expires_in), lambda: checked_uses(terms.max_uses)):
        try:
            found = check()
            life = found if isinstance(found, timedelta) else life
        except ValidationFailed as refused:
            errors |= refused.errors
    if errors:
        raise ValidationFailed(errors)
    return life


def create_link(
    actor: User,
    terms: Terms,
    *,
    files: Sequence[str] | None = None,
    text: str | None = None,
    encrypted: Encrypted | None = None,
    upload: UploadRequest | None = None,
    role: Role | None = None,
    recipient: str = "",
) -> tuple[Link, str]:
    """Make a link to one thing: the actor's files, a note, an upload request, or an invitation.

    Returns it with its token, which is stored nowhere unless it is a public name. Raises ValidationFailed, Forbidden.
    """
    if sum(thing is not None for thing in (files, text, encrypted, upload, role)) != 1:
        raise ValidationFailed({"files": [ONE_THING]})
    if encrypted is not None and recipient:
        raise ValidationFailed(
            {"recipients": ["The key of an encrypted note is not known here, so its link cannot be mailed."]}
        )
    life = limits(terms)
    link = Link(
        owner_id=actor.id, title=terms.title.strip(), note=terms.note.strip(), password_hash=terms.password_hash,
        max_uses=terms.max_uses, notify=terms.notify, show_items=terms.show_items, hold=terms.hold,
        shorten_to=terms.shorten_to, expires_at=now() + life, recipient=recipient, items=[],
        webhook=webhooks.checked(terms.webhook) if terms.webhook else None,
    )  # fmt: skip
    if files is not None:
        link.kind, link.items = Kind.FILES, _own_items(actor, files)
    elif upload is not None:
        _ask_for_uploads(actor, link, upload)
    elif role is not None:
        _invite(actor, link, role)
    else:
        link.kind = Kind.TEXT
        link.text = encrypted.ciphertext if encrypted else text
        link.proof_hash = encrypted.proof_hash if encrypted else None
    token = _take_name(actor, link, terms.name) if terms.name else secrets.token_urlsafe(24)
    link.token_hash = hashed(token)
    db.session.add(link)
    try:
        db.session.flush()
    except IntegrityError:
        raise ValidationFailed({"name": ["That name is taken."]}) from None
    record(link.id, "created", detail=recipient)
    return link, token


def _own_items(actor: User, files: Sequence[str]) -> list[LinkItem]:
    wanted = list(dict.fromkeys(files))
    if len(wanted) > FILES_MAX:
        sentence = f"A link hands out up to {FILES_MAX} files; {len(wanted)} were chosen."
        raise ValidationFailed({"files": [sentence]})
    answering = provider("files")
    own = {item.id for item in answering.own(actor, wanted)} if answering else set()
    missing = [item_id for item_id in wanted if item_id not in own]
    if missing or not wanted:
        sentence = f"You have no file {missing[0][:40]!r}." if missing else "Choose at least one file."
        raise ValidationFailed({"files": [sentence]})
    return [LinkItem(kind="files", item_id=item_id, position=n) for n, item_id in enumerate(wanted)]


def _ask_for_uploads(actor: User, link: Link, upload: UploadRequest) -> None:
    taking = inbox()
    if taking is None or not taking.may_receive(actor):
        raise Forbidden("Nothing can be sent in here: files are not switched on for you.")
    link.kind = Kind.UPLOAD
    link.upload_files_max, link.upload_size_max = upload.max_files, upload.max_size
    link.upload_types = ",".join(dict.fromkeys(word.lower().lstrip(".") for word in upload.types))


def _invite(actor: User, link: Link, role: Role) -> None:
    if not actor.may("links:invite"):
        raise Forbidden("Your role does not allow inviting.")
    if role.rank > Role(actor.role).rank:
        raise ValidationFailed({"role": [f"You are {actor.role}; you cannot invite a new {role.value}."]})
    if link.password_hash is not None:
        raise ValidationFailed({"password": ["An invitation has no password: its address is the secret."]})
    if link.max_uses is None:
        raise ValidationFailed({"max_uses": ["Say how many people the invitation is for."]})
    link.kind, link.role = Kind.INVITATION, role.value


def _take_name(actor: User, link: Link, name: str) -> str:
    """The public name as a token. A name that nobody uses any more is taken from the link that had it."""
    if link.kind == Kind.INVITATION:
        raise ValidationFailed({"name": ["An invitation has no public name."]})
    name, moment = checked_name(actor, name), now()
    rests = select(LinkName.owner_id).where(LinkName.name_hash == hashed(name), LinkName.rests_until > moment)
    if db.session.scalar(rests) not in (None, actor.id):
        raise ValidationFailed({"name": ["That name is taken."]})
    held = db.session.scalar(select(Link).where(Link.token_hash == hashed(name)).with_for_update())
    if held is not None:
        ended = held.revoked_at or min(held.expires_at, moment)
        free = held.state_at(moment) is not State.OPEN and (
            held.owner_id == actor.id or ended + NAME_RESTS <= moment
        )
        if not free:
            raise ValidationFailed({"name": ["That name is taken."]})
        held.name, held.token_hash = None, secrets.token_hex(32)
        db.session.flush()
    mine = (
        Link.owner_id == actor.id,
        Link.name.is_not(None),
        Link.revoked_at.is_(None),
        Link.expires_at > moment,
    )
    count = db.session.scalar(select(func.count()).select_from(Link).where(*mine)) or 0
    if count >= NAMES_PER_MEMBER:
        sentence = f"You have {count} links with a public name; {NAMES_PER_MEMBER} are possible."
        raise ValidationFailed({"name": [sentence]})
    link.name = name
    return name


# --- changing and ending -----------------------------------------------------------------------------------------


def change_link(
    link: Link, *, expires_in: int | None = None, max_uses: int | None = None, notify: bool | None = None
) -> None:
    """Give an open link another end (seconds from now), more or fewer uses, or another wish to be told.

    Raises Conflict for one that is over, ValidationFailed beyond the ceilings.
    """
    # an opening at this moment comes before or after
    db.session.refresh(link, with_for_update={"key_share": True})
    if link.state_at(now()) is not State.OPEN:
        raise Conflict("This link is over; make a new one.")
    if expires_in is not None:
        longest: timedelta = current_app.config["LINK_EXPIRY_MAX"]
        if now() + life_of(expires_in) > link.created_at + longest:
            sentence = f"A link lives up to {for_seconds(longest.total_seconds())} here, counted from when it was made."
            raise ValidationFailed({"expires_in": [sentence]})
        link.expires_at = now() + life_of(expires_in)
        record(link.id, "extended", detail=f"{link.expires_at:%d %B %Y %H:%M} UTC")
    if max_uses is not None:
        checked_uses(max_uses)
        if max_uses <= link.uses:
            sentence = f"It was opened {link.uses} times already; {max_uses} is not more."
            raise ValidationFailed({"max_uses": [sentence]})
        link.max_uses = max_uses
    if notify is not None:
        link.notify = notify


def revoke(link: Link, *, event: str = "revoked") -> None:
    """End a link, its tickets and its running downloads, and erase its note; once is enough."""
    if link.revoked_at is None:
        link.revoked_at = now()
        happened(link, event)
    link.text = None
    db.session.execute(delete(LinkTicket).where(LinkTicket.link_id == link.id))


def take_down(link: Link) -> None:
    """An administrator's withdrawal of a reported link."""
    revoke(link, event="taken_down")
    settle_reports(link)


def settle_reports(link: Link) -> None:
    """Remember that the reports of a link were looked at."""
    unsettled = (LinkReport.link_id == link.id, LinkReport.settled_at.is_(None))
    db.session.execute(update(LinkReport).where(*unsettled).values(settled_at=now()))


def is_reported(link: Link) -> bool:
    """Whether a reader's report of it waits for an administrator."""
    unsettled = select(LinkReport.id).where(LinkReport.link_id == link.id, LinkReport.settled_at.is_(None))
    return db.session.scalar(unsettled.limit(1)) is not None


def delete_link(link: Link) -> None:
    """Delete a link with its history; what it handed out stays with its owner.

    Raises Conflict while a reader's report of it is not settled: otherwise whoever abuses links would erase the proof.
    """
    if is_reported(link):
        raise Conflict(REPORTED)
    _rest_name(link)
    db.session.execute(delete(Link).where(Link.id == link.id))


def _rest_name(link: Link) -> None:
    if link.name is not None:
        rests = LinkName(name_hash=link.token_hash, owner_id=link.owner_id, rests_until=now() + NAME_RESTS)
        db.session.merge(rests)
        db.session.flush()


def delete_all(user: User) -> None:
    """Delete all links of a member who leaves."""
    for link in db.session.scalars(select(Link).where(Link.owner_id == user.id, Link.name.is_not(None))):
        _rest_name(link)
    db.session.execute(delete(Link).where(Link.owner_id == user.id))


def erase_text(link: Link, moment: datetime) -> None:
    """Erase a note from its link; tickets that still live keep a copy until they end."""
    if link.text is not None:
        of_link = {"of_link": link.id, "moment": moment, "copy": link.text}
        db.session.connection().execute(KEEP_COPIES, of_link)
    link.text = None


# --- cleaning up -------------------------------------------------------------------------------------------------


def purge() -> None:
    """Task: erase notes of links that are over, tell expired ones their event, and forget ended tickets."""
    moment = now()
    with atomic():
        db.session.execute(delete(LinkTicket).where(LinkTicket.expires_at <= moment))
        over = db.session.scalars(
            select(Link)
            .where(Link.purged_at.is_(None), Link.expires_at <= moment)
            .limit(1000)
            .with_for_update(key_share=True)
        ).all()
        for link in over:
            if link.state_at(moment) is State.EXPIRED:
                happened(link, "expired")
            erase_text(link, moment)
            link.purged_at = moment
        db.session.execute(delete(LinkName).where(LinkName.rests_until <= moment))
