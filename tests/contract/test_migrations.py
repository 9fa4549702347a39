"""One linear history, walked both ways on a real database, that ends exactly where the models are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask_migrate import downgrade, upgrade
from sqlalchemy import inspect, text

from microsite.core.db import Base, db


@pytest.fixture
def bound(make_app: Callable[..., Any]) -> Iterator[Any]:
    app = make_app()
    with app.app_context():
        yield app
        db.session.rollback()
        db.engine.dispose()


def scripts(app: Any) -> ScriptDirectory:
    return ScriptDirectory(app.extensions["migrate"].directory)


def revision() -> str | None:
    with db.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def tables() -> set[str]:
    with db.engine.connect() as connection:
        return set(inspect(connection).get_table_names()) - {"alembic_version"}


def differences(app: Any) -> list[Any]:
    """What a new migration would have to do."""
    options = app.extensions["migrate"].configure_args | {"compare_type": True}
    with db.engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))


def test_there_is_one_head_and_no_branch(bound: Any) -> None:
    found = scripts(bound)
    assert len(found.get_heads()) == 1, (
        f"two migrations claim to be the last: {found.get_heads()}; put one behind the other"
    )
    assert len(found.get_bases()) == 1
    branches = [
        script.revision
        for script in found.walk_revisions()
        if script.is_branch_point or script.is_merge_point
    ]
    assert not branches, f"the history must be one line; it branches at {branches}"


def test_the_migrated_database_equals_the_models(bound: Any) -> None:
    assert revision() == scripts(bound).get_current_head()
    found = differences(bound)
    assert not found, f"the models changed; run `microsite db revision MESSAGE`: {found}"


def test_a_difference_would_be_found(bound: Any) -> None:
    with db.engine.begin() as connection:
        connection.execute(text("ALTER TABLE users ADD COLUMN planted INTEGER"))
        connection.execute(text("CREATE TABLE planted (id INTEGER PRIMARY KEY)"))
    found = differences(bound)
    assert {item[0] for item in found} == {"remove_column", "remove_table"}, found


def test_down_to_nothing_and_up_again_twice(bound: Any) -> None:
    there = tables()
    assert there == set(Base.metadata.tables)
    for _ in range(2):
        downgrade(revision="base")
        assert tables() == set(), "downgrade() of a migration leaves tables behind"
        assert revision() is None
        upgrade()
        assert tables() == there
        assert revision() == scripts(bound).get_current_head()
        found = differences(bound)
        assert not found, f"going down and up again does not end at the models: {found}"


def test_every_single_step_goes_both_ways(bound: Any) -> None:
    line = [script.revision for script in scripts(bound).walk_revisions()]  # the newest first
    for older in [*line[1:], "base"]:
        downgrade(revision=older)
        assert (revision() or "base") == older
    for newer in reversed(line):
        upgrade(revision=newer)
        assert revision() == newer
    assert not differences(bound)


def test_every_constraint_and_index_has_a_name() -> None:
    for table in Base.metadata.sorted_tables:
        for item in [*table.constraints, *table.indexes]:
            assert getattr(item, "name", None), (
                f"{table.name}: give {item!r} a name, or SQLite's batch migrations cannot find it"
            )
