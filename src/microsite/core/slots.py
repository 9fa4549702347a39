"""A cap on what holds a thread for long: transfers, waiting polls, open sockets. Beyond it the answer is 503, and pages go on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask, current_app

from microsite.core.exceptions import Unavailable


class Slots:
    """Counts long things of one process; leaves some threads free for pages."""

    def __init__(self, threads: int) -> None:
        self.capacity = threads - max(4, threads // 8)
        self.taken = 0
        self.lock = threading.Lock()

    def acquire(self) -> None:
        """Take a slot. Raises Unavailable when all are taken."""
        with self.lock:
            if self.taken >= self.capacity:
                raise Unavailable(
                    f"{self.taken} transfers and connections are open, which is the most here.", 5
                )
            self.taken += 1

    def release(self) -> None:
        with self.lock:
            self.taken -= 1


def slots() -> Slots:
    """The slots of the present application."""
    found: Slots = current_app.extensions["microsite.slots"]
    return found


@contextmanager
def slot() -> Iterator[None]:
    """Hold a slot for the length of the block."""
    held = slots()
    held.acquire()
    try:
        yield
    finally:
        held.release()


def init_app(app: Flask) -> None:
    app.extensions["microsite.slots"] = Slots(app.config["THREADS"])
