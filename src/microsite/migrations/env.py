"""Runs the migrations over the application's engine, each in one transaction."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from flask import current_app
from sqlalchemy import text
from sqlalchemy.engine import Connection

from microsite.core.db import Base, UTCDateTime

LOCK = 0x6D696372
"""Advisory lock on PostgreSQL: of two upgrades at once one waits."""


def render(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Migrations name plain types only, so that they never need the models' own."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UTCDateTime) else False


def number(_context: Any, _revision: Any, directives: list[Any]) -> None:
    """A new migration has the number after the newest, whichever command writes it."""
    newest = context.script.get_current_head() or "0"
    for directive in directives:
        directive.rev_id = f"{int(newest) + 1:04d}"


def run(connection: Connection) -> None:
    options: dict[str, Any] = dict(current_app.extensions["migrate"].configure_args)
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        transactional_ddl=True,
        render_item=render,
        process_revision_directives=number,
        **options,
    )
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        context.run_migrations()


engine = current_app.extensions["migrate"].db.engine
with engine.connect() as bound:
    if engine.dialect.name == "sqlite":
        # A table that is rebuilt must not take its children along; the pragma works outside a transaction only.
        bound.connection.driver_connection.execute("PRAGMA foreign_keys=OFF")
        run(bound.execution_options(microsite_begin="BEGIN IMMEDIATE"))
    else:
        run(bound)
engine.dispose()
