"""A user's computer: a configuration folder of its own, commands, and a real site."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from microsite.client import Client
from tests.conftest import MICROSITE, PASSWORD, Server


class Computer:
    """Runs the commands of one user."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configuration = folder / "configuration" / "microsite"
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("MICROSITE_")
        } | {"XDG_CONFIG_HOME": str(folder / "configuration"), "HOME": str(folder)}

    def run(self, *arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*MICROSITE, *arguments], env=self.environment | settings, cwd=self.folder, input=stdin, text=True,
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*MICROSITE, *arguments], env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def done(self, *arguments: str, stdin: str = "", **settings: str) -> str:
        """What a command prints; it must succeed."""
        found = self.run(*arguments, stdin=stdin, **settings)
        assert found.returncode == 0, found.stderr
        return found.stdout


@pytest.fixture
def outsider(tmp_path: Path) -> Computer:
    """Somebody without an account."""
    folder = tmp_path / "outsider"
    folder.mkdir()
    return Computer(folder)


@pytest.fixture
def anna(tmp_path: Path, shared_server: Server, request: pytest.FixtureRequest) -> Computer:
    """A member who has signed in on her computer."""
    folder = tmp_path / "anna"
    folder.mkdir()
    computer = Computer(folder)
    if not getattr(shared_server, "has_anna", False):
        shared_server.add("anna")
        shared_server.has_anna = True  # type: ignore[attr-defined]
    computer.done("login", shared_server.url, "--username", "anna", "--password-stdin", stdin=f"{PASSWORD}\n")
    return computer


@pytest.fixture
def site(anna: Computer, shared_server: Server) -> Iterator[Any]:
    """The Python client of the same member."""
    token = shared_server.token("anna")["Authorization"].removeprefix("Bearer ")
    with Client(shared_server.url, token=token) as client:
        yield client


@pytest.fixture
def another_site() -> Iterator[tuple[str, list[str]]]:
    """Another site, which is none of ours, and the lines that it was sent."""
    heard: list[str] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection:
                    heard.extend(connection.recv(65536).decode("latin-1").splitlines())
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}", heard
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(5)
