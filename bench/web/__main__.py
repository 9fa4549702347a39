"""`python -m bench.web [--rounds 5] [--size 1GiB] [--write]`: ratios of one run, and no time limits.

All variants of a comparison alternate, in reverse every other round. A cell is median (lowest–highest).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shlex
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from microsite.config import size as parse_size

from . import clients, report
from .report import Row, ratios, spread
from .servers import CAN_PIN, CLIENT_CPU, ROOT, SERVER_CPU, THREADS, Server, Site, bare_flask, pinned

PAGE = ROOT / "docs" / "performance.md"
ROWS = 20
PART = 10 * 2**10
PARTS = 20
"""Ranges asked for at either end, per round; their median is the round's figure."""


class Bench:
    """One run: a folder, the large file and its hash, and how often and how long to measure."""

    def __init__(self, folder: Path, rounds: int, size: int, seconds: int) -> None:
        self.folder, self.rounds, self.size, self.seconds = folder, rounds, size, seconds
        self.label = f"{size / 2**30:g} GiB" if size >= 2**30 else f"{size / 2**20:g} MiB"
        self.source = folder / "source.bin"
        digest, numbers = hashlib.sha256(), random.Random(1)
        with self.source.open("wb") as file:
            for start in range(0, size, 2**20):
                block = numbers.randbytes(min(2**20, size - start))
                file.write(block)
                digest.update(block)
        self.sha256 = digest.hexdigest()

    def rounds_of(self, *variants: str) -> Iterator[str]:
        """Every variant once a round, in reverse every other round."""
        for number in range(self.rounds):
            print(f"  round {number + 1} of {self.rounds}", file=sys.stderr, flush=True)
            yield from variants if number % 2 == 0 else reversed(variants)

    def pages(self) -> list[Row]:
        """The list page against bare Flask, and what a range costs at either end of a file."""
        found: dict[str, list[float]] = {"page": [], "bare": [], "again": []}
        spent: dict[str, list[float]] = {"page": [], "bare": [], "again": []}
        parts: dict[str, list[float]] = {"first": [], "last": []}
        with (
            Site(self.folder / "pages").on(SERVER_CPU) as site,
            bare_flask(self.folder).on(SERVER_CPU) as bare,
            bare_flask(self.folder).on(SERVER_CPU) as again,
        ):
            site.fill(ROWS + 5)
            cookie = site.cookie()
            where: dict[str, tuple[Server, str]] = {
                "page": (site, "/files/"),
                "bare": (bare, "/"),
                "again": (again, "/"),
            }
            for server, path in where.values():
                clients.requests_per_second(server.port, path, cookie, 1)  # warm
            for name in self.rounds_of(*where):
                server, path = where[name]
                before = server.cpu_seconds()
                found[name].append(clients.requests_per_second(server.port, path, cookie, self.seconds))
                spent[name].append((server.cpu_seconds() - before) * 1000 / (found[name][-1] * self.seconds))
            headers = site.bearer()
            file_id = clients.upload(site.port, headers, self.source)["id"]
            path = f"/api/v1/files/{file_id}/content"
            for name in self.rounds_of(*parts):
                start = 0 if name == "first" else self.size - PART
                with pinned(CLIENT_CPU):
                    took = [
                        clients.range_ms(site.port, path, headers, start, start + PART - 1)
                        for _ in range(PARTS)
                    ]
                parts[name].append(statistics.median(took))
            clients.delete(site.port, headers, file_id)
        page, noise = ratios(found["page"], found["bare"]), ratios(found["again"], found["bare"])
        work = ratios(spent["bare"], spent["page"])
        later = [last - first for last, first in zip(parts["last"], parts["first"], strict=True)]
        return [
            Row(
                f"List page of {ROWS} files, signed in, req/s; bare Flask", found["page"], found["bare"],
                spread(page, 3), "≥ 0.10", statistics.median(page) >= 0.10, 0,
            ),
            Row(
                "The same by the server's processor time, ms per request", spent["page"], spent["bare"],
                spread(work, 3), "", None, 2,
            ),
            Row(
                "Noise: a second bare Flask, req/s; the first", found["again"], found["bare"],
                spread(noise, 3), "", None, 0,
            ),
            Row(
                f"Last 10 KiB of {self.label} by Range, ms; first 10 KiB", parts["last"], parts["first"],
                f"{spread(later, 2)} ms later", "≤ 5 ms later", statistics.median(later) <= 5, 2,
            ),
        ]  # fmt: skip

    def health(self) -> list[Row]:
        """How long /healthz takes while the same worker has heavy work, and an idle server beside it meanwhile."""
        loads = {
            "idle": "nothing",
            "upload": f"uploads of {self.label}",
            "sign-in": "sign-ins of two clients",
        }
        found: dict[str, list[float]] = {name: [] for name in loads}
        beside: dict[str, list[float]] = {name: [] for name in loads}
        with Site(self.folder / "health") as site, bare_flask(self.folder) as bare:
            asked = {"site": (site.port, "/healthz"), "bare": (bare.port, "/")}
            for name in self.rounds_of(*loads):
                with clients.background(name, site, self.source):
                    took = clients.side_by_side_p99(asked, self.seconds * 3)
                found[name].append(took["site"])
                beside[name].append(took["bare"])
        return [
            Row(
                f"/healthz p99 during {what}, ms; an idle bare Flask beside it", found[name], beside[name],
                spread(ratios(found[name], beside[name]), 1), "< 25 ms" if name != "idle" else "",
                statistics.median(found[name]) < 25 if name != "idle" else None,
            )
            for name, what in loads.items()
        ]  # fmt: skip

    def transfers(self) -> list[Row]:
        """Memory before and after a large upload and download, and whether the same bytes came back."""
        idle: list[float] = []
        after: list[float] = []
        equal = True
        for number in self.rounds_of("transfer"):
            with Site(self.folder / f"{number}-{len(idle)}") as site:
                clients.requests_per_second(site.port, "/files/", site.cookie(), 1)
                headers = site.bearer()
                idle.append(site.peak_memory())
                stored = clients.upload(site.port, headers, self.source)
                received = clients.downloaded_sha256(site.port, headers, stored["id"])
                after.append(site.peak_memory())
                equal &= stored["sha256"] == received == self.sha256
            shutil.rmtree(site.folder)
        added = [a - b for a, b in zip(after, idle, strict=True)]
        enough = max(after) < 250 and max(added) < 60
        return [
            Row(
                f"Peak memory after {self.label} up and down, MiB, all processes; before", after, idle,
                f"{spread(added, 0)} MiB more", "< 250 MiB; < 60 MiB more", enough, 0,
            ),
            Row(
                f"SHA-256 of {self.label}: sent, told by the site, received", (), (),
                "equal" if equal else "different", "equal", equal,
            ),
        ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.web", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--size", type=parse_size(PART), default=2**30, help="size of the large file, such as 64MiB"
    )
    parser.add_argument("--seconds", type=int, default=3, help="of one measurement; /healthz: three times")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="microsite-bench-") as folder:
        bench = Bench(Path(folder), asked.rounds, asked.size, asked.seconds)
        rows = [row for part in (bench.pages, bench.health, bench.transfers) for row in part()]
    load_after = os.getloadavg()[0]
    client = "wrk -t1 -c16" if clients.WRK else "an own client on 16 kept connections"
    where = "server on processor 0, client on processor 1" if CAN_PIN else "not pinned to processors"
    command = f"python -m bench.web {shlex.join(sys.argv[1:])}".strip()
    text = "\n\n".join(
        (
            f"`{command}` on {report.today()}: {asked.rounds} alternating rounds, median (lowest–highest); "
            f"one gthread worker with {THREADS} threads; pages and ranges: {client}, {where}.",
            report.table(rows),
            f"{report.surroundings()} Load average {load:.1f} at the start, {load_after:.1f} at the end.",
        )
    )
    print(text)
    if asked.write:
        report.write(PAGE, "bench.web", text)


if __name__ == "__main__":
    main()
