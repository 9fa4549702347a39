"""GET spends nothing: `atomic()` refuses there, and walking through the whole site changes no row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from microsite.core.access import public
from microsite.core.clock import now
from microsite.core.db import Base, atomic, db, writes_on_get
from microsite.core.jobs import Job
from tests.contract.walk import crawl, lists, populate

WRITES_ON_GET = {"links.open_link", "links.download", "links.download_all"}
"""Add a name only for a row that the design allows during GET, and say the reason in the mark."""
MAY_CHANGE = {"sessions": {"seen_at", "data"}}


def test_views_that_write_on_get_are_the_known_ones(app: Any) -> None:
    marked = {name for name, view in app.view_functions.items() if hasattr(view, "writes_on_get")}
    assert marked == WRITES_ON_GET, (
        "a view lost or got @writes_on_get: use POST, or change this set with a reason"
    )
    for name in marked:
        assert app.view_functions[name].writes_on_get, f"{name}: say the reason in @writes_on_get(reason)"


@public
def writing() -> dict[str, bool]:
    with atomic():
        db.session.execute(insert(Job).values(name="mail", payload="{}", error="", run_at=now(), attempts=0))

    return {"written": True}


def jobs_in(app: Any) -> int:
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(Job)) or 0


def test_atomic_refuses_during_get_and_head(make_app: Callable[..., Any]) -> None:
    app = make_app()
    app.add_url_rule("/writing", view_func=writing)
    for method in ("GET", "HEAD"):
        with (
            app.test_request_context("/writing", method=method),
            pytest.raises(RuntimeError, match="use POST"),
        ):
            writing()
        assert app.test_client().open("/writing", method=method).status_code == 500, (
            f"a view that writes during {method} must fail, so that its author notices"
        )
    assert jobs_in(app) == 0


def test_atomic_writes_where_it_is_marked(make_app: Callable[..., Any]) -> None:
    app = make_app()

    @public
    @writes_on_get("a reason")
    def marked() -> dict[str, bool]:
        return writing()

    app.add_url_rule("/marked", view_func=marked)
    answer = app.test_client().get("/marked")
    assert (answer.status_code, answer.get_json()) == (200, {"written": True})
    assert jobs_in(app) == 1


def dump(app: Any) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, without what a mere visit may change."""
    found = {}
    with app.app_context():
        for table in Base.metadata.sorted_tables:
            left_out = MAY_CHANGE.get(table.name, set())
            kept = [column for column in table.columns if column.name not in left_out]
            order = list(table.primary_key.columns)
            found[table.name] = [tuple(row) for row in db.session.execute(select(*kept).order_by(*order))]
        db.session.rollback()
    return found


def test_walking_through_the_site_changes_no_row(app: Any, anna: Any, make_user: Callable[..., str]) -> None:
    populate(anna, make_user)
    starts = lists(app)
    before = dump(app)
    answers = crawl(anna, *starts)
    after = dump(app)
    for name, rows in before.items():
        assert after[name] == rows, f"a GET or HEAD changed the table {name}; find the view and use POST"
    failed = {path: answer.status_code for path, answer in answers.items() if answer.status_code >= 400}
    assert not failed, f"these addresses stand on a page or take no value, and must answer: {failed}"
    assert before["files"], "the walk needs rows to look at"
    downloads = [path for path in answers if path.startswith("/files/") and path.endswith("/download")]
    assert downloads, "the walk must reach what pages link to"
