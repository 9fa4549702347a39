"""The database: transactions and types. The only place that commits.

Reads run in a plain transaction that begins by itself. Writes run in `with atomic():`, which on SQLite takes the
write lock at once (BEGIN IMMEDIATE): a transaction that first reads and then writes would fail as soon as another
connection has written in between, whatever busy_timeout says.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Flask, current_app, g, has_request_context, request
from sqlalchemy import DateTime, Dialect, Engine, event
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.types import TypeDecorator

from microsite.core.exceptions import StorageFull, Unavailable
from microsite.extensions import Base, db

__all__ = [
    "Base",
    "NotSent",
    "UTCDateTime",
    "after_commit",
    "atomic",
    "db",
    "in_transaction",
    "opaque_id",
    "refuse_unsent",
    "release",
    "writes_on_get",
]

BUSY_TIMEOUT_MS = 15_000
_IMMEDIATE = {"microsite_begin": "BEGIN IMMEDIATE"}


class UTCDateTime(TypeDecorator[datetime]):
    """Aware UTC in Python; naive UTC in SQLite, which has no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - interface
        if value is None or value.tzinfo is UTC:
            return value
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def opaque_id() -> str:
    """A public id: 128 random bits, URL-safe, 22 characters. It never looks like an option of a command."""
    made = secrets.token_urlsafe(16)
    return opaque_id() if made.startswith("-") else made


def engine_options(url: str) -> dict[str, Any]:
    """Pool sized for many threads that each hold a connection only for moments."""
    options: dict[str, Any] = {"pool_size": 20, "max_overflow": 30, "pool_timeout": 15}
    options["hide_parameters"] = True  # messages and addresses do not belong into logs and error mails
    if url.startswith("postgresql"):
        options |= {"pool_pre_ping": True, "connect_args": {"connect_timeout": 5}}
    return options


@event.listens_for(Engine, "connect")
def _prepare_sqlite(connection: Any, _record: Any) -> None:
    if not type(connection).__module__.startswith("sqlite3"):
        return
    connection.isolation_level = None  # we say BEGIN ourselves
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "foreign_keys=ON",
        "synchronous=FULL",
        "secure_delete=ON",  # what is erased is overwritten; builds differ in what they do unasked
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


@event.listens_for(Engine, "begin")
def _begin_sqlite(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        return
    if "microsite_begin" in connection.get_execution_options():
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:  # waits for nothing and cannot fail, so that no error need be translated
        connection.connection.cursor().execute("BEGIN")


class NotSent(Exception):
    """A form is only shown again, by `core.unsent`: what it would write is not written."""


def refuse_unsent() -> None:
    """Raise NotSent where a form is only shown again."""
    if g.get("not_sent"):
        raise NotSent


def writes_on_get(reason: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a view whose GET may write, and say why."""

    def mark(view: Callable[..., Any]) -> Callable[..., Any]:
        view.writes_on_get = reason  # type: ignore[attr-defined]
        return view

    return mark


def _refuse_on_get() -> None:
    if not has_request_context() or request.method not in ("GET", "HEAD") or request.endpoint is None:
        return
    view = current_app.view_functions.get(request.endpoint)
    if not getattr(view, "writes_on_get", None):
        raise RuntimeError(
            f"{request.endpoint} writes during {request.method}; use POST, or mark it @writes_on_get(reason)"
        )


def in_transaction() -> bool:
    """Whether an `atomic()` block is open in this context."""
    return bool(g.get("atomic", False))


@contextmanager
def atomic(*, despite_get: str | None = None) -> Iterator[None]:
    """One write transaction: all of the block or nothing.

    Ends the open read first (loaded objects expire and are read anew), commits at the end, then runs what
    `after_commit` collected. Raises NotSent while a form is only shown again, Unavailable when the database
    stays locked, StorageFull when its disk is full, RuntimeError when nested or when a GET writes
    (`despite_get` gives the reason where no view can be marked).
    """
    if in_transaction():
        raise RuntimeError("atomic() is not nested: services flush, the edge commits")
    refuse_unsent()
    if despite_get is None:
        _refuse_on_get()
    session = db.session()
    g.atomic, g.after_commit = True, []
    try:
        session.rollback()
        with _turn():
            try:
                session.connection(execution_options=_IMMEDIATE)
                yield
                session.commit()
            except BaseException:
                session.rollback()
                raise
        effects = g.after_commit
    except OperationalError as error:
        raise _translated(error) from error
    finally:
        g.atomic, g.after_commit = False, []
    for effect in effects:
        try:
            effect()
        except Exception:
            current_app.logger.exception("after commit: %s failed", getattr(effect, "__qualname__", effect))


@contextmanager
def _turn() -> Iterator[None]:
    """On SQLite, one writer of this process after the other: its own waiting is sleeping and looking again, which is slow
    and unfair to whoever came first. Writers of other processes still wait in the database."""
    if db.engine.dialect.name != "sqlite":
        yield
        return
    turn: threading.Lock = current_app.extensions["microsite.write_turn"]
    if not turn.acquire(timeout=BUSY_TIMEOUT_MS / 1000):
        raise Unavailable("The site is busy.")
    try:
        yield
    finally:
        turn.release()


def checkpoint() -> None:
    """On SQLite, empty the write-ahead log, in which what was erased may still stand. Others do that by themselves."""
    log = Path(f"{db.engine.url.database}-wal")
    if db.engine.dialect.name == "sqlite" and log.exists() and log.stat().st_size:
        with _turn(), db.engine.connect() as connection:
            cursor = connection.connection.cursor()
            for pragma in ("busy_timeout=200", "wal_checkpoint(TRUNCATE)", f"busy_timeout={BUSY_TIMEOUT_MS}"):
                cursor.execute(f"PRAGMA {pragma}")  # whoever reads longer is waited for another time
            cursor.close()


def _translated(error: DBAPIError) -> Exception:
    text = str(error.orig)
    if "full" in text or "No space" in text:
        return StorageFull()
    if "locked" in text or "busy" in text:
        return Unavailable("The site is busy.")
    return error


def after_commit(effect: Callable[[], None]) -> None:
    """Run `effect` once the present `atomic()` block is committed; never when it is rolled back."""
    if not in_transaction():
        raise RuntimeError("after_commit() outside atomic()")
    g.after_commit.append(effect)


def release() -> None:
    """Give the connection back before a body is read, a poll waits or bytes are sent.

    Loaded objects expire: touching one takes a connection again, so read what is needed before.
    """
    if in_transaction():
        raise RuntimeError("release() inside atomic()")
    db.session.rollback()


def init_app(app: Flask) -> None:
    app.config["SQLALCHEMY_DATABASE_URI"] = app.config["DATABASE_URL"]
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(app.config["DATABASE_URL"])
    app.extensions["microsite.write_turn"] = threading.Lock()
    db.init_app(app)
