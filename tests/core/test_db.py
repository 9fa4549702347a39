"""Transactions: exact under load, never nested, never by GET; and what runs after one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from microsite.core.db import UTCDateTime, after_commit, atomic, db, in_transaction, release
from microsite.core.exceptions import Unavailable
from microsite.core.jobs import Job
from tests.conftest import DATABASE

THREADS, ROUNDS = 8, 50


def add(name: str) -> None:
    db.session.add(Job(name=name))
    db.session.flush()


class Broken(Exception):
    """What goes wrong inside a transaction."""


def fail_after(does: Callable[[], None]) -> None:
    does()
    raise Broken


def nest() -> None:
    add("lost")
    with atomic():
        add("never")


def names(app: Any) -> list[str]:
    with app.app_context():
        return list(db.session.scalars(select(Job.name).order_by(Job.id)))


def test_read_modify_write_is_exact(app: Any) -> None:
    with app.app_context(), atomic():
        add("counter")
    gate = threading.Barrier(THREADS)

    def count() -> None:
        gate.wait(20)
        for _ in range(ROUNDS):
            with app.app_context():
                assert (
                    db.session.scalar(select(func.count()).select_from(Job)) == 1
                )  # a read is open when the write begins
                with atomic():
                    job = db.session.scalars(select(Job).with_for_update()).one()
                    job.attempts = job.attempts + 1

    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(count) for _ in range(THREADS)]:
            done.result(120)
    with app.app_context():
        assert db.session.scalar(select(Job.attempts)) == THREADS * ROUNDS


def test_objects_loaded_before_are_read_anew(app: Any) -> None:
    with app.app_context(), atomic():
        add("old name")
    with app.app_context():
        job = db.session.scalars(select(Job)).one()
        assert job.name == "old name"

        def rename() -> None:
            with app.app_context(), atomic():
                db.session.scalars(select(Job)).one().name = "new name"

        with ThreadPoolExecutor(1) as pool:
            pool.submit(rename).result(20)
        with atomic():
            assert job.name == "new name"


def test_all_or_nothing(app: Any) -> None:
    with app.app_context():
        with pytest.raises(Broken), atomic():
            fail_after(lambda: add("lost"))
        assert not in_transaction()
        with atomic():
            add("kept")
    assert names(app) == ["kept"]


def test_nested_is_refused(app: Any) -> None:
    with app.app_context():
        with pytest.raises(RuntimeError, match="not nested"), atomic():
            nest()
        with pytest.raises(RuntimeError, match="inside atomic"), atomic():
            release()
    assert names(app) == []


def test_effects_run_after_the_commit_in_order(app: Any) -> None:
    seen: list[Any] = []
    with app.app_context():
        with atomic():
            add("job")
            after_commit(lambda: seen.append(names(app)))
            after_commit(lambda: seen.append("second"))
            assert seen == []
        assert seen == [["job"], "second"]
        with atomic():
            pass
    assert len(seen) == 2, "effects belong to one transaction"


def test_effects_do_not_run_after_a_rollback(app: Any) -> None:
    seen: list[str] = []
    with app.app_context():
        with pytest.raises(Broken), atomic():
            fail_after(lambda: after_commit(lambda: seen.append("never")))
        with atomic():
            pass
    assert seen == []


def test_failing_effect_undoes_nothing_and_stops_no_other(app: Any) -> None:
    seen: list[str] = []
    with app.app_context(), atomic():
        add("job")
        after_commit(lambda: seen.append(str(1 / 0)))
        after_commit(lambda: seen.append("second"))
    assert seen == ["second"]
    assert names(app) == ["job"]


def test_effects_need_a_transaction(app: Any) -> None:
    with app.app_context(), pytest.raises(RuntimeError, match="outside atomic"):
        after_commit(lambda: None)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_get_writes_nothing(app: Any, method: str) -> None:
    with app.test_request_context("/auth/login", method=method):
        with pytest.raises(RuntimeError, match=r"auth\.login writes during"), atomic():
            add("never")
        with atomic(despite_get="a trial"):
            add("with a reason")
    assert names(app) == ["with a reason"]


def test_times_come_back_aware_and_in_utc(app: Any) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=5)))
    with app.app_context():
        with atomic():
            db.session.execute(insert(Job).values(name="job", run_at=moment))
        found = db.session.scalars(select(Job.run_at)).one()
        assert found == moment
        assert found.tzinfo is UTC
        with pytest.raises(ValueError, match="naive"):
            UTCDateTime().process_bind_param(moment.replace(tzinfo=None), db.engine.dialect)


def test_no_connection_stays_out_after_a_request(anna: Any, app: Any) -> None:
    for path in ("/", "/account/", "/nowhere", "/api/v1/me"):
        anna.get(path)
    with app.app_context():
        assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


@pytest.mark.skipif(DATABASE != "sqlite", reason="only SQLite has one lock for all writes")
def test_site_is_busy_while_another_holds_the_lock(
    make_app: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("microsite.core.db.BUSY_TIMEOUT_MS", 50)
    app = make_app()
    with app.app_context():
        holder = db.engine.connect().execution_options(microsite_begin="BEGIN IMMEDIATE")
        holder.begin()
        try:
            with pytest.raises(Unavailable), atomic():
                add("never")
        finally:
            holder.close()
    assert names(app) == []


def test_no_id_looks_like_an_option() -> None:
    """`microsite revoke ID` took one in 64 for an option."""
    from microsite.core.db import opaque_id

    made = [opaque_id() for _ in range(2000)]
    assert not [each for each in made if each.startswith("-")]
    assert {len(each) for each in made} == {22}
