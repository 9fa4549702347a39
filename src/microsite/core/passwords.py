"""How passwords of accounts and links are kept.

NFC-normalised, hashed with SHA-256 and then bcrypt (Flask-Bcrypt's long-password mode), so that every byte of up to
1,024 characters counts. As many are hashed at once as there are cores; a bounded line waits for them, since each of
those holds a thread, and whoever finds it full is told to come back.
"""

from __future__ import annotations

import os
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from flask import current_app, has_request_context

from microsite.core.db import release
from microsite.core.exceptions import Unavailable
from microsite.core.sessions import client_address
from microsite.core.throttle import address_key
from microsite.extensions import bcrypt

MAX_LENGTH = 1024
CORES = os.cpu_count() or 1
IN_LINE = max(48, 24 * CORES)
"""Hashes under way and waiting in one process: about six seconds of work, and never more than half of the threads."""
SHARE = 2 / 3
"""Of one ip: a few more than the wrong passwords that the limit of sign-in allows it."""
PATIENCE = 10.0
"""Seconds in the line."""


class _Line:
    """Whoever wants a core for a hash."""

    def __init__(self) -> None:
        self.cores = threading.BoundedSemaphore(CORES)
        self.lock = threading.Lock()
        self.by_ip: Counter[str] = Counter()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold a core for the length of the block. Raises Unavailable when the line is full or stands still."""
        ip = address_key(client_address()) if has_request_context() else ""
        places = min(IN_LINE, current_app.config["THREADS"] // 2)
        with self.lock:
            if self.by_ip.total() >= places or self.by_ip[ip] >= max(1, round(places * SHARE)):
                raise _busy()
            self.by_ip[ip] += 1
        try:
            if not self.cores.acquire(timeout=PATIENCE):
                raise _busy()
            try:
                yield
            finally:
                self.cores.release()
        finally:
            with self.lock:
                self.by_ip[ip] -= 1
                self.by_ip += Counter()  # forgets whose count is zero


def _busy() -> Unavailable:
    return Unavailable("Many passwords are being checked at this moment. Try again in a few seconds.", 3)


_line = _Line()


def _prepared(password: str) -> bytes:
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def hash_password(password: str) -> str:
    """The hash to store; about 0.2 s of one core. Raises Unavailable."""
    release()  # nobody holds a connection while waiting for a core
    with _line.turn():
        return str(bcrypt.generate_password_hash(_prepared(password)).decode("ascii"))


def check_password(stored: str | None, password: str) -> bool:
    """Whether the password is right. Without a stored hash a dummy is checked, so that it takes as long.

    Raises Unavailable.
    """
    release()  # nobody holds a connection while waiting for a core
    with _line.turn():
        return (
            bool(bcrypt.check_password_hash(stored or _dummy(), _prepared(password[: MAX_LENGTH + 1])))
            and stored is not None
        )


def same_password(first: str, second: str) -> bool:
    """Whether two texts are one password."""
    return _prepared(first) == _prepared(second)


@cache
def _dummy() -> str:
    return str(bcrypt.generate_password_hash(b"nobody has this password").decode("ascii"))
