"""Counting what may not happen too often: wrong passwords, registrations, mails. Counters live in Flask-Limiter's storage."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from flask import current_app
from limits import RateLimitItem, parse_many
from limits.errors import StorageError
from limits.storage import MemoryStorage, Storage
from redis.exceptions import RedisError

from microsite.core.exceptions import RateLimited, Unavailable
from microsite.extensions import limiter

PATIENCE = 10.0
"""Seconds that a try waits for its turn while tries of the same key are under way."""
SHORT_PATIENCE = 2.0
"""Seconds that it waits where many wait already: until one of those under way is decided."""


class RestingMemory(MemoryStorage):
    """Counters of this process. The library's own starts a timer thread while it is built; this one with the first count."""

    STORAGE_SCHEME = ["resting-memory"]
    ADDRESS = "resting-memory://"

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: str) -> None:
        self.storage, self.locks = Counter(), defaultdict(threading.RLock)
        self.expirations, self.events = {}, {}
        self.timer = threading.Timer(0, lambda: None)  # never started; the first count makes its own
        self.one_by_one = threading.Lock()
        Storage.__init__(self, uri, wrap_exceptions=wrap_exceptions, **options)

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count one, if the window has room. The library's lock of a key is forgotten with the last entry of it."""
        with self.one_by_one:
            return super().acquire_entry(key, limit, expiry, amount)

    def forget_newest(self, key: str) -> None:
        """Take the newest entry of a window back."""
        with self.one_by_one, self.locks[key]:
            del self.events.get(key, [])[:1]


@dataclass
class _Tries:
    """What this process knows of the tries of one key."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    under_way: int = 0
    waiting: int = 0
    failed: int = 0
    decided: int = 0


class Throttle:
    """A named limit such as `Throttle("sign-in address", "30 per 5 minutes")`. Fails closed when its storage is down."""

    def __init__(self, name: str, limit: str, sentence: str = "Too many tries.") -> None:
        self.name = name
        self.items: list[RateLimitItem] = parse_many(limit)
        self.sentence = sentence
        self._lock = threading.Lock()
        self._tries: dict[tuple[object, ...], _Tries] = {}

    def spend(self, *key: object) -> None:
        """Count one, or raise RateLimited. Of many at once no more pass than the limit allows."""
        with _storage_errors():
            for index, item in enumerate(self.items):
                if not limiter.limiter.hit(item, *self._names(key)):
                    self._give_back(self.items[:index], key)
                    raise self._limited(item, key)

    @contextmanager
    def try_once(self, *key: object, failure: type[Exception]) -> Iterator[None]:
        """Count a try before it is known how it ends, and take it back unless the block raises `failure`.

        So only failures count, and yet of many tries at once no more are made than failures are allowed. While tries
        that are not decided yet fill the limit, the next one waits. Raises RateLimited when failures fill it, and
        Unavailable when the wait is too long. The count holds across workers, of which each has its share.
        """
        tries = self._enter(key)
        failed = False
        try:
            yield
        except failure:
            failed = True
            raise
        finally:
            try:
                if not failed:
                    self._give_back(self.items, key)
            finally:
                self._leave(key, tries, failed=failed)

    def _enter(self, key: tuple[object, ...]) -> _Tries:
        """Become one of the tries under way."""
        with self._lock:
            tries = self._tries.setdefault(key, _Tries())
            tries.waiting += 1
            waiting = sum(other.waiting for other in self._tries.values())
        patient = waiting <= current_app.config["THREADS"] // 8
        deadline = time.monotonic() + (PATIENCE if patient else SHORT_PATIENCE)
        try:
            with tries.changed:
                failed, decided = tries.failed, tries.decided
                while not self._has_place(key, tries):
                    tries.changed.wait(deadline - time.monotonic())
                    if time.monotonic() >= deadline or (not patient and tries.decided > decided):
                        if tries.failed > failed:
                            raise self._limited(self.items[0], key)
                        raise Unavailable("Many are trying at this moment.", 2)
                tries.under_way += 1
            return tries
        finally:
            with self._lock:
                tries.waiting -= 1
                self._forget(key, tries)

    def _has_place(self, key: tuple[object, ...], tries: _Tries) -> bool:
        """Count the try, if there is a place. Raises RateLimited when none will come by waiting."""
        at_once = min(item.amount for item in self.items) // current_app.config["WORKERS"]
        if tries.under_way >= max(1, at_once):
            return False
        try:
            self.spend(*key)
        except RateLimited:
            if not tries.under_way:
                raise
            return False
        return True

    def _leave(self, key: tuple[object, ...], tries: _Tries, *, failed: bool) -> None:
        with tries.changed:
            tries.under_way -= 1
            tries.decided += 1
            tries.failed += failed
            tries.changed.notify_all()
        with self._lock:
            self._forget(key, tries)

    def _forget(self, key: tuple[object, ...], tries: _Tries) -> None:
        if not tries.under_way and not tries.waiting:
            self._tries.pop(key, None)

    def _names(self, key: tuple[object, ...]) -> list[str]:
        return [self.name, *map(str, key)]

    def _limited(self, item: RateLimitItem, key: tuple[object, ...]) -> RateLimited:
        reset = limiter.limiter.get_window_stats(item, *self._names(key)).reset_time
        return RateLimited(round(reset - time.time()), self.sentence)

    def _give_back(self, items: list[RateLimitItem], key: tuple[object, ...]) -> None:
        """Take one count back: the newest, since which one it is makes no difference but for a moment."""
        storage: Any = limiter.limiter.storage
        with _storage_errors():
            for item in items:
                name = item.key_for(*self._names(key))
                if isinstance(storage, RestingMemory):
                    storage.forget_newest(name)
                else:
                    storage.get_connection().lpop(storage.prefixed_key(name))


@contextmanager
def _storage_errors() -> Iterator[None]:
    """What is not counted is not allowed."""
    try:
        yield
    except (StorageError, RedisError, OSError) as error:
        raise Unavailable("Sign-in limits cannot be checked just now.") from error


def address_key(address: str) -> str:
    """One key for one visitor: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((address, 64), strict=False)) if parsed.version == 6 else address
