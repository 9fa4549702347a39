"""The database as the operator handles it: migrate, refuse to start unmigrated, copy before a change."""

from __future__ import annotations

import secrets
from pathlib import Path

import click
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy.exc import SQLAlchemyError

from microsite.auth.services import setup_token
from microsite.config import ConfigError
from microsite.core.clock import now
from microsite.core.db import atomic, db, release

COPIES_KEPT = 5


def head(app: Flask) -> str:
    """The newest revision that this program knows."""
    scripts = ScriptDirectory(app.extensions["migrate"].directory)
    found = scripts.get_current_head()
    assert found is not None
    return found


def current() -> str | None:
    """The revision of the database. Raises ConfigError when it is out of reach."""
    try:
        with db.engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        raise ConfigError(f"DATABASE_URL: the database is out of reach: {reason}.") from None


def make_ready(app: Flask) -> None:
    """Migrate SQLite by itself; on other databases refuse an unmigrated one. Greets on an empty site."""
    found, wanted = current(), head(app)
    if found != wanted:
        if db.engine.dialect.name != "sqlite":
            raise ConfigError("DATABASE_URL: the database is not migrated; run: microsite db upgrade")
        migrate_sqlite(app, found)
    greet(app)
    release()


def greet(app: Flask) -> None:
    """On an empty site print the one-time address at which the first administrator is made."""
    with atomic():
        token = setup_token()
    if token:
        click.echo("Nobody has an account here yet. Make the first administrator at this address; it works once:")
        click.echo(f"{app.config['BASE_URL']}/auth/setup/{token}")


def migrate_sqlite(app: Flask, found: str | None) -> None:
    """Bring the file to the newest revision, after a copy of what it holds."""
    if found is not None:
        copy_sqlite(Path(app.config["INSTANCE"], "copies"), found)
    upgrade()


def copy_sqlite(folder: Path, revision: str) -> Path:
    """Copy the database by VACUUM INTO, and keep the newest copies only."""
    folder.mkdir(mode=0o700, exist_ok=True)
    target = folder / f"{now():%Y%m%d-%H%M%S}-{revision}-{secrets.token_hex(2)}.db"
    with db.engine.connect() as connection:
        raw = connection.connection.driver_connection  # outside a transaction, which VACUUM needs
        assert raw is not None
        raw.execute("VACUUM INTO ?", (str(target),))
    target.chmod(0o600)
    for old in sorted(folder.glob("*.db"))[:-COPIES_KEPT]:
        old.unlink()
    click.echo(f"The database was copied to {target} before its migration.", err=True)
    return target
