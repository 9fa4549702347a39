"""What the password of an account may be."""

from __future__ import annotations

import re
from functools import cache
from urllib.parse import urlsplit

from flask import current_app

from microsite.core.passwords import MAX_LENGTH

MIN_LENGTH = 12


@cache
def common_passwords() -> frozenset[str]:
    """The 30,000 passwords that leak most often, case-folded."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(word.casefold() for word in FREQUENCY_LISTS["passwords"])


def _site_words() -> set[str]:
    host = urlsplit(current_app.config["BASE_URL"]).hostname or ""
    name = current_app.config["SITE_NAME"]
    words = {"microsite", name, *name.split(), *host.split(".")}
    return {re.sub(r"\W|_", "", word).casefold() for word in words} - {""}


def objection(password: str) -> str | None:
    """Why this password is refused, in one sentence, or None."""
    if len(password) < MIN_LENGTH:
        count = f"{len(password)} character{'' if len(password) == 1 else 's'}"
        return f"The password has {count}; at least {MIN_LENGTH} are needed."
    if len(password) > MAX_LENGTH:
        return f"The password has {len(password)} characters; at most {MAX_LENGTH} are possible."
    folded = password.casefold()
    if folded in common_passwords():
        return "This password is on the list of those that are tried first. Choose another one."
    if re.sub(r"[\W\d_]", "", folded) in _site_words() and re.search(r"\d", folded):
        return "A word of this site with digits is guessed first. Choose another password."
    return None
