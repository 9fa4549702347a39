"""`python -m bench.links --snappass PYTHON [--rounds 5] [--write]`: links made and opened per second.

Microsite on SQLite and on PostgreSQL, every claim durable; snappass on a Redis that keeps nothing; bare Flask. All in
the same kind of worker, the server on one processor and wrk on the other. PYTHON has snappass and gunicorn installed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.web import report
from bench.web.report import Row, ratios, spread
from bench.web.servers import (
    CLIENT_CPU,
    ROOT,
    SERVER_CPU,
    THREADS,
    Server,
    Site,
    bare_flask,
    free_port,
    pinned,
)

PAGE = ROOT / "docs" / "performance.md"
SCRIPT = Path(__file__).with_name("ask.lua")
CONNECTIONS = 16
NOTE = "the blue key is under the mat"


@dataclass(frozen=True)
class Variant:
    """A server, and how a link is made and opened there."""

    server: Server
    asked: str
    body: str
    kind: str
    pattern: str
    credential: str = ""


def posted(server: Server, seconds: int, **environment: str) -> float:
    """Requests per second over 16 kept connections; every answer must be a success."""
    own = os.environ | {name.upper(): value for name, value in environment.items()}
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(SCRIPT), server.url]
    with pinned(CLIENT_CPU):
        done = subprocess.run(command, env=own, capture_output=True, text=True, check=True)
    requests, refused, broken, took = map(float, re.findall(r"RESULT (.+)", done.stdout)[0].split())
    if refused or broken:
        raise RuntimeError(f"{server.url}: {refused:.0f} refused, {broken:.0f} broken\n{done.stdout}")
    return requests / took


def make(variant: Variant, seconds: int, found: Path) -> float:
    return posted(
        variant.server, seconds, asked=variant.asked, body=variant.body, type=variant.kind, accept="*/*",
        credential=variant.credential, pattern=variant.pattern, found=str(found),
    )  # fmt: skip


def open_once(variant: Variant, seconds: int, paths: Path) -> float:
    """Open the links, each once. For a third of the time of making, so that there are enough of them."""
    accept = "application/json" if variant.kind == "application/json" else "*/*"
    return posted(
        variant.server,
        seconds // 3,
        paths=str(paths),
        body="",
        type=variant.kind,
        accept=accept,
        credential="",
    )


# --- servers -----------------------------------------------------------------------------------------------------


def wait_for_port(port: int) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"nothing listens on port {port}")


@contextlib.contextmanager
def program(*command: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A PostgreSQL with its own defaults, so with fsync; gives the address of a database."""
    found = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")))
    as_user: list[str] = []
    if os.getuid() == 0:
        as_user = ["runuser", "-u", "postgres", "--"]
        folder.chmod(0o755)
        folder.parent.chmod(0o755)
        shutil.chown(folder, "postgres")
    data, port = str(folder / "data"), free_port()
    subprocess.run(
        [*as_user, found, "-D", data, "-A", "trust", "-U", "postgres"],
        check=True,
        capture_output=True,
        cwd="/",
    )
    options = ("-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1")
    with program(*as_user, str(Path(found).with_name("postgres")), "-D", data, *options):
        wait_for_port(port)
        time.sleep(1)
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"


@contextlib.contextmanager
def redis() -> Iterator[int]:
    """A Redis that writes nothing to the disk, as snappass is usually run."""
    port = free_port()
    with program(
        "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"
    ):
        wait_for_port(port)
        yield port


def snappass(folder: Path, python: str, redis_port: int) -> Server:
    port = free_port()
    command = [
        python, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--workers", "1",
        "--threads", str(THREADS), "--worker-connections", str(max(1000, THREADS * 4)), "--keep-alive", "5",
        "--no-control-socket", "--log-level", "warning", "snappass.main:app",
    ]  # fmt: skip
    own = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(redis_port), "NO_SSL": "True", "SECRET_KEY": "bench"}
    return Server(folder, command, os.environ | own, port, "/")


def site(folder: Path, **settings: str) -> Site:
    found = Site(folder, **settings)
    if settings:
        subprocess.run(
            [*found.program, "db", "upgrade"],
            env=found.environment,
            cwd=folder,
            check=True,
            capture_output=True,
        )
    return found


# --- the run -----------------------------------------------------------------------------------------------------


def measure(folder: Path, python: str, rounds: int, seconds: int) -> list[Row]:
    (folder / "postgres").mkdir()
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        address = enter(postgres(folder / "postgres"))
        sites = {
            "SQLite": enter(site(folder / "sqlite").on(SERVER_CPU)),
            "PostgreSQL": enter(site(folder / "on-postgres", DATABASE_URL=address).on(SERVER_CPU)),
        }
        peer = enter(snappass(folder, python, enter(redis())).on(SERVER_CPU))
        bare = enter(bare_flask(folder).on(SERVER_CPU))
        variants = {
            name: Variant(
                one, "/api/v1/links", json.dumps({"text": NOTE}), "application/json", r'"url": *"http://[^/]+(/l/[^"]+)"',
                one.bearer()["Authorization"],
            )
            for name, one in sites.items()
        }  # fmt: skip
        variants["snappass"] = Variant(
            peer, "/", "password=the+blue+key+is+under+the+mat&ttl=hour", "application/x-www-form-urlencoded",
            r'value="http://[^/]+(/[^"]+)"',
        )  # fmt: skip
        made: dict[str, list[float]] = {name: [] for name in variants}
        opened: dict[str, list[float]] = {name: [] for name in variants}
        plain: list[float] = []
        for number in range(rounds):
            print(f"  round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            order = list(variants) if number % 2 == 0 else list(reversed(variants))
            plain.append(bare_posts(bare, seconds))
            for name in order:
                paths = folder / f"{name}.paths"
                made[name].append(make(variants[name], seconds, paths))
                opened[name].append(open_once(variants[name], seconds, paths))
    rows = []
    for name in variants:
        for what, found in (("made", made[name]), ("opened", opened[name])):
            ratio = ratios(found, plain)
            aim = None if name == "snappass" else statistics.median(ratio) >= 0.2
            title = f"Links {what} per second, {name}; bare Flask"
            rows.append(Row(title, found, plain, spread(ratio, 2), "" if aim is None else "≥ 0.2", aim, 0))
    return rows


def bare_posts(bare: Server, seconds: int) -> float:
    """What the same client gets from the smallest application (by GET: it has no other)."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", bare.url]
    with pinned(CLIENT_CPU):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", done.stdout)[0])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.links", description=__doc__)
    parser.add_argument("--snappass", required=True, help="a Python with snappass and gunicorn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=6, help="of making, each round")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="microsite-bench-") as folder:
        rows = measure(Path(folder), asked.snappass, asked.rounds, asked.seconds)
    shown = [argument for argument in sys.argv[1:] if argument != asked.snappass]
    text = "\n\n".join(
        (
            f"`python -m bench.links {shlex.join(shown)}` on {report.today()}: {asked.rounds} alternating rounds, median "
            f"(lowest–highest); one gthread worker with {THREADS} threads each; wrk -t1 -c{CONNECTIONS}.",
            report.table(rows),
            f"{report.surroundings()} Load average {load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end.",
        )
    )
    print(text)
    if asked.write:
        report.write(PAGE, "bench.links", text)


if __name__ == "__main__":
    main()
