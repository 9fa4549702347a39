"""The other ways to start the site: Flask's own commands in a clone, a platform's Procfile, `python -m`."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from microsite import __version__
from tests.conftest import free_port, wait_for

ROOT = Path(__file__).parents[2]
ELSEWHERE = "127.0.0.2"
"""An address of this machine that is neither the default nor a name of loopback that is always accepted."""


class Machine:
    """A folder with what a clone has beside the package, and an environment with nothing but the way to Python."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[bytes]] = []
        programs = os.path.dirname(sys.executable)
        self.environment = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(folder)}
        if "PYTHONPATH" in os.environ:
            self.environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
        for name in (".flaskenv", "Procfile"):
            shutil.copy(ROOT / name, folder)

    def run(self, command: str, stdin: str = "", **settings: Any) -> subprocess.CompletedProcess[str]:
        """A command line of a shell, until it ends."""
        return subprocess.run(
            ["sh", "-c", command],
            env=self.environment | {name: str(value) for name, value in settings.items()},
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self, command: str, port: int, host: str = "127.0.0.1", **settings: Any) -> Path:
        """A command line that serves; gives the file that takes its output, once it answers."""
        output = self.folder / f"{port}.out"
        with output.open("wb") as out:
            process = subprocess.Popen(
                ["sh", "-c", command],
                env=self.environment | {name: str(value) for name, value in settings.items()},
                cwd=self.folder,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.started.append(process)

        def up() -> bool:
            assert process.poll() is None, output.read_text()
            with contextlib.suppress(requests.RequestException):
                return requests.get(f"http://{host}:{port}/readyz", timeout=5).status_code == 200
            return False

        wait_for(up, 40, command)
        return output

    def procfile(self, name: str) -> str:
        """A line of the Procfile."""
        found = re.search(rf"^{name}: (.*)$", (self.folder / "Procfile").read_text(), re.MULTILINE)
        assert found
        return found[1]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    found = Machine(tmp_path)
    yield found
    for process in found.started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def status(host: str, port: int, **headers: str) -> int:
    return requests.get(f"http://{host}:{port}/auth/login", headers=headers, timeout=10).status_code


def test_flask_run_in_development_answers_by_this_machine_s_addresses(machine: Machine) -> None:
    port = free_port()
    output = machine.start(f"flask run --host 0.0.0.0 --port {port}", port, FLASK_DEBUG="1")
    assert status("127.0.0.1", port) == 200
    assert status(ELSEWHERE, port) == 200
    assert status(ELSEWHERE, port, Host="evil.example") == 400
    assert f"http://127.0.0.1:{port}/auth/setup/" in output.read_text()


def test_flask_run_in_development_answers_by_its_host(machine: Machine) -> None:
    port = free_port()
    command = f"flask --app microsite run --debug --host {ELSEWHERE} --port {port}"
    output = machine.start(command, port, host=ELSEWHERE)
    assert status(ELSEWHERE, port) == 200
    assert f"http://{ELSEWHERE}:{port}/auth/setup/" in output.read_text()


def test_flask_run_in_production_answers_by_the_public_host_only(machine: Machine) -> None:
    port = free_port()
    machine.start(f"flask run --host 0.0.0.0 --port {port}", port)
    assert (status("127.0.0.1", port), status(ELSEWHERE, port)) == (200, 400)


@pytest.mark.parametrize("command", ["flask run", "flask routes", "flask db upgrade"])
def test_flask_says_what_is_wrong_in_one_sentence(machine: Machine, command: str) -> None:
    refused = machine.run(command, MICROSITE_PAGE_SIZE="1000")
    assert refused.returncode == 1
    assert "MICROSITE_PAGE_SIZE" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_flask_routes_and_shell(machine: Machine) -> None:
    routes = machine.run("flask routes")
    assert (routes.returncode, "/healthz" in routes.stdout) == (0, True), routes.stderr
    shell = machine.run(
        "flask shell", stdin="print(db.engine.dialect.name, User.__name__, Role.ADMIN.value)\n"
    )
    assert "sqlite User admin" in shell.stdout, shell.stderr


def test_flask_db_writes_the_next_number_and_walks_both_ways(machine: Machine) -> None:
    (package,) = importlib.import_module("microsite").__path__
    shutil.copytree(Path(package, "migrations"), machine.folder / "migrations")
    versions = machine.folder / "migrations/versions"
    newest = max(int(path.name[:4]) for path in versions.glob("0*.py"))
    for command in ("upgrade", "migrate -m notes", "upgrade", "downgrade"):
        name, *rest = command.split()
        done = machine.run(f"flask db {name} -d migrations {' '.join(rest)}")
        assert done.returncode == 0, done.stderr
    assert (versions / f"{newest + 1:04d}_notes.py").exists()


def test_python_dash_m_is_microsite(machine: Machine) -> None:
    assert machine.run("python -m microsite --version").stdout == f"microsite, version {__version__}\n"
    assert machine.run("microsite --version").stdout == f"microsite, version {__version__}\n"


def test_a_platform_s_two_lines(machine: Machine, postgres: str) -> None:
    url = f"{postgres}/postgres"
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE platform"))
    port = free_port()
    platform = {
        "PORT": port,
        "DATABASE_URL": f"{postgres}/platform".replace("postgresql+psycopg://", "postgres://"),
        "SECRET_KEY": "k" * 40,
    }
    release, web = machine.procfile("release"), machine.procfile("web")
    asked = machine.run(release, **platform)
    assert asked.returncode == 0, asked.stderr
    refused = machine.run(web, **platform)
    assert refused.returncode == 1
    assert "BASE_URL must be set" in refused.stderr

    platform["MICROSITE_BASE_URL"] = "https://files.example.org"
    machine.start(web, port, **platform)
    assert status(ELSEWHERE, port, Host="files.example.org") == 200
    assert status(ELSEWHERE, port) == 400


def test_gunicorn_finds_the_site_by_the_usual_name(machine: Machine) -> None:
    port = free_port()
    machine.start("gunicorn -c python:microsite.gunicorn_conf microsite.wsgi:application", port, PORT=port)
    assert status("127.0.0.1", port) == 200


def test_the_example_of_settings_is_sound(machine: Machine) -> None:
    """Every line, uncommented, is a setting that is accepted."""
    example = (ROOT / ".env.example").read_text()
    lines = [line.removeprefix("#") for line in example.splitlines() if re.match(r"#MICROSITE_", line)]
    given = [line for line in lines if not line.endswith("=") and "INSTANCE" not in line]
    (machine.folder / ".env").write_text("\n".join(given))
    shown = machine.run("microsite config")
    assert shown.returncode == 0, shown.stderr
    assert "Our files" in shown.stdout
