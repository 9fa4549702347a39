"""Counting what may not happen too often: wrong passwords, registrations, mails. Counters live in Flask-Limiter's storage."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import Counter, defaultdict

from limits import RateLimitItem, parse_many
from limits.errors import StorageError
from limits.storage import MemoryStorage, Storage

from microsite.core.exceptions import RateLimited, Unavailable
from microsite.extensions import limiter


class RestingMemory(MemoryStorage):
    """Counters of this process. The library's own starts a timer thread while it is built; this one with the first count."""

    STORAGE_SCHEME = ["resting-memory"]
    ADDRESS = "resting-memory://"

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: str) -> None:
        self.storage, self.locks = Counter(), defaultdict(threading.RLock)
        self.expirations, self.events = {}, {}
        self.timer = threading.Timer(0, lambda: None)  # never started; the first count makes its own
        Storage.__init__(self, uri, wrap_exceptions=wrap_exceptions, **options)


class Throttle:
    """A named limit such as `Throttle("sign-in address", "30 per 5 minutes")`. Fails closed when its storage is down."""

    def __init__(self, name: str, limit: str, sentence: str = "Too many tries.") -> None:
        self.name = name
        self.items: list[RateLimitItem] = parse_many(limit)
        self.sentence = sentence

    def check(self, *key: object) -> None:
        """Raise RateLimited when the limit is used up."""
        self._each(key, spend=False)

    def hit(self, *key: object) -> None:
        """Count one, whatever is left."""
        self._each(key, spend=True)

    def spend(self, *key: object) -> None:
        """Count one, or raise RateLimited."""
        self.check(*key)
        self.hit(*key)

    def _each(self, key: tuple[object, ...], *, spend: bool) -> None:
        names = [self.name, *map(str, key)]
        try:
            for item in self.items:
                if spend:
                    limiter.limiter.hit(item, *names)
                elif not limiter.limiter.test(item, *names):
                    reset = limiter.limiter.get_window_stats(item, *names).reset_time
                    raise RateLimited(round(reset - time.time()), self.sentence)
        except (StorageError, OSError) as error:
            raise Unavailable("Sign-in limits cannot be checked just now.") from error


def address_key(address: str) -> str:
    """One key for one visitor: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((address, 64), strict=False)) if parsed.version == 6 else address
