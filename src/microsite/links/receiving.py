"""Files that outsiders send in by an upload request. They take the same way in as every other upload."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Self

from flask import current_app
from sqlalchemy import update

from microsite.core.db import db
from microsite.core.exceptions import Conflict, QuotaExceeded, TypeNotAllowed, Unavailable
from microsite.core.identity import User
from microsite.core.sharing import Inbox
from microsite.core.slots import Holder
from microsite.core.uploads import Received

from .exceptions import LinkGone
from .history import Visitor, happened, tell_owner
from .models import Kind, Link, LinkItem, LinkTicket
from .opening import Opened
from .queries import inbox
from .services import hashed

COMING: Counter[int] = Counter()
"""Files that are on their way to this process, by link."""
COUNTING = threading.Lock()


def _full(most: int, left: int) -> Conflict:
    return Conflict(
        f"This request takes {most} file{'' if most == 1 else 's'} altogether, and {left or 'no'} more fit{'s' if left == 1 else ''}."
    )


def files_left(link: Link) -> int:
    return max(0, (link.upload_files_max or 0) - link.received)


class Receiver:
    """What one sender may send in now; a context manager while something comes. Raises LinkGone for another kind of link."""

    def __init__(self, opened: Opened) -> None:
        link, taking = opened.link, inbox()
        owner = db.session.get(User, link.owner_id)
        if link.kind != Kind.UPLOAD or taking is None or owner is None or not taking.may_receive(owner):
            raise LinkGone()
        self.ticket_hash, self.link_id, self.owner_id = hashed(opened.ticket), link.id, owner.id
        self.of_owner, self.accepted = opened.of_owner, 0
        self.inbox: Inbox = taking
        self.types = [word for word in link.upload_types.split(",") if word]
        self.most, self.left = link.upload_files_max or 0, files_left(link)
        ceiling: int = current_app.config["MAX_FILE_SIZE"]
        self.limit = min(link.upload_size_max or ceiling, ceiling)
        self.allowance = taking.allowance(owner)
        self.holder = Holder("link", link.id)

    def accept(self, name: str) -> None:
        """Before a file is read. Raises TypeNotAllowed, Conflict."""
        if self.of_owner:
            raise Conflict("This is your own request. Send its link to whoever has the files.")
        # what is on its way counts, or many at once would fill the disk before the first is refused
        with COUNTING:
            if COMING[self.link_id] >= self.left:
                raise _full(self.most, max(0, self.left - COMING[self.link_id]))
            COMING[self.link_id] += 1
            self.accepted += 1
        ending = self.inbox.check_name(name)
        if self.types and ending not in self.types:
            raise TypeNotAllowed(f"{name[:80]} is not accepted; files here end in {', '.join(self.types)}.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """How much room the owner has is nobody's business here. Raises Unavailable for QuotaExceeded."""
        with COUNTING:
            COMING[self.link_id] -= self.accepted
            if not COMING[self.link_id]:
                del COMING[self.link_id]
        if isinstance(error, QuotaExceeded):
            raise Unavailable("There is no room for this here now. Tell whoever sent you the link.") from None

    def take(self, received: Sequence[Received], visitor: Visitor) -> int:
        """Give the files to the owner inside the present transaction, all or none; returns how many.

        Raises Conflict beyond the number that was asked for, QuotaExceeded without room, LinkGone after a withdrawal.
        """
        count = len(received)
        fits = (
            Link.id == self.link_id,
            Link.revoked_at.is_(None),
            Link.received + count <= Link.upload_files_max,
        )
        done = db.session.execute(
            update(Link)
            .where(*fits)
            .values(received=Link.received + count)
            .execution_options(synchronize_session=False)
        )
        link = db.session.get(Link, self.link_id, populate_existing=True)
        if link is None or link.revoked_at is not None:
            raise LinkGone()
        if done.rowcount != 1:  # type: ignore[attr-defined]
            raise _full(self.most, files_left(link))
        owner = db.session.get(User, self.owner_id)
        if owner is None or not owner.is_active or not owner.may("links:use"):
            raise LinkGone()
        items = self.inbox.take(owner, [(one.name, one.stored) for one in received])
        first = link.received - count
        for number, item in enumerate(items):
            db.session.add(LinkItem(link_id=link.id, kind="files", item_id=item.id, position=first + number))
            happened(link, "received", visitor, item.name)
        of_ticket = update(LinkTicket).where(LinkTicket.ticket_hash == self.ticket_hash)
        db.session.execute(of_ticket.values(received=LinkTicket.received + count))
        if link.notify:
            tell_owner(link, "received", names=[item.name for item in items])
        return count
