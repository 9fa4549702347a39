"""Background work: run once, tried again, kept as failed, and put in once per period."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from sqlalchemy import func, select

from microsite.core.clock import now
from microsite.core.db import atomic, db
from microsite.core.feature import Task, registry
from microsite.core.jobs import LEASE, Job, Runner, claim, enqueue, purge_jobs, put_periodic, run, run_due
from tests.conftest import wait_for

RUNNERS, JOBS = 8, 24


class Record:
    """A task that writes down its calls, and fails as often as it is told."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.failures = 0

    def __call__(self, number: int = 0) -> None:
        self.calls.append(number)
        if len(self.calls) <= self.failures:
            raise ValueError(f"failure {len(self.calls)}")


@pytest.fixture
def record(app: Any) -> Record:
    """What the task `trial` did in the application of this test."""
    made = Record()
    with app.app_context():
        registry().tasks["trial"] = Task(name="trial", run=made, attempts=3)
    return made


def put(app: Any, count: int = 1) -> None:
    with app.app_context(), atomic():
        for number in range(count):
            enqueue("trial", number=number)


def jobs(app: Any) -> list[Job]:
    with app.app_context():
        return list(db.session.scalars(select(Job).order_by(Job.id)))


def due(app: Any) -> int:
    with app.app_context():
        return run_due()


def at_once(does: Callable[[], Any], threads: int) -> list[Any]:
    gate = threading.Barrier(threads)

    def wait_and_do() -> Any:
        gate.wait(20)
        return does()

    with ThreadPoolExecutor(threads) as pool:
        return [done.result(60) for done in [pool.submit(wait_and_do) for _ in range(threads)]]


def test_job_runs_and_is_gone(app: Any, record: Record) -> None:
    put(app)
    assert due(app) == 1
    assert record.calls == [0]
    assert jobs(app) == []


def test_job_of_a_rolled_back_transaction_never_was(app: Any, record: Record) -> None:
    def enqueue_and_fail() -> None:
        with atomic():
            enqueue("trial", number=1)
            raise ValueError("undone")

    with app.app_context(), pytest.raises(ValueError, match="undone"):
        enqueue_and_fail()
    assert due(app) == 0
    assert record.calls == []


def test_of_several_claims_at_once_one_wins(app: Any, record: Record) -> None:
    put(app)

    def take() -> int | None:
        with app.app_context():
            return claim()

    claims = at_once(take, RUNNERS)
    assert len([found for found in claims if found is not None]) == 1


def test_several_runners_run_each_job_once(app: Any, record: Record) -> None:
    put(app, JOBS)
    counts = at_once(lambda: due(app), RUNNERS)
    assert due(app) + sum(counts) == JOBS
    assert sorted(record.calls) == list(range(JOBS))


def test_failed_job_is_tried_again_later_and_kept_at_last(app: Any, record: Record) -> None:
    record.failures = 99
    put(app)
    with time_machine.travel(now()) as clock:
        waits = []
        for attempt in (1, 2):
            assert due(app) == 1
            assert due(app) == 0, "not before its time"
            (job,) = jobs(app)
            assert (job.attempts, job.failed_at, job.locked_until) == (attempt, None, None)
            assert job.error == f"ValueError: failure {attempt}"
            waits.append(job.run_at - now())
            clock.shift(waits[-1] + timedelta(seconds=1))
        assert timedelta() < waits[0] < waits[1]
        assert due(app) == 1
        (job,) = jobs(app)
        assert job.failed_at is not None
        assert job.error == "ValueError: failure 3"
        clock.shift(timedelta(days=30))
        assert due(app) == 0
    assert len(record.calls) == 3


def test_failed_job_that_works_the_second_time_is_gone(app: Any, record: Record) -> None:
    record.failures = 1
    put(app)
    with time_machine.travel(now()) as clock:
        due(app)
        clock.shift(timedelta(minutes=1))
        assert due(app) == 1
    assert jobs(app) == []


def test_failing_job_does_not_hold_up_the_others(app: Any, record: Record) -> None:
    record.failures = 1
    put(app, 3)
    assert due(app) == 3
    assert record.calls == [0, 1, 2]
    assert len(jobs(app)) == 1


def test_job_of_a_feature_that_is_off_waits(app: Any, record: Record) -> None:
    with app.app_context(), atomic():
        enqueue("nobody.does.this")
    put(app)
    assert due(app) == 2
    (job,) = jobs(app)
    assert "nobody.does.this" in job.error


def test_job_of_a_runner_that_died_is_taken_over(app: Any, record: Record) -> None:
    put(app)
    with time_machine.travel(now()) as clock:
        with app.app_context():
            assert claim() is not None
        clock.shift(LEASE - timedelta(seconds=1))
        assert due(app) == 0
        clock.shift(timedelta(seconds=2))
        assert due(app) == 1
    assert record.calls == [0]


def test_periodic_job_is_put_once_per_period(app: Any, record: Record) -> None:
    task = Task(name="trial", run=record, every=timedelta(hours=1))

    def put_in() -> None:
        with app.app_context():
            put_periodic(task)

    start = now().replace(minute=10, second=0)
    with time_machine.travel(start, tick=False) as clock:
        at_once(put_in, RUNNERS)
        assert len(jobs(app)) == 1
        assert due(app) == 1
        put_in()
        assert due(app) == 0, "done in this period already"
        clock.shift(timedelta(hours=1))
        put_in()
        put_in()
        assert due(app) == 1
        assert len(record.calls) == 2
        clock.shift(timedelta(days=41))
        with app.app_context():
            purge_jobs()
            assert db.session.scalar(select(func.count()).select_from(Job)) == 0


def test_effects_of_a_failed_job_are_undone(app: Any) -> None:
    def half() -> None:
        with atomic():
            db.session.add(Job(name="half done"))
            db.session.flush()
            raise ValueError

    with app.app_context():
        registry().tasks["trial"] = Task(name="trial", run=half)
        with atomic():
            enqueue("trial")
        run(claim() or 0)
    assert [job.name for job in jobs(app)] == ["trial"]


def test_runner_takes_up_work_at_once_and_stops(app: Any, record: Record) -> None:
    runner = Runner(app)
    runner.start()
    try:
        put(app)
        wait_for(lambda: record.calls, 10, "the job")
        purges = {"sessions.purge", "tokens.purge", "jobs.purge"}
        wait_for(
            lambda: purges <= {job.name for job in jobs(app)}, 10, "the first round of the periodic jobs"
        )
    finally:
        runner.stop()
    assert not runner.thread.is_alive()
