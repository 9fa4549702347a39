"""Keyset cursors: a list is read page by page in both directions, and never counted.

A cursor is sealed (AES-SIV, RFC 5297) under a key made of SECRET_KEY and bound to its list and filter: no row number can
be read from it, none can be made up, and one of another list or another member is none here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from flask import current_app, request, url_for
from sqlalchemy import Select, bindparam
from sqlalchemy.orm import InstrumentedAttribute

from microsite.core.db import db
from microsite.core.exceptions import ValidationFailed
from microsite.core.pages import absolute

Row = TypeVar("Row")
PLACE = struct.Struct(">?Q")
PLACE_MAX = 2**63 - 1


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Rows of one page, and the cursors of the pages beside it, or None."""

    items: Sequence[Row]
    next_cursor: str | None
    prev_cursor: str | None


@dataclass(frozen=True)
class Place:
    """Where a page begins: behind the row of that number, or before it when one goes `back`."""

    number: int
    back: bool = False


@lru_cache(maxsize=8)
def _cipher(secret: str) -> AESSIV:
    return AESSIV(hashlib.sha512(b"list cursor " + secret.encode()).digest())


class _Seal:
    """Cursors of one list under one filter."""

    def __init__(self, name: str, parameters: dict[str, Any]) -> None:
        self._cipher = _cipher(current_app.config["SECRET_KEY"])
        self._bound_to = [name.encode(), repr(sorted(parameters.items())).encode()]

    def seal(self, place: Place) -> str:
        sealed = self._cipher.encrypt(PLACE.pack(place.back, place.number), self._bound_to)
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def open(self, cursor: str) -> Place:
        """Raises ValidationFailed for what is no cursor of this list."""
        try:
            sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            back, number = PLACE.unpack(self._cipher.decrypt(sealed, self._bound_to))
            if base64.urlsafe_b64encode(sealed).decode().rstrip("=") != cursor:
                # The last letter has bits that say nothing.
                raise ValueError
        except (ValueError, binascii.Error, InvalidTag, struct.error):
            raise ValidationFailed({"cursor": ["This cursor is not one that this list gave out."]}) from None
        return Place(number, back)


class Listing(Generic[Row]):
    """A list that is read page by page, newest first, by a unique number; with `oldest_first` the other way round.

    Its statements are built once, since that costs as much as running them. What differs from page to page are their
    parameters: `Listing("notes", select(Note).where(Note.owner_id == bindparam("owner_id")), Note.id)`.
    """

    def __init__(
        self,
        name: str,
        query: Select[*tuple[Any, ...]],
        key: InstrumentedAttribute[int],
        *,
        oldest_first: bool = False,
    ) -> None:
        self._name, self._key = name, key.key
        self._of_models = len(query.column_descriptions) == 1
        limited = query.limit(bindparam("listing_limit"))
        ascending, descending = limited.order_by(key.asc()), limited.order_by(key.desc())
        place: Any = bindparam("listing_place")
        if oldest_first:
            self._first = ascending
            self._further, self._back = ascending.where(key > place), descending.where(key < place)
        else:
            self._first = descending
            self._further, self._back = descending.where(key < place), ascending.where(key > place)

    def page(
        self, limit: int, cursor: str | None, *, start: int | None = None, **parameters: Any
    ) -> Page[Row]:
        """The `limit` rows at the cursor, else behind the number `start`, else the first ones.

        One more is read to know whether there are more. The row of a cursor need not be there any more. Back from a
        cursor, fewer rows than a page are the first page. Raises ValidationFailed.
        """
        seal = _Seal(self._name, parameters)
        place = seal.open(cursor) if cursor else None
        if place is None and start is not None:
            place = Place(start)
        if place is not None and place.back:
            rows = self._rows(self._back, limit, place, parameters)
            if len(rows) > limit:
                shown = rows[limit - 1 :: -1]
                return Page(shown, self._beside(seal, shown[-1]), self._beside(seal, shown[0], back=True))
            place = None
        rows = self._rows(self._first if place is None else self._further, limit, place, parameters)
        shown = rows[:limit]
        following = self._beside(seal, shown[-1]) if len(rows) > limit else None
        return Page(shown, following, self._before(seal, shown, place))

    def _rows(
        self, statement: Any, limit: int, place: Place | None, parameters: dict[str, Any]
    ) -> Sequence[Row]:
        values = parameters | {"listing_limit": limit + 1}
        if place is not None:
            values["listing_place"] = min(place.number, PLACE_MAX)
        result: Any = db.session.execute(statement, values)
        rows: Sequence[Row] = result.scalars().all() if self._of_models else result.all()
        return rows

    def _beside(self, seal: _Seal, row: Row, *, back: bool = False) -> str:
        return seal.seal(Place(getattr(row, self._key), back))

    def _before(self, seal: _Seal, shown: Sequence[Row], place: Place | None) -> str | None:
        if place is None:
            return None
        if shown:
            return self._beside(seal, shown[0], back=True)
        return seal.seal(Place(place.number, back=True))


def listed(page: Page[Any], items: Sequence[Any], **query: Any) -> tuple[dict[str, Any], int, dict[str, str]]:
    """The answer of the present address of the API: `items`, both cursors, and the Link header (RFC 8288)."""
    beside = {"next": page.next_cursor, "prev": page.prev_cursor}
    links = [
        f'<{_address(cursor=cursor, **query)}>; rel="{relation}"'
        for relation, cursor in beside.items()
        if cursor is not None
    ]
    answer = {"items": items, "next_cursor": page.next_cursor, "prev_cursor": page.prev_cursor}
    return answer, 200, {"Link": ", ".join(links)} if links else {}


def _address(**query: Any) -> str:
    return absolute(url_for(request.endpoint or "", **(request.view_args or {}), **query))


def neighbours(page: Page[Any], path: str) -> dict[str, str | None]:
    """The addresses of the pages beside this one, for a template's pager."""
    return {
        "newer": f"{path}?cursor={page.prev_cursor}" if page.prev_cursor else None,
        "older": f"{path}?cursor={page.next_cursor}" if page.next_cursor else None,
    }
