"""How passwords of accounts and links are kept.

NFC-normalised, hashed with SHA-256 and then bcrypt (Flask-Bcrypt's long-password mode), so that every byte of up to
1,024 characters counts. At most as many checks run at once as there are cores.
"""

from __future__ import annotations

import os
import threading
import unicodedata
from functools import cache

from microsite.core.db import release
from microsite.extensions import bcrypt

MAX_LENGTH = 1024
_cores = threading.BoundedSemaphore(os.cpu_count() or 1)


def _prepared(password: str) -> bytes:
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def hash_password(password: str) -> str:
    """The hash to store; about 0.2 s of one core."""
    release()  # nobody holds a connection while waiting for a core
    with _cores:
        return str(bcrypt.generate_password_hash(_prepared(password)).decode("ascii"))


def check_password(stored: str | None, password: str) -> bool:
    """Whether the password is right. Without a stored hash a dummy is checked, so that it takes as long."""
    release()  # nobody holds a connection while waiting for a core
    with _cores:
        return (
            bool(bcrypt.check_password_hash(stored or _dummy(), _prepared(password[: MAX_LENGTH + 1])))
            and stored is not None
        )


@cache
def _dummy() -> str:
    return str(bcrypt.generate_password_hash(b"nobody has this password").decode("ascii"))
