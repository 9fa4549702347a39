"""Bytes in flight: reserved for their owner and on the disk when they are announced, or as they arrive.

One count for the process. What is reserved is given back when its upload ends; by then it is in the
owner's count of used bytes, or gone.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from flask import Flask, current_app

from microsite.core.db import release
from microsite.core.exceptions import QuotaExceeded
from microsite.core.storage import storage

STEP = 4 * 2**20
"""Bytes that are reserved at once for an upload whose length nobody announced."""


@dataclass(frozen=True)
class Allowance:
    """How many bytes the files of one owner may have, and a function that tells how many they have now."""

    owner_id: int
    quota: int
    used: Callable[[], int]


class Reservations:
    """What is reserved in this process: by owner, and what of it is not yet written."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.by_owner: Counter[int] = Counter()
        self.unwritten = 0


class Reservation:
    """The bytes of one upload. `left` of them are reserved and not yet written."""

    def __init__(self, allowance: Allowance, reservations: Reservations) -> None:
        self.allowance = allowance
        self.reservations = reservations
        self.total = 0
        self.left = 0

    def extend(self, least: int, most: int | None = None) -> None:
        """Reserve `most` more bytes, or as many as there is room for, but no fewer than `least`.

        Raises QuotaExceeded, StorageFull.
        """
        owner_id, quota = self.allowance.owner_id, self.allowance.quota
        before = self.reservations.by_owner[owner_id]
        used = self.allowance.used()
        release()
        with self.reservations.lock:
            # An upload that ended since `before` may be in neither number, so the larger one counts.
            taken = used + max(before, self.reservations.by_owner[owner_id])
            size = min(most or least, max(least, quota - taken))
            if taken + size > quota:
                raise QuotaExceeded(quota, taken - self.total, self.total + size)
            storage().check_room(size + self.reservations.unwritten)
            self.reservations.by_owner[owner_id] += size
            self.reservations.unwritten += size
            self.total += size
            self.left += size

    def write(self, size: int) -> None:
        """Say that `size` bytes are about to be written. Raises QuotaExceeded, StorageFull."""
        if size > self.left:
            self.extend(size - self.left, STEP)
        with self.reservations.lock:
            self.left -= size
            self.reservations.unwritten -= size

    def release(self) -> None:
        with self.reservations.lock:
            self.reservations.unwritten -= self.left
            self.reservations.by_owner[self.allowance.owner_id] -= self.total
            if not self.reservations.by_owner[self.allowance.owner_id]:
                del self.reservations.by_owner[self.allowance.owner_id]
            self.total = self.left = 0


@contextmanager
def reserved(allowance: Allowance, announced: int) -> Iterator[Reservation]:
    """Reserve the announced bytes for the length of the block. Raises QuotaExceeded, StorageFull."""
    reservation = Reservation(allowance, current_app.extensions["microsite.reservations"])
    try:
        reservation.extend(announced)
        yield reservation
    finally:
        reservation.release()


def init_app(app: Flask) -> None:
    app.extensions["microsite.reservations"] = Reservations()
