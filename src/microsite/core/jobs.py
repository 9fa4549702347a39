"""Background work: a table of jobs, claimed by a conditional UPDATE, run by one thread or by `microsite worker`.

A job is enqueued in the transaction that needs it, so it exists exactly when that was committed. It is run at least
once: retried with backoff, then kept as failed and shown by `microsite check`.
"""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler
from flask import Flask, current_app
from sqlalchemy import String, Text, and_, delete, or_, select, true, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from microsite.core.clock import now
from microsite.core.db import Base, UTCDateTime, after_commit, atomic, checkpoint, db, release
from microsite.core.feature import Task, registry

LEASE = timedelta(minutes=15)
KEEP_DONE = timedelta(days=40)
POLL_SECONDS = 2.0


class Job(Base):
    """One piece of work. A periodic one stays as done, so that its period is not run twice."""

    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    payload: Mapped[str] = mapped_column(Text, default="{}")
    unique_key: Mapped[str | None] = mapped_column(String(120), unique=True)
    run_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now, index=True)
    attempts: Mapped[int] = mapped_column(default=0)
    locked_until: Mapped[datetime | None] = mapped_column(UTCDateTime)
    done_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    failed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    error: Mapped[str] = mapped_column(String(500), default="")
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)


_wake = threading.Event()


def enqueue(name: str, **payload: Any) -> None:
    """Add a job to the present transaction."""
    db.session.add(Job(name=name, payload=json.dumps(payload)))
    after_commit(_wake.set)


def put_periodic(task: Task) -> None:
    """Add the job of the present period, once, whoever asks."""
    assert task.every is not None
    key = f"{task.name}:{int(now().timestamp() // task.every.total_seconds())}"
    try:
        with atomic():
            if db.session.scalar(select(Job.id).where(Job.unique_key == key)) is None:
                db.session.add(Job(name=task.name, unique_key=key))
                after_commit(_wake.set)
    except IntegrityError:
        pass  # another process was first


def claim(*, aside: bool | None = None) -> int | None:
    """Take one due job, or None: of tasks that are aside, or not, or any. Of several takers one wins."""
    moment = now()
    names = [task.name for task in registry().tasks.values() if task.aside]
    kind = true() if aside is None else Job.name.in_(names) if aside else Job.name.not_in(names)
    free = and_(
        kind,
        Job.run_at <= moment,
        Job.done_at.is_(None),
        Job.failed_at.is_(None),
        or_(Job.locked_until.is_(None), Job.locked_until <= moment),
    )
    try:
        due = db.session.scalars(select(Job.id).where(free).order_by(Job.run_at, Job.id).limit(5)).all()
    finally:
        release()
    for job_id in due:
        with atomic():
            won = db.session.execute(
                update(Job)
                .where(Job.id == job_id, free)
                .values(locked_until=moment + LEASE, attempts=Job.attempts + 1)
            )
        if won.rowcount == 1:  # type: ignore[attr-defined]
            return int(job_id)
    return None


def run(job_id: int) -> None:
    """Run a claimed job; its own outcome is kept, an error never leaves here."""
    job = db.session.get(Job, job_id)
    assert job is not None
    name, payload, attempts, lasting = (
        job.name,
        json.loads(job.payload),
        job.attempts,
        job.unique_key is not None,
    )
    release()
    task = registry().tasks.get(name)
    try:
        if task is None:
            raise LookupError(f"no enabled feature has a task {name!r}")
        task.run(**payload)
    except Exception as error:
        db.session.rollback()
        current_app.logger.exception("job failed", extra={"job": name, "attempt": attempts})
        values: dict[str, Any] = {"error": f"{type(error).__name__}: {error}"[:500], "locked_until": None}
        if attempts >= (task.attempts if task else 8):
            values["failed_at"] = now()
        else:
            values["run_at"] = now() + timedelta(seconds=min(15 * 4 ** (attempts - 1), 6 * 3600))
        with atomic():
            db.session.execute(update(Job).where(Job.id == job_id).values(values))
        return
    finally:
        db.session.remove()
    with atomic():
        if lasting:
            db.session.execute(update(Job).where(Job.id == job_id).values(done_at=now(), locked_until=None))
        else:
            db.session.execute(delete(Job).where(Job.id == job_id))


def run_due(*, aside: bool | None = None) -> int:
    """Run everything that is due now, or what is aside, or not; returns how many."""
    count = 0
    while (job_id := claim(aside=aside)) is not None:
        run(job_id)
        count += 1
    return count


def purge_jobs() -> None:
    """Task: forget periods that are long over."""
    with atomic():
        db.session.execute(delete(Job).where(Job.done_at < now() - KEEP_DONE))


class Runner:
    """The threads that run jobs, and the scheduler that puts the periodic ones in."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.loop, name="jobs", daemon=True)
        self.aside = threading.Thread(target=self.loop_aside, name="jobs aside", daemon=True)
        self.scheduler = BackgroundScheduler(timezone="UTC", daemon=True)

    def start(self) -> None:
        self.schedule()
        self.thread.start()
        self.aside.start()

    def schedule(self) -> None:
        with self.app.app_context():
            periodic = [task for task in registry().tasks.values() if task.every]
        for task in periodic:
            assert task.every is not None
            self.scheduler.add_job(
                self._put, "interval", args=[task], seconds=task.every.total_seconds(), coalesce=True,
                next_run_time=now(), misfire_grace_time=None,
            )  # fmt: skip
        self.scheduler.add_job(self._checkpoint, "interval", seconds=60, coalesce=True, next_run_time=now())
        self.scheduler.start()

    def _put(self, task: Task) -> None:
        with self.app.app_context():
            put_periodic(task)

    def _checkpoint(self) -> None:
        """No job of the table: that would write every minute on a site where nothing happens."""
        with self.app.app_context():
            checkpoint()

    def loop(self) -> None:
        with self.app.app_context():
            for task in [task for task in registry().tasks.values() if task.at_start]:
                try:
                    task.run()
                except Exception:
                    self.app.logger.exception("a task at the start failed", extra={"job": task.name})
        while not self.stopping.is_set():
            _wake.clear()
            self._run_due(aside=False)
            _wake.wait(POLL_SECONDS)

    def loop_aside(self) -> None:
        while not self.stopping.wait(POLL_SECONDS):
            self._run_due(aside=True)

    def _run_due(self, *, aside: bool) -> None:
        try:
            with self.app.app_context():
                run_due(aside=aside)
        except Exception:
            self.app.logger.exception("the job thread goes on after an error")

    def stop(self) -> None:
        """Finish the job at hand, then end."""
        self.stopping.set()
        _wake.set()
        if self.scheduler.running:
            self.scheduler.shutdown(wait=False)
        if self.thread.is_alive():
            self.thread.join(timeout=10)
