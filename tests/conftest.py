"""Fixtures of the whole suite: applications, members, real servers, a real browser.

`TEST_DATABASE=postgresql` runs the same suite on PostgreSQL; `REQUIRE_SERVERS=1` turns a missing program from a skip
into a failure.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

for _name in [name for name in os.environ if name.startswith("MICROSITE_")]:
    del os.environ[_name]
os.environ["MICROSITE_ENV"] = "testing"

from microsite import create_app  # noqa: E402 - the environment is cleared first
from microsite.core.db import atomic  # noqa: E402 - the environment is cleared first
from microsite.core.identity import Role, User  # noqa: E402 - the environment is cleared first
from microsite.core.passwords import hash_password  # noqa: E402 - the environment is cleared first
from tests.reviewer import ReviewingClient  # noqa: E402 - the environment is cleared first

PASSWORD = "correct horse battery"
DATABASE = os.environ.get("TEST_DATABASE", "sqlite")
MICROSITE = [sys.executable, "-m", "microsite"]


def need(program: str, *places: str) -> str:
    """The path of a program; without it the test is skipped by name, or fails where every server is required."""
    found = shutil.which(program) or next(
        (p for place in places for p in map(str, sorted(Path("/").glob(place.lstrip("/"))))), None
    )
    if found is None:
        if os.environ.get("REQUIRE_SERVERS"):
            pytest.fail(f"{program} is required here and not installed")
        pytest.skip(f"{program} is not installed")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Any], seconds: float = 20.0, what: str = "the condition") -> Any:
    """Ask until the answer is truthy; fail by name when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := condition():
            return answer
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        time.sleep(0.02)


# --- databases ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A real PostgreSQL server of this test process; gives its address without a database name.

    Its data lie outside of pytest's own folder, which every new session closes to other users again: a server that
    runs as another one would lose its files.
    """
    initdb = need("initdb", "/usr/lib/postgresql/*/bin/initdb")
    folder, port = Path(tempfile.mkdtemp(prefix="microsite-postgres-")), free_port()
    as_user: list[str] = []
    if os.getuid() == 0:  # initdb refuses to run as root
        as_user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    data = str(folder / "data")
    subprocess.run(
        [*as_user, initdb, "-D", data, "-A", "trust", "-U", "postgres", "--no-sync"], check=True, **quiet
    )
    options = [
        "-p",
        str(port),
        "-k",
        str(folder),
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "fsync=off",
        "-c",
        "max_connections=300",
    ]
    server = subprocess.Popen(
        [*as_user, str(Path(initdb).with_name("postgres")), "-D", data, *options], **quiet
    )
    base = f"postgresql+psycopg://postgres@127.0.0.1:{port}"
    engine = create_engine(f"{base}/postgres", isolation_level="AUTOCOMMIT", poolclass=NullPool)

    def up() -> bool:
        with contextlib.suppress(Exception), engine.connect() as connection:
            return bool(connection.execute(text("SELECT 1")).scalar())
        return False

    wait_for(up, 30, "PostgreSQL")
    engine.dispose()
    yield base
    pid = int(Path(data, "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGINT)
    server.wait(30)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def new_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Path], str]:
    """Make a migrated, empty database for an instance folder, and give its address."""
    if DATABASE == "postgresql":
        return _new_postgres(request.getfixturevalue("postgres"), tmp_path_factory)
    template = tmp_path_factory.mktemp("template")
    migrated(f"sqlite:///{template}/microsite.db", template)

    def copy(folder: Path) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".testing").touch()
        shutil.copy(template / "microsite.db", folder / "microsite.db")
        return f"sqlite:///{folder}/microsite.db"

    return copy


def _new_postgres(base: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    engine = create_engine(f"{base}/postgres", isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE template_microsite"))
    migrated(f"{base}/template_microsite", tmp_path_factory.mktemp("template"))

    def create(folder: Path) -> str:
        name = f"t{uuid.uuid4().hex}"
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template_microsite"))
        return f"{base}/{name}"

    return create


def migrated(url: str, folder: Path) -> None:
    """Bring a database to the newest revision, by the operator's command."""
    environment = os.environ | {"MICROSITE_DATABASE_URL": url, "MICROSITE_INSTANCE": str(folder)}
    subprocess.run([*MICROSITE, "db", "upgrade"], env=environment, check=True, stderr=subprocess.DEVNULL)


@pytest.fixture(autouse=True)
def _push_request_context() -> None:
    """Keep pytest-flask from putting every test into a GET request: a test opens the context that it needs."""


@pytest.fixture
def client(app: Any) -> Any:
    """A test client that keeps no context open between its requests."""
    return app.test_client()


# --- applications and members --------------------------------------------------------------------------------------


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    return tmp_path / "instance"


@pytest.fixture
def make_app(instance: Path, new_database: Callable[[Path], str]) -> Iterator[Callable[..., Any]]:
    """Build an application on a fresh database; settings as keywords. A second call builds another on the same one."""
    from microsite.core.db import db

    made: list[Any] = []
    url = new_database(instance)

    def make(**settings: Any) -> Any:
        app = create_app(**{"INSTANCE": str(instance), "DATABASE_URL": url} | settings)
        app.test_client_class = ReviewingClient
        made.append(app)
        return app

    yield make
    for app in made:
        with app.app_context():
            db.engine.dispose()


@pytest.fixture
def app(make_app: Callable[..., Any]) -> Any:
    return make_app()


@pytest.fixture
def make_user(app: Any) -> Callable[..., str]:
    """Add a confirmed member, with the password of all tests; gives the name."""

    def make(username: str, role: str = "member", application: Any = None) -> str:
        with (application or app).app_context():
            add_member(username, role)
        return username

    return make


