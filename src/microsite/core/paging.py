"""Keyset cursors: opaque, signed by nothing, checked on the way in; a list is newest first and never counted."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, bindparam
from sqlalchemy.orm import InstrumentedAttribute

from microsite.core.db import db
from microsite.core.exceptions import ValidationFailed

Row = TypeVar("Row")


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Rows of one page, and the cursor of the next one or None."""

    items: Sequence[Row]
    next_cursor: str | None


def encode(number: int) -> str:
    return base64.urlsafe_b64encode(f"before:{number}".encode()).decode().rstrip("=")


def decode(cursor: str) -> int:
    """Raises ValidationFailed for what is no cursor of ours."""
    try:
        word, _, number = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition(":")
        if word != "before" or not number.isascii() or not number.isdigit() or len(number) > 18:
            raise ValueError
    except (ValueError, binascii.Error):
        raise ValidationFailed({"cursor": ["This cursor is not one that this list gave out."]}) from None
    return int(number)


class Listing(Generic[Row]):
    """A list that is read page by page, newest first, by a unique number.

    Its two statements are built once, since that costs as much as running them. What differs from page to page are
    their parameters: `Listing(select(Note).where(Note.owner_id == bindparam("owner_id")), Note.id)`.
    """

    def __init__(self, query: Select[*tuple[Any, ...]], key: InstrumentedAttribute[int]) -> None:
        self._key = key.key
        self._of_models = len(query.column_descriptions) == 1
        self._first = query.order_by(key.desc()).limit(bindparam("listing_limit"))
        self._later = self._first.where(key < bindparam("listing_before"))

    def page(self, limit: int, cursor: str | None, **parameters: Any) -> Page[Row]:
        """The newest `limit` rows before the cursor; one more is read to know whether there are more."""
        parameters["listing_limit"] = limit + 1
        if cursor:
            parameters["listing_before"] = decode(cursor)
        found = db.session.execute(self._later if cursor else self._first, parameters)
        rows = found.scalars().all() if self._of_models else found.all()
        shown = rows[:limit]
        return Page(shown, encode(getattr(shown[-1], self._key)) if len(rows) > limit else None)


def next_link(url: str, cursor: str | None) -> dict[str, str]:
    """The Link header (RFC 8288) of a list."""
    return {"Link": f'<{url}>; rel="next"'} if cursor else {}
