"""The database as the operator handles it: migrate, refuse to start unmigrated, copy before a change."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path

import click
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from flask import Flask
from flask_migrate import downgrade, upgrade
from flask_migrate import revision as write_revision
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from microsite import __version__
from microsite.auth.services import setup_token
from microsite.config import ConfigError
from microsite.core.clock import now
from microsite.core.db import atomic, db, release
from microsite.core.feature import registry

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
    """What every start needs: a migrated database, a line in the log, on an empty site the greeting."""
    make_migrated(app)
    app.logger.info(what_starts(app))
    greet(app)
    release()


def what_starts(app: Flask) -> str:
    """Version, where the site listens and is reached, its features and its database, without user and password."""
    host = app.config.get("FLASK_RUN_HOST", app.config["HOST"]).strip("[]")
    shown = f"[{host}]" if ":" in host else host
    features = ", ".join(feature.name for feature in registry().features)
    url = db.engine.url
    database = URL.create(url.drivername, host=url.host, port=url.port, database=url.database)
    return (
        f"Microsite {__version__} starts: listening on {shown}:{app.config['PORT']}, "
        f"public address {app.config['BASE_URL']}, features {features}, database {database}"
    )


def make_migrated(app: Flask) -> None:
    """Migrate SQLite by itself; refuse another database that is not migrated. Raises ConfigError."""
    found, wanted = current(), head(app)
    if found != wanted:
        if db.engine.dialect.name != "sqlite":
            raise ConfigError("DATABASE_URL: the database is not migrated; run: microsite db upgrade")
        migrate_sqlite(app, found)


def greet(app: Flask) -> None:
    """On an empty site print the one-time address at which the first administrator is made."""
    with atomic():
        token = setup_token()
    if token:
        click.echo(
            "Nobody has an account here yet. Make the first administrator at this address; it works once:"
        )
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


@click.group("db")
def database() -> None:
    """The database: upgrade, downgrade, status, revision."""


def _app() -> Flask:
    from microsite.app import create_app

    return create_app()


@database.command("upgrade")
def db_upgrade() -> None:
    """Bring the database to the newest revision."""
    app = _app()
    with app.app_context():
        found, wanted = current(), head(app)
        if found != wanted:
            if db.engine.dialect.name == "sqlite":
                migrate_sqlite(app, found)
            else:
                upgrade()
        click.echo(f"The database is at revision {wanted}.")


@database.command("downgrade")
@click.argument("revision")
def db_downgrade(revision: str) -> None:
    """Take the database back to an older revision (`base` empties it)."""
    app = _app()
    with app.app_context():
        try:  # before the copy, and since Flask-Migrate would log an unknown revision and exit by itself
            ScriptDirectory(app.extensions["migrate"].directory).get_revision(revision)
        except CommandError as error:
            raise ConfigError(f"{error}.") from None
        found = current()
        if db.engine.dialect.name == "sqlite" and found is not None:
            copy_sqlite(Path(app.config["INSTANCE"], "copies"), found)
        downgrade(revision=revision)
        click.echo(f"The database is at revision {current() or 'base'}.")


@database.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def db_status(as_json: bool) -> None:
    """Say at which revision the database is; exit 1 when it is not the newest."""
    app = _app()
    with app.app_context():
        found, wanted = current(), head(app)
    if as_json:
        click.echo(json.dumps({"revision": found, "newest": wanted}))
    else:
        click.echo(f"The database is at revision {found or 'none'}; the newest is {wanted}.")
    sys.exit(0 if found == wanted else 1)


@database.command("revision")
@click.argument("message")
def db_revision(message: str) -> None:
    """Write a migration from what the models say and the database does not have yet (for contributors)."""
    app = _app()
    with app.app_context():
        write_revision(message=message, autogenerate=True)