def add_member(username: str, role: str = "member") -> User:
    from microsite.auth.services import create_user

    hashed = hash_password(PASSWORD)
    with atomic():
        return create_user(username, f"{username}@example.org", hashed, Role(role), confirmed=True)


def form_token(page: Any) -> str:
    """The form token of a page that a test client or `requests` got."""
    html = page.get_data(as_text=True) if hasattr(page, "get_data") else page.text
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', html)
    assert found, f"no form token in the page: {html[:300]}"
    return found[1]


def sign_in(client: Any, username: str, password: str = PASSWORD, **fields: Any) -> Any:
    """Sign a test client in by the form; gives the response."""
    token = form_token(client.get("/auth/login"))
    return client.post(
        "/auth/login", data={"csrf_token": token, "username": username, "password": password} | fields
    )


@pytest.fixture
def anna(app: Any, make_user: Callable[..., str]) -> Any:
    """A test client that anna is signed in with."""
    make_user("anna")
    client = app.test_client()
    assert sign_in(client, "anna").status_code == 303
    return client


@pytest.fixture
def make_key(app: Any, make_user: Callable[..., str]) -> Callable[..., dict[str, str]]:
    """Headers with an API key of a member, who is added when new."""

    def make(
        username: str, role: str = "member", application: Any = None, scopes: list[str] | None = None
    ) -> dict[str, str]:
        from microsite.auth.credentials import create_key
        from microsite.auth.services import user_by_name

        with (application or app).app_context():
            user = user_by_name(username) or add_member(username, role)
            with atomic():
                secret, _ = create_key(user, "test", scopes, None)
        return {"Authorization": f"Bearer {secret}"}

    return make


@pytest.fixture
def run_jobs(app: Any) -> Callable[[], int]:
    """Run the background jobs that are due now; gives their number."""
    from microsite.core.jobs import run_due

    def run() -> int:
        with app.app_context():
            return run_due()

    return run


# --- real servers --------------------------------------------------------------------------------------------------


class Server:
    """A `microsite serve` that was started as its operator would, on a free port."""

    def __init__(self, folder: Path, environment: dict[str, str], arguments: tuple[str, ...] = ()) -> None:
        self.folder, self.environment, self.arguments = folder, environment, arguments
        self.port = int(environment["MICROSITE_PORT"])
        self.url = f"http://127.0.0.1:{self.port}"
        self.out = folder / "server.out"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.out.open("ab") as out:
            self.process = subprocess.Popen(
                [*MICROSITE, "serve", *self.arguments],
                env=self.environment,
                cwd=self.folder,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

        def up() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.out.read_text()
            with contextlib.suppress(requests.RequestException):
                return requests.get(f"{self.url}/readyz", timeout=5).status_code == 200
            return False

        wait_for(up, 40, "the server")
        return self

    @property
    def instance(self) -> Path:
        return Path(self.environment["MICROSITE_INSTANCE"])

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(40)

    def kill(self) -> None:
        """SIGKILL the whole of it, as a power cut would."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def command(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """An operator's command on the same site."""
        return subprocess.run(
            [*MICROSITE, *arguments],
            check=False,
            env=self.environment,
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def setup_address(self) -> str:
        found = re.findall(r"http\S+/auth/setup/\S+", self.out.read_text())
        assert found, self.out.read_text()
        return str(found[-1])

    def add(self, username: str, role: str = "member") -> dict[str, str]:
        """Add a member by command, and give headers with an access token."""
        done = self.command(
            "user",
            "create",
            username,
            "--email",
            f"{username}@example.org",
            "--role",
            role,
            "--password-stdin",
            stdin=f"{PASSWORD}\n",
        )
        assert done.returncode == 0, done.stderr
        return self.token(username)

    def token(self, username: str) -> dict[str, str]:
        answer = requests.post(
            f"{self.url}/api/v1/token", json={"username": username, "password": PASSWORD}, timeout=10
        )
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def start_server(folder: Path, database: str, *arguments: str, **settings: Any) -> Server:
    own = {
        "INSTANCE": folder / "instance",
        "PORT": free_port(),
        "DATABASE_URL": database,
        "ENV": "testing",
    } | settings
    environment = os.environ | {f"MICROSITE_{name}": str(value) for name, value in own.items()}
    return Server(folder, environment, arguments).start()


@pytest.fixture
def serve(tmp_path: Path, new_database: Callable[[Path], str]) -> Iterator[Callable[..., Server]]:
    """Start servers with settings of their own; all end with the test."""
    started: list[Server] = []

    def start(*arguments: str, **settings: Any) -> Server:
        folder = tmp_path / f"server{len(started)}"
        database = settings.pop("DATABASE_URL", None) or new_database(folder / "instance")
        started.append(start_server(folder, database, *arguments, **settings))
        return started[-1]

    yield start
    for server in started:
        if server.process is not None and server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="module")
def shared_server(
    tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[Path], str]
) -> Iterator[Server]:
    """One server for all tests of a module that do not disturb one another."""
    folder = tmp_path_factory.mktemp("shared")
    server = start_server(folder, new_database(folder / "instance"))
    yield server
    server.kill()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis server of this test process; gives its address."""
    program, port = need("redis-server"), free_port()
    folder = tmp_path_factory.mktemp("redis")
    process = subprocess.Popen(
        [
            program,
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(folder),
        ],
        stdout=subprocess.DEVNULL,
    )

    def up() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return b"PONG" in connection.recv(16)
        return False

    wait_for(up, 10, "Redis")
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A real Chromium, driven by Playwright."""
    program = need("chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
    from playwright.sync_api import sync_playwright

    arguments = [
        "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    ]  # fmt: skip
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()
