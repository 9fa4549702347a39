"""Invitations: the capability by which registering asks for a role and spends a use."""

from __future__ import annotations

from microsite.core.db import db
from microsite.core.identity import Role, User
from microsite.core.sharing import Invitations

from .exceptions import LinkGone
from .history import Visitor, happened, tell_owner
from .models import Kind, Link
from .opening import find_open, spend


class _Invitations:
    """Links of kind invitation. What their maker no longer may give, they no longer give."""

    def role(self, token: str) -> Role:
        return _role(find_open(token))

    def spend(self, token: str, address: str, agent: str, username: str) -> Role:
        link = spend(token)
        role = _role(link)
        happened(link, "opened", Visitor(address, agent), username)
        if link.notify:
            tell_owner(link, "opened", visitor=Visitor(address, agent))
        return role


def _role(link: Link) -> Role:
    maker = db.session.get(User, link.owner_id)
    if link.kind != Kind.INVITATION or maker is None or not maker.may("links:invite"):
        raise LinkGone()
    role = Role(link.role)
    if role.rank > Role(maker.role).rank:
        raise LinkGone()
    return role


INVITATIONS: Invitations = _Invitations()
