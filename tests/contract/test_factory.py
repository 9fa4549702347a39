"""The factory does nothing but build: no connection, no network, no thread, no process, no prompt."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

BUILD = """
import json, sys, threading

import microsite.app

microsite.app.known_features()  # importing is not building: urllib3 tries out whether there is IPv6
seen = []
WATCHED = {
    "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto",
    "sqlite3.connect", "subprocess.Popen", "os.fork", "os.system",
    "os.posix_spawn", "builtins.input",
}
threading.setprofile(lambda *frame: seen.append("a thread") if "a thread" not in seen else None)
sys.addaudithook(lambda name, arguments: seen.append(name) if name in WATCHED else None)

from sqlalchemy import event
from sqlalchemy.engine import Engine

event.listen(Engine, "do_connect", lambda *arguments: seen.append("a database connection"))

from microsite import create_app

app = create_app(**json.loads(sys.argv[1]))
lasting = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
for thread in lasting:
    thread.join(1)  # one that ends by itself was started all the same
threading.setprofile(None)
built, threads = list(seen), [str(thread) for thread in lasting]
from microsite.core.db import db

with app.app_context():
    try:
        db.engine.connect().close()
    except Exception:
        pass
print(json.dumps({"built": built, "threads": threads, "then": seen[len(built):]}))
"""


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:1/nothing"},
        {
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "WORKERS": 2,
            "MAIL_SERVER": "mail.invalid",
            "ADMINS": "a@example.org",
        },
    ],
    ids=["embedded", "a database out of reach", "Redis and mail out of reach"],
)
def test_building_talks_to_nobody(tmp_path: Path, settings: dict[str, Any]) -> None:
    arguments = json.dumps({"INSTANCE": str(tmp_path / "instance")} | settings)
    command = [sys.executable, "-c", BUILD, arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 0, f"create_app must build with whatever is out of reach: {done.stderr}"
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["threads"] == [], f"create_app starts {found['threads']}; start them with the first need"
    assert found["built"] == [], (
        f"create_app does {found['built']}; do it at the first use, or in `microsite check`"
    )
    assert "a database connection" in found["then"], "the watch has fallen asleep; mend it"


def test_building_here_opens_no_connection(make_app: Callable[..., Any]) -> None:
    opened: list[str] = []

    def watch(dialect: Any, record: Any, arguments: Any, parameters: Any) -> None:
        opened.append(dialect.name)

    event.listen(Engine, "do_connect", watch)
    try:
        app = make_app()
        assert opened == []
        assert app.test_client().get("/readyz").status_code == 200
        assert opened, "the watch has fallen asleep; mend it"
    finally:
        event.remove(Engine, "do_connect", watch)


def test_building_writes_no_database(tmp_path: Path) -> None:
    from microsite import create_app

    instance = tmp_path / "instance"
    create_app(INSTANCE=str(instance))
    assert not list(instance.rglob("*.db*")), (
        "create_app must leave making the database to the operator's commands"
    )
