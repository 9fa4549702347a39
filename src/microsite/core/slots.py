"""Slots: a cap on what holds a thread for long, shared out by who asks. Beyond it the answer is 503.

Transfers, waiting polls, open sockets, and bodies that were not collected before a thread saw their
request take a slot each. Some threads are left for pages. Of the slots, half are kept for members;
of what outsiders have, half is kept for those who opened a link; and nobody has them all: not a
member, not a link, not a stranger's IP address.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from flask import Flask, current_app
from flask_login import current_user

from microsite.core.db import release
from microsite.core.exceptions import Unavailable
from microsite.core.sessions import client_address
from microsite.core.throttle import address_key

Kind = Literal["member", "link", "stranger"]
RETRY_SECONDS = 5
SMALL = 256 * 2**10
"""Bytes of an answer that the server sends on without a thread; a longer one takes a slot."""


@dataclass(frozen=True)
class Holder:
    """Whom a slot is counted for: a member's number, a link's number, or a stranger's IP address."""

    kind: Kind
    key: int | str


class Slot:
    """One slot that is held, until `release`."""

    def __init__(self, slots: Slots, holder: Holder) -> None:
        self._slots = slots
        self._holder: Holder | None = holder

    def release(self) -> None:
        """Give the slot back; a second time does nothing."""
        holder, self._holder = self._holder, None
        if holder is not None:
            self._slots.give_back(holder)

    def move(self, holder: Holder) -> None:
        """Count the slot for somebody else from now on. Raises Unavailable, and then it is as it was."""
        if self._holder not in (None, holder):
            self._slots.take(holder)
            self.release()
            self._holder = holder


class Slots:
    """The slots of one process."""

    def __init__(self, threads: int) -> None:
        self.capacity = threads - max(4, threads // 8)
        outsiders = max(2, self.capacity // 2)
        strangers = max(1, outsiders // 2)
        self._group_limits = {"link": outsiders, "stranger": strangers}
        self._own_limits = {
            "member": max(4, self.capacity // 2),
            "link": max(2, outsiders // 2),
            "stranger": max(1, strangers // 4),
        }
        self._groups: Counter[str] = Counter()
        self._own: Counter[Holder] = Counter()
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        return self._groups.total()

    def take(self, holder: Holder) -> Slot:
        """Take a slot. Raises Unavailable when all are taken, or all that this holder may have."""
        with self._lock:
            if self._own[holder] >= self._own_limits[holder.kind]:
                count = self._own[holder]
                raise Unavailable(
                    f"{count} transfers and connections of yours are open, which is the most here.",
                    RETRY_SECONDS,
                )
            if self.taken >= self.capacity or self._group_is_full(holder.kind):
                raise Unavailable(
                    f"{self.taken} transfers and connections are open, which is the most here.",
                    RETRY_SECONDS,
                )
            self._groups[holder.kind] += 1
            self._own[holder] += 1
        return Slot(self, holder)

    def _group_is_full(self, kind: Kind) -> bool:
        """Whether outsiders of this kind, or all outsiders together, have what they may have."""
        if kind == "member":
            return False
        outsiders = self._groups["link"] + self._groups["stranger"]
        return self._groups[kind] >= self._group_limits[kind] or outsiders >= self._group_limits["link"]

    def give_back(self, holder: Holder) -> None:
        with self._lock:
            self._groups[holder.kind] -= 1
            self._own[holder] -= 1
            if not self._own[holder]:
                del self._own[holder]


def slots() -> Slots:
    """The slots of the present application."""
    found: Slots = current_app.extensions["microsite.slots"]
    return found


def visitor() -> Holder:
    """The visitor's IP address, whoever it is; needs no session."""
    return Holder("stranger", address_key(client_address()))


def present_holder() -> Holder:
    """Whom this request is counted for: the member, or the visitor's IP address. Holds no connection afterwards."""
    holder = visitor()
    if current_user.is_authenticated:
        holder = Holder("member", current_user.id)
    release()
    return holder


def take_slot(holder: Holder | None = None) -> Slot:
    """A slot for `holder`, by default whoever makes this request. Raises Unavailable."""
    return slots().take(holder or present_holder())


@contextmanager
def slot(holder: Holder | None = None) -> Iterator[None]:
    """Hold a slot for the length of the block. Raises Unavailable."""
    held = take_slot(holder)
    try:
        yield
    finally:
        held.release()


def init_app(app: Flask) -> None:
    app.extensions["microsite.slots"] = Slots(app.config["THREADS"])
