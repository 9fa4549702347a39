"""Counting what may not happen too often: wrong passwords, registrations, mails. Counters live in Flask-Limiter's storage."""

from __future__ import annotations

import ipaddress
import time

from limits import RateLimitItem, parse_many
from limits.errors import StorageError

from microsite.core.exceptions import RateLimited, Unavailable
from microsite.extensions import limiter


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
    return str(ipaddress.ip_network((address, 64), strict=False)) if parsed.version == 6 else address  # noqa: PLR2004 - IPv6
