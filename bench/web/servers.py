"""Servers under measurement: started on free loopback ports, watched in /proc, ended by process id."""

from __future__ import annotations

import contextlib
import http.client
import http.cookiejar
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from microsite.config import CORE_SETTINGS, PLATFORM_NAMES, PREFIX

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "a horse that measures itself"
MEMBER = "bench"
THREADS = int(next(setting.default for setting in CORE_SETTINGS if setting.name == "THREADS"))
SERVER_CPU, CLIENT_CPU = 0, 1
CAN_PIN = hasattr(os, "sched_setaffinity") and {SERVER_CPU, CLIENT_CPU} <= os.sched_getaffinity(0)


@contextlib.contextmanager
def pinned(cpu: int | None) -> Iterator[None]:
    """Keep this thread, and what it starts meanwhile, on one processor, where the system can do that."""
    if cpu is None or not CAN_PIN:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server process with its children."""

    def __init__(
        self, folder: Path, command: list[str], environment: dict[str, str], port: int, ready: str
    ) -> None:
        self.folder, self.command, self.environment, self.port, self.ready = (
            folder,
            command,
            environment,
            port,
            ready,
        )
        self.url = f"http://127.0.0.1:{port}"
        self.cpu: int | None = None

    def on(self, cpu: int) -> Self:
        """Run it on this processor only."""
        self.cpu = cpu
        return self

    def __enter__(self) -> Self:
        self.out = (self.folder / f"server-{self.port}.out").open("wb")
        with pinned(self.cpu):
            self.process = subprocess.Popen(
                self.command, env=self.environment, cwd=self.folder, stdout=self.out, stderr=self.out
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start:\n{Path(self.out.name).read_text()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                urllib.request.urlopen(self.url + self.ready, timeout=5).close()
                return
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        pids = self.pids()
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait(10)
        self.out.close()

    def pids(self) -> list[int]:
        """The process and all below it."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    todo += map(int, children.read_text().split())
        return found

    def cpu_seconds(self) -> float:
        """Processor time that the processes have had."""
        ticks = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def peak_memory(self) -> float:
        """MiB: the highest resident sizes of all processes, added up; what they share counts for each."""
        total = 0
        for pid in self.pids():
            status = Path(f"/proc/{pid}/status").read_text()
            total += int(re.findall(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)[0])
        return total / 1024


def _environment(**settings: str) -> dict[str, str]:
    """Ours, without what would configure the site from outside."""
    own = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith((PREFIX, "FLASK_")) and k not in PLATFORM_NAMES
    }
    return own | {PREFIX + name: value for name, value in settings.items()}


def bare_flask(folder: Path) -> Server:
    """Bare Flask in the same kind of worker as the site's."""
    port = free_port()
    command = [
        sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread",
        "--workers", "1", "--threads", str(THREADS), "--worker-connections", str(max(1000, THREADS * 4)),
        "--keep-alive", "5", "--no-control-socket", "--log-level", "warning", "--pythonpath", str(ROOT),
        "bench.web.bare:app",
    ]  # fmt: skip
    return Server(folder, command, _environment(), port, "/")


class Site(Server):
    """Microsite as its operator starts it, with one member and every other setting at its default."""

    def __init__(self, folder: Path, **settings: str) -> None:
        port = free_port()
        folder.mkdir()
        own = {"ENV": "production", "INSTANCE": str(folder / "instance"), "PORT": str(port)} | settings
        environment = _environment(**own)
        self.program = [sys.executable, "-m", "microsite"]
        super().__init__(folder, [*self.program, "serve"], environment, port, "/readyz")

    def __enter__(self) -> Self:
        command = [
            *self.program,
            "user",
            "create",
            MEMBER,
            "--email",
            "bench@example.org",
            "--password-stdin",
        ]
        subprocess.run(
            command,
            env=self.environment,
            cwd=self.folder,
            input=PASSWORD,
            text=True,
            check=True,
            capture_output=True,
        )
        return super().__enter__()

    def bearer(self) -> dict[str, str]:
        """Headers with a new access token."""
        return {"Authorization": f"Bearer {take_token(self.port)}"}

    def cookie(self) -> str:
        """The Cookie header of a browser that has signed in by the form."""
        jar = http.cookiejar.CookieJar()
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        page = browser.open(f"{self.url}/auth/login").read().decode()
        token = re.findall(r'name="csrf_token"[^>]*value="([^"]+)"', page)[0]
        form = urllib.parse.urlencode({"csrf_token": token, "username": MEMBER, "password": PASSWORD})
        browser.open(f"{self.url}/auth/login", form.encode()).read()
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)

    def fill(self, count: int) -> None:
        """Give the member small files."""
        endings = ("pdf", "png", "mp4", "zip", "txt", "docx", "jpg", "csv")
        headers = self.bearer()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        for number in range(count):
            name = f"report-{number:03}.{endings[number % len(endings)]}"
            connection.request("PUT", f"/api/v1/upload/{name}", b"x" * (1000 + 777 * number), headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 201, answer.status
        connection.close()


def take_token(port: int) -> str:
    """Sign in with the right password."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps({"username": MEMBER, "password": PASSWORD})
    connection.request("POST", "/api/v1/token", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    assert answer.status == 200, text
    return str(json.loads(text)["access_token"])
