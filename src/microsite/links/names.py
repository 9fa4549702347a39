"""Addresses of links: what can be a token, what a public name, and what nobody may take."""

from __future__ import annotations

import re

from flask import Flask, current_app
from sqlalchemy import func, select

from microsite.core.addresses import Rest
from microsite.core.db import db
from microsite.core.exceptions import ValidationFailed
from microsite.core.identity import User

NAMES_PER_MEMBER = 20
RESERVED = frozenset(
    "about abuse account admin api auth chat contact download downloads feed file files help home info l link links "
    "login logout mail new news official people privacy register report root security setup share site staff static "
    "status support system t terms upload uploads www zip".split()
)


class Token(Rest):
    """`/l/<token:token>`: whatever stands there, but for the addresses below a ticket, which have methods of their own."""

    regex = r"(?!t/[^/]+/(?:all|end|report|send/?|i/[^/]+)$)(?!t/[^/]+/send/(?s:.))(?s:.*)"


def setup(app: Flask) -> None:
    app.url_map.converters["token"] = Token


def checked_name(actor: User, name: str) -> str:
    """The name in lower case. Raises ValidationFailed, with the reason.

    Names that speak for the site or for another member are refused: a public address is believed.
    """
    name = name.strip().lower()
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ValidationFailed(
            {"name": ["A name has letters a to z, digits, and single hyphens between them."]}
        )
    if not 4 <= len(name) <= 64:
        raise ValidationFailed({"name": [f"The name has {len(name)} characters; 4 to 64 are possible."]})
    plain = name.replace("-", "")
    site = re.sub(r"[^a-z0-9]", "", current_app.config["SITE_NAME"].lower())
    words = name.split("-")
    if {plain, words[0], words[-1]} & (RESERVED | {site, "microsite"}):
        raise ValidationFailed({"name": ["That name is reserved."]})
    of_member = select(User.id).where(func.replace(User.username_key, "_", "-") == name, User.id != actor.id)
    if db.session.scalar(of_member.limit(1)) is not None:
        raise ValidationFailed({"name": ["That is the name of another member."]})
    return name
