"""The storage and its janitor: what a crash left goes, what is being written or has a row stays."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from microsite.core import jobs
from microsite.core.db import atomic, db
from microsite.core.exceptions import StorageFull
from microsite.core.feature import registry
from microsite.core.storage import LocalStorage, sweep
from tests.files.helpers import put, stored

WRITER = """
import sys
from pathlib import Path
from microsite.core.storage import LocalStorage
writer = LocalStorage(Path(sys.argv[1])).writer()
writer.write(b"half")
if sys.argv[2] == "whole":
    writer.finish()
print(writer.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> LocalStorage:
    made = LocalStorage(tmp_path / "store")
    made.prepare()
    return made


def other_writer(root: Path, how: str) -> tuple[subprocess.Popen[str], Path]:
    """A process that writes an object and then waits, its row not yet committed."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_block_that_ends_well_keeps_the_object(store: LocalStorage) -> None:
    with store.writer() as writer:
        writer.write(b"abc")
        kept = writer.finish()
    assert (kept.size, store.path(kept.key).read_bytes()) == (3, b"abc")
    assert list(store.keys()) == [kept.key]
    assert not list(store.partial.iterdir())


@pytest.mark.parametrize("finished", [True, False])
def test_a_block_that_fails_leaves_nothing(store: LocalStorage, finished: bool) -> None:
    def work() -> None:
        with store.writer() as writer:
            writer.write(b"abc")
            if finished:
                writer.finish()
            raise RuntimeError("the row was refused")

    with pytest.raises(RuntimeError):
        work()
    assert not list(store.keys())
    assert not list(store.partial.iterdir())


def test_a_block_without_finish_leaves_nothing(store: LocalStorage) -> None:
    with store.writer() as writer:
        writer.write(b"abc")
    assert not list(store.partial.iterdir())


@pytest.mark.parametrize("key", ["../../../etc/passwd", "a" * 31, "a" * 33, "", "/" * 32, "." * 32])
def test_only_its_own_keys_are_paths(store: LocalStorage, key: str) -> None:
    with pytest.raises(ValueError, match="not a storage key"):
        store.path(key)


def test_folders_are_private(app: Any, make_key: Callable[..., dict[str, str]], instance: Path) -> None:
    put(app.test_client(), make_key("anna"), "a.txt")
    for path in [instance / "files" / "objects", *(instance / "files" / "objects").iterdir()]:
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("how", ["half", "whole"])
def test_what_another_process_writes_stays_until_it_dies(store: LocalStorage, how: str) -> None:
    process, path = other_writer(store.partial.parent, how)
    assert path.read_bytes() == b"half"
    assert store.sweep(lambda keys: set()) == 0
    assert path.exists(), "the janitor took what was being written"
    process.kill()
    process.communicate()
    assert store.sweep(lambda keys: set()) == 1
    assert not path.exists()


def test_a_row_that_came_meanwhile_saves_its_object(store: LocalStorage) -> None:
    """The row is committed between the janitor's two looks."""
    process, path = other_writer(store.partial.parent, "whole")
    process.kill()
    process.communicate()
    looks: list[list[str]] = []

    def wanted(keys: list[str]) -> set[str]:
        looks.append(keys)
        return set(keys) if len(looks) > 1 else set()

    assert store.sweep(wanted) == 0
    assert path.exists()


def test_the_periodic_job_removes_leftovers_only(
    app: Any, make_key: Callable[..., dict[str, str]], run_jobs: Callable[[], int], instance: Path
) -> None:
    client, key = app.test_client(), make_key("anna")
    for number in range(3):
        put(client, key, f"{number}.txt")
    kept = set(stored(instance))
    objects = instance / "files" / "objects"
    orphans = [
        objects / "aa" / ("a" * 32),
        objects / "bb" / ("b" * 32),
        instance / "files" / "partial" / ("c" * 32),
    ]
    for orphan in orphans:
        orphan.parent.mkdir(exist_ok=True)
        orphan.write_bytes(b"left over")
    with app.app_context():
        jobs.put_periodic(registry().tasks["files.sweep"])
    assert run_jobs() == 1
    assert set(stored(instance)) == kept
    with app.app_context():
        assert db.session.scalars(select(jobs.Job.error)).one() == ""
        sweep()
    assert set(stored(instance)) == kept


def test_deleting_waits_for_the_commit(
    app: Any, make_key: Callable[..., dict[str, str]], instance: Path
) -> None:
    from microsite.files import services
    from microsite.files.models import StoredFile

    put(app.test_client(), make_key("anna"), "a.txt")

    def fail() -> None:
        with atomic():
            services.delete_file(db.session.scalars(select(StoredFile)).one())
            raise RuntimeError("something later failed")

    with app.app_context():
        with pytest.raises(RuntimeError):
            fail()
        assert db.session.scalars(select(StoredFile)).one().name == "a.txt"
    assert len(stored(instance)) == 1


def test_no_room_is_said_before_a_file_is_opened(store: LocalStorage) -> None:
    with pytest.raises(StorageFull):
        store.check_room(2**62)
