"""Keyset cursors: opaque, signed by nothing, checked on the way in; a list is newest first and never counted."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Select
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


def page_of(query: Select[Any], key: InstrumentedAttribute[int], limit: int, cursor: str | None) -> Page[Any]:
    """The newest `limit` rows before the cursor, by the unique `key`; one more is read to know whether there are more."""
    if cursor:
        query = query.where(key < decode(cursor))
    rows = db.session.scalars(query.order_by(key.desc()).limit(limit + 1)).all()
    more = len(rows) > limit
    shown = rows[:limit]
    return Page(shown, encode(getattr(shown[-1], key.key)) if more else None)


def next_link(url: str, cursor: str | None) -> dict[str, str]:
    """The Link header (RFC 8288) of a list."""
    return {"Link": f'<{url}>; rel="next"'} if cursor else {}
