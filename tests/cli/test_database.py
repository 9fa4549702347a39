"""`microsite db …` and `microsite check`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from microsite.core.clock import now
from microsite.core.db import atomic, db
from microsite.core.jobs import Job
from tests.conftest import DATABASE, PASSWORD, free_port

from .steps import Site, new_site


def test_down_and_up_again(tmp_path: Path, new_database: Callable[[Path], str]) -> None:
    site = new_site(tmp_path, new_database)
    at_head = json.loads(site.done("db", "status", "--json"))
    assert at_head["revision"] == at_head["newest"]
    site.done("db", "downgrade", "base")
    status = site.run("db", "status")
    assert status.returncode == 1
    assert at_head["newest"] in status.stdout
    if DATABASE == "sqlite":
        (copy,) = (site.instance / "copies").iterdir()
        assert copy.stat().st_mode & 0o777 == 0o600
    else:
        for command in (["serve", "--port", str(free_port())], ["user", "list"]):
            assert "microsite db upgrade" in site.refused(*command)
    assert at_head["newest"] in site.done("db", "upgrade")
    site.done("db", "upgrade")
    site.done("db", "status")


def test_unknown_revision_is_refused(tmp_path: Path, new_database: Callable[[Path], str]) -> None:
    site = new_site(tmp_path, new_database)
    assert "nonsense" in site.refused("db", "downgrade", "nonsense")


@pytest.mark.skipif(DATABASE != "sqlite", reason="only SQLite migrates by itself")
def test_sqlite_migrates_by_itself(tmp_path: Path) -> None:
    site = Site(tmp_path, None)
    assert site.run("db", "status").returncode == 1
    site.done(
        "user", "create", "anna", "--email", "anna@example.org", "--password-stdin", stdin=PASSWORD + "\n"
    )
    site.done("db", "status")


def findings(site: Site, *arguments: str, code: int, **settings: Any) -> list[dict[str, str]]:
    done = site.run("check", "--json", *arguments, **settings)
    assert done.returncode == code, done.stderr
    answer = json.loads(done.stdout)
    assert answer["ok"] is (code == 0)
    found: list[dict[str, str]] = answer["findings"]
    return found


def test_check_warns_and_is_content(tmp_path: Path, new_database: Callable[[Path], str]) -> None:
    site = new_site(tmp_path, new_database)
    assert {found["level"] for found in findings(site, code=0)} == {"warning"}
    assert findings(site, code=0, MAIL_SERVER="127.0.0.1", ADMINS="a@example.org", MAX_FILE_SIZE="1MiB") == []
    shown = site.done("check", BASE_URL="http://files.example.org")
    assert "warning: BASE_URL is http://files.example.org" in shown
    assert "No errors." in shown


def test_check_names_what_is_down(tmp_path: Path, new_database: Callable[[Path], str]) -> None:
    site = new_site(tmp_path, new_database)
    nobody = free_port()
    found = findings(
        site, "--mail", "anna@example.org", code=1, REDIS_URL=f"redis://127.0.0.1:{nobody}", MAIL_SERVER="127.0.0.1", MAIL_PORT=nobody,
        DATABASE_URL=f"postgresql://u@127.0.0.1:{nobody}/d",
    )  # fmt: skip
    assert {row["what"] for row in found if row["level"] == "error"} == {"database", "redis", "mail"}
    assert "DATABASE_URL" in " ".join(row["sentence"] for row in found)


def test_check_writes_a_trial_mail_and_tells_of_failed_jobs(
    tmp_path: Path, make_app: Callable[..., Any], new_database: Callable[[Path], str]
) -> None:
    app = make_app()
    with app.app_context(), atomic():
        db.session.add(Job(name="mail", failed_at=now(), error="SMTPException: no"))
    site = Site(tmp_path, app.config["DATABASE_URL"])
    (error,) = [
        row for row in findings(site, "--mail", "anna@example.org", code=1) if row["level"] == "error"
    ]
    assert error["what"] == "jobs"
    assert "SMTPException: no" in error["sentence"]
    (mail,) = (site.instance / "outbox").glob("*.eml")
    assert "To: anna@example.org" in mail.read_text()
    assert mail.stat().st_mode & 0o777 == 0o600


def test_check_finds_an_unmigrated_database_and_a_readable_key(
    tmp_path: Path, new_database: Callable[[Path], str]
) -> None:
    site = new_site(tmp_path, new_database)
    site.done("db", "downgrade", "base")
    (site.instance / "secret_key").chmod(0o644)
    found = [row for row in findings(site, code=1) if row["level"] == "error"]
    assert {row["what"] for row in found} == {"database", "settings"}
    assert "microsite db upgrade" in " ".join(row["sentence"] for row in found)
