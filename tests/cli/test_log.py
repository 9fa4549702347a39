"""What the site says when it starts, and where each line of the log comes from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from microsite import __version__
from tests.conftest import Server


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_a_start_says_what_starts(serve: Callable[..., Server]) -> None:
    server = serve(FEATURES_OFF="chat", BASE_URL="https://files.example.org")
    database = make_url(server.environment["MICROSITE_DATABASE_URL"])
    for text in (server.out.read_text(), (server.instance / "logs/microsite.log").read_text("utf-8")):
        (started,) = (line for line in lines(text) if line["message"].startswith("Microsite "))
        message = started["message"]
        assert message.startswith(f"Microsite {__version__} starts: listening on 127.0.0.1:{server.port}, ")
        assert (
            "public address https://files.example.org, features errors, site, auth, files, links, " in message
        )
        assert "chat" not in message.partition("database")[0]
        assert str(database.database) in message
        assert Path(started["file"]).name == "database.py"
        assert Path(started["file"]).read_text().splitlines()[started["line"] - 1].strip()


def test_the_database_is_named_without_its_password(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from microsite.cli import database

    secret = make_url("postgresql+psycopg://anna:hush@db.example:5433/site?password=hush&sslmode=require")
    with app.app_context():
        monkeypatch.setattr(database.db.engine, "url", secret)
        message = database.what_starts(app)
    assert message.endswith("database postgresql+psycopg://db.example:5433/site")
