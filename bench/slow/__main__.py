"""`python -m bench.slow [--seconds 30] [--url URL]`: a hundred pages while 200 connections from 50 addresses are slow.

Without `--url` it starts the site with every setting at its default. With it, such as the address of a
proxy in front, that server is asked. A page counts when it is whole within a second.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from bench.web.servers import Site

CONNECTIONS, ADDRESSES, PAGES = 200, 50, 100
PAGE = "/auth/login"


def kinds(host: str) -> dict[str, tuple[bytes, bytes]]:
    """What each connection sends at once, and then again and again."""
    get = f"GET {PAGE} HTTP/1.1\r\nHost: {host}\r\n".encode()
    script = f"GET /static/vendor/socket.io.esm.min.js HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    post = f"POST {PAGE} HTTP/1.1\r\nHost: {host}\r\n".encode()
    form = b"Content-Type: application/x-www-form-urlencoded\r\n"
    json = b"Content-Type: application/json\r\n"
    small, large = b"Content-Length: 4000\r\n\r\n", b"Content-Length: 1000000\r\n\r\n"
    return {
        "nothing": (b"", b""),
        "silent connections": (b"", b""),
        "heads that never end": (get, b"X-a: b\r\n"),
        "dripping form bodies": (post + form + small, b"a=b&"),
        "dripping JSON bodies": (post + json + small, b" "),
        "dripping bodies of 1 MB": (post + form + large, b"a=b&"),
        "dripping chunks": (post + form + b"Transfer-Encoding: chunked\r\n\r\n", b"4\r\na=b&\r\n"),
        "answers that nobody reads": (script * 10, b""),
    }


class Crowd:
    """Connections that are opened again when the server ends them."""

    def __init__(self, host: str, port: int, first: bytes, drip: bytes, count: int) -> None:
        self.target = (host, port)
        self.first = first
        self.drip = drip
        self.sockets = [self.open(number) for number in range(count)]

    def open(self, number: int) -> socket.socket:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        made.bind((f"127.0.1.{1 + number % ADDRESSES}", 0))
        made.settimeout(1)
        with contextlib.suppress(OSError):
            made.connect(self.target)
            made.sendall(self.first)
        return made

    def go_on(self) -> None:
        """Every connection sends a little; those that were ended come back."""
        for number, each in enumerate(self.sockets):
            try:
                if self.drip:
                    each.sendall(self.drip)
                else:
                    each.getpeername()
            except OSError:
                each.close()
                self.sockets[number] = self.open(number)

    def close(self) -> None:
        for each in self.sockets:
            each.close()


def ask(host: str, port: int) -> float | None:
    """Seconds until the page is whole on a new connection; None without one."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", PAGE)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return time.monotonic() - begun if answer.status == 200 else None


def measure(host: str, port: int, seconds: int) -> Iterator[str]:
    """A row of the table for each kind of crowd."""
    for kind, (first, drip) in kinds(f"{host}:{port}").items():
        crowd = Crowd(host, port, first, drip, 0 if kind == "nothing" else CONNECTIONS)
        found: list[float | None] = []
        begun = time.monotonic()
        for number in range(PAGES):
            crowd.go_on()
            found.append(ask(host, port))
            time.sleep(max(0.0, begun + (number + 1) * seconds / PAGES - time.monotonic()))
        crowd.close()
        answered = sorted(each for each in found if each is not None)
        in_time = sum(each <= 1 for each in answered)
        worst = f"{answered[-1] * 1000:.0f} ms" if len(answered) == PAGES else "never"
        median = f"{answered[len(answered) // 2] * 1000:.1f} ms" if answered else "never"
        yield f"| {kind} | {in_time} of {PAGES} | {median} | {worst} |"


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--url", help="a server that runs already; its pages are asked for as they are")
    options = parser.parse_args()
    print("| 200 connections from 50 addresses | pages within 1 s | median | slowest |\n|---|---|---|---|")
    with contextlib.ExitStack() as stack:
        if options.url:
            parts = urlsplit(options.url)
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            parts = urlsplit(stack.enter_context(Site(folder / "site")).url)
        for row in measure(parts.hostname or "127.0.0.1", parts.port or 80, options.seconds):
            print(row, flush=True)


if __name__ == "__main__":
    main()
