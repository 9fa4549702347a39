"""Who may do what with a link: its maker everything, others nothing, and to them it does not exist."""

from __future__ import annotations

from sqlalchemy import select

from microsite.core.db import db
from microsite.core.exceptions import NotFound
from microsite.core.identity import User

from .models import Link, LinkReport


def link_for(actor: User, public_id: str) -> Link:
    """The actor's link; the gate of the maker's views. Raises NotFound, for other people's links too."""
    found = db.session.scalar(
        select(Link).where(Link.public_id == public_id[:40].replace("\0", "-"), Link.owner_id == actor.id)
    )
    if found is None:
        raise NotFound("There is no such link here.")
    return found


def reported_link(public_id: str) -> Link:
    """A link that somebody reported, whoever made it; for administrators. Raises NotFound."""
    reported = select(LinkReport.id).where(LinkReport.link_id == Link.id).exists()
    found = db.session.scalar(
        select(Link).where(Link.public_id == public_id[:40].replace("\0", "-"), reported)
    )
    if found is None:
        raise NotFound("There is no such report here.")
    return found
