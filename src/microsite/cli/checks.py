"""`microsite check`: everything that is wrong, in words."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import click
from flask import Flask


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong; `level` is error or warning."""

    level: str
    what: str
    sentence: str


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--mail", "address", help="Send a trial mail to this address.")
def check(as_json: bool, address: str | None) -> None:
    """Say everything that is wrong; exit 1 for errors, not for warnings."""
    from microsite.app import create_app

    app = create_app()
    with app.app_context():
        findings = list(findings_of(app, address))
    errors = [f for f in findings if f.level == "error"]
    if as_json:
        click.echo(json.dumps({"ok": not errors, "findings": [asdict(f) for f in findings]}, indent=2))
    else:
        for finding in findings:
            click.echo(f"{finding.level}: {finding.sentence}")
        if not findings:
            click.echo("Nothing is wrong.")
        elif not errors:
            click.echo("No errors.")
    sys.exit(1 if errors else 0)


def findings_of(app: Flask, address: str | None = None) -> Iterator[Finding]:
    """Everything that is wrong with this site."""
    database = list(_database(app))
    yield from database
    yield from _storage(app)
    yield from _redis(app)
    yield from _mail(app, address)
    yield from _settings(app)
    if not database:
        yield from _jobs()
        yield from _features()


def _database(app: Flask) -> Iterator[Finding]:
    from microsite.cli.database import current, head
    from microsite.config import ConfigError

    try:
        found = current()
    except ConfigError as error:
        yield Finding("error", "database", str(error))
        return
    if found != head(app):
        yield Finding(
            "error",
            "database",
            f"The database is at revision {found or 'none'}, not at {head(app)}; run: microsite db upgrade.",
        )


def _storage(app: Flask) -> Iterator[Finding]:
    from microsite.core.exceptions import DomainError, human_size
    from microsite.core.storage import storage

    try:
        with storage().writer() as writer:  # left without `finish`, so nothing stays
            writer.write(b"trial")
    except (DomainError, OSError) as error:
        yield Finding(
            "error",
            "storage",
            f"Files cannot be written in {storage().partial}: {getattr(error, 'detail', error)}",
        )
        return
    stat = os.statvfs(storage().objects)
    free = stat.f_bavail * stat.f_frsize
    if free < app.config.get("MAX_FILE_SIZE", 0):
        yield Finding(
            "warning",
            "storage",
            f"The disk has {human_size(free)} free, less than one file of MAX_FILE_SIZE ({human_size(app.config['MAX_FILE_SIZE'])}).",
        )


def _redis(app: Flask) -> Iterator[Finding]:
    if not app.config["REDIS_URL"]:
        return
    import redis

    try:
        redis.Redis.from_url(app.config["REDIS_URL"], socket_connect_timeout=5, socket_timeout=5).ping()
    except redis.RedisError as error:
        yield Finding("error", "redis", f"REDIS_URL: Redis does not answer: {error}.")


def _mail(app: Flask, address: str | None) -> Iterator[Finding]:
    if app.config["MAIL_SERVER"] is None:
        yield Finding(
            "warning",
            "mail",
            f"MAIL_SERVER is not set: mail is written to {Path(app.config['INSTANCE'], 'outbox')}, and nobody gets it.",
        )
    if not app.config["ADMINS"]:
        yield Finding("warning", "mail", "ADMINS is not set: nobody is told when something fails.")
    if address is None:
        return
    from microsite.core.mailer import transmit

    try:
        transmit(address, "Trial mail", "This mail shows that mail works.\n")
    except (OSError, ValueError) as error:
        yield Finding("error", "mail", f"The trial mail could not be sent: {error}.")


def _settings(app: Flask) -> Iterator[Finding]:
    from microsite.config import is_loopback

    if app.config["BASE_URL"].startswith("http:") and not is_loopback(
        app.config["BASE_URL"].split("//")[1].rsplit(":", 1)[0]
    ):
        yield Finding(
            "warning",
            "settings",
            f"BASE_URL is {app.config['BASE_URL']}: passwords and files cross the network unprotected. Use https.",
        )
    key = Path(app.config["INSTANCE"], "secret_key")
    if key.exists() and key.stat().st_mode & 0o077:
        yield Finding("error", "settings", f"{key} can be read by others; run: chmod 600 {key}.")


def _jobs() -> Iterator[Finding]:
    from sqlalchemy import func, select

    from microsite.core.clock import now
    from microsite.core.db import db
    from microsite.core.jobs import Job

    failed = db.session.execute(
        select(Job.name, func.count(), func.max(Job.error))
        .where(Job.failed_at.is_not(None))
        .group_by(Job.name)
    )
    for name, count, error in failed:
        yield Finding("error", "jobs", f"{count} {name} jobs failed for good; the last said: {error}.")
    late = select(func.count()).where(
        Job.failed_at.is_(None), Job.done_at.is_(None), Job.run_at < now() - timedelta(minutes=10)
    )
    waiting = db.session.scalar(late) or 0
    if waiting:
        yield Finding(
            "warning", "jobs", f"{waiting} jobs have waited for more than ten minutes. Is the site running?"
        )


def _features() -> Iterator[Finding]:
    from microsite.core.feature import registry

    for name, found in registry().capability("findings").items():
        for sentence in found():
            yield Finding("error", name, sentence)
