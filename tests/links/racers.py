"""A process full of threads that all want the same link at the same moment; the tests of the race start several.

    racers.py open URL COUNT      by HTTP, each thread on a connection of its own, in turn as page, JSON and zip
    racers.py claim TOKEN COUNT   by `claim()`, on the site that the environment names

Says "ready", waits for a line, and prints a JSON list: what each thread got.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

DOORS = ("text/html", "application/json", "application/zip")


def opener(url: str, door: str) -> Callable[[], list[Any]]:
    """A connection that is open and waits to ask at one of the doors."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    connection.connect()

    def ask() -> list[Any]:
        connection.request("POST", parts.path, b"{}", {"Accept": door, "Content-Type": "application/json"})
        answer = connection.getresponse()
        body = answer.read().decode("latin-1")
        return [answer.status, [door, *sorted(name for name, _ in answer.getheaders())], body]

    return ask


def claimer(token: str) -> Callable[[], list[Any]]:
    """`claim()` on a connection to the database that is open."""
    app = application()

    def ask() -> list[Any]:
        from microsite.core.db import atomic
        from microsite.links.exceptions import LinkGone
        from microsite.links.history import Visitor
        from microsite.links.opening import claim

        with app.app_context():
            try:
                with atomic():
                    text = claim(token, None, Visitor("", ""), in_browser=True).text
            except LinkGone as refused:
                return [410, [], refused.detail]
            return [200, [], text]

    return ask


_made: list[Any] = []


def application() -> Any:
    if not _made:
        from microsite import create_app

        _made.append(create_app())
    return _made[0]


def at_once(work: list[Callable[[], list[Any]]], wait: Callable[[], object]) -> list[list[Any]]:
    """Run everything in threads that start together, once `wait` returns."""
    barrier, found = threading.Barrier(len(work) + 1), []

    def run(one: Callable[[], list[Any]]) -> None:
        barrier.wait(60)
        found.append(one())

    threads = [threading.Thread(target=run, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    wait()
    barrier.wait(60)
    for thread in threads:
        thread.join(60)
    return found


def main(how: str, target: str, count: int) -> None:
    if how == "open":
        work = [opener(target, DOORS[number % len(DOORS)]) for number in range(count)]
    else:
        work = [claimer(target) for _ in range(count)]
    print("ready", flush=True)
    print(json.dumps(at_once(work, sys.stdin.readline)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
