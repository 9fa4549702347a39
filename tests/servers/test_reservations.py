"""Bytes in flight: uploads at once stay within the quota and leave the disk its reserve, while they arrive."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.conftest import Server, wait_for
from tests.servers.test_transfers import BLOCK, CHUNKED, LAST, MIB, MULTIPART, PART, length, partials, put
from tests.servers.wire import Wire

pytestmark = pytest.mark.xdist_group("transfers")
QUOTA = 10 * MIB


def bytes_on_disk(server: Server) -> int:
    total = 0
    for path in (server.instance / "files").rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total


@contextlib.contextmanager
def peak_of(server: Server) -> Iterator[list[int]]:
    """The most bytes that lay in the folder of files during the block."""
    peak, done = [0], threading.Event()

    def look() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], bytes_on_disk(server))

    thread = threading.Thread(target=look)
    thread.start()
    yield peak
    done.set()
    thread.join()


def upload_ticket(server: Server, key: dict[str, str]) -> str:
    """The path below which an outsider sends files in."""
    made = requests.post(
        f"{server.url}/api/v1/links",
        json={"upload": {"max_files": 50}, "max_uses": None},
        headers=key,
        timeout=10,
    ).json()
    opened = requests.post(made["url"], headers={"Accept": "application/json"}, timeout=10).json()
    return str(opened["url"]).removeprefix(server.url)


def send_all(server: Server, key: dict[str, str], ticket: str, number: int) -> int:
    """Send 20 MiB in one of four ways, until it is refused or through; the status."""
    with Wire(server) as wire:
        if number % 4 == 0:
            wire.head("PUT", "/api/v1/upload/a", key, CHUNKED).try_chunks(BLOCK, 20)
        elif number % 4 == 1:
            wire.head("POST", "/api/v1/files", key, MULTIPART, CHUNKED).chunk(PART).try_chunks(BLOCK, 20)
        elif number % 4 == 2:
            body = PART + BLOCK * 9 + LAST
            wire.head("POST", ticket, MULTIPART, length(len(body)))
            with contextlib.suppress(OSError):
                wire.send(body)
        else:
            wire.head("PUT", "/api/v1/upload/b", key, length(9 * MIB))
            with contextlib.suppress(OSError):
                wire.send(BLOCK * 9)
        return wire.answer().status


def test_uploads_at_once_stay_within_the_quota_while_they_arrive(serve: Callable[..., Server]) -> None:
    server = serve(USER_QUOTA=str(QUOTA))
    key = server.add("anna")
    ticket = upload_ticket(server, key)
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda n=number: statuses.append(send_all(server, key, ticket, n)))
        for number in range(12)
    ]
    with peak_of(server) as peak:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert peak[0] <= QUOTA
    assert set(statuses) <= {0, 201, 503, 507}
    assert 507 in statuses
    # What was reserved is given back: there is room for what is left.
    listed = requests.get(f"{server.url}/api/v1/files", headers=key, timeout=10).json()["items"]
    for item in listed:
        requests.delete(f"{server.url}/api/v1/files/{item['id']}", headers=key, timeout=10)
    wait_for(lambda: bytes_on_disk(server) == 0, what="that nothing stays")
    put(server, key, "whole", bytes(QUOTA))


def test_announced_bytes_are_reserved_before_they_arrive(serve: Callable[..., Server]) -> None:
    server = serve(USER_QUOTA=str(QUOTA))
    key = server.add("anna")
    with Wire(server) as first, Wire(server) as second:
        first.head("PUT", "/api/v1/upload/a", key, length(8 * MIB)).send(b"x")
        wait_for(lambda: partials(server), what="that it has begun")
        answer = second.head("PUT", "/api/v1/upload/b", key, length(3 * MIB)).answer()
        assert (answer.status, answer.json()["code"]) == (507, "quota_exceeded")
        assert "8.4 MB of 10.5 MB" in answer.json()["detail"]
        first.reset()
    wait_for(lambda: not partials(server), what="the end of the first")
    url = f"{server.url}/api/v1/upload/b"
    wait_for(
        lambda: requests.put(url, data=bytes(9 * MIB), headers=key, timeout=20).status_code == 201,
        what="room for the next",
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A data folder, database and all, on a disk of 110 MiB."""
    instance = tmp_path / "server0" / "instance"
    instance.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=110m", "none", str(instance)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs is not permitted here")
    yield instance
    subprocess.run(["umount", "-l", str(instance)], check=True)


def test_a_stalled_upload_leaves_the_disk_to_the_others(
    serve: Callable[..., Server], small_disk: Path
) -> None:
    server = serve()
    assert server.instance == small_disk
    anna = server.add("anna")
    server.add("bert")
    room = requests.post(
        f"{server.url}/api/v1/rooms", json={"kind": "direct", "with": "bert"}, headers=anna, timeout=10
    ).json()["id"]
    with Wire(server) as stalled, Wire(server) as chunked, Wire(server) as third:
        stalled.head("PUT", "/api/v1/upload/a", anna, length(60 * MIB)).send(BLOCK * 20)
        wait_for(lambda: bytes_on_disk(server) == 20 * MIB, what="that it stalls")
        refused = third.head("PUT", "/api/v1/upload/b", anna, length(60 * MIB)).answer()
        assert (refused.status, refused.json()["code"]) == (507, "storage_full")
        chunked.head("PUT", "/api/v1/upload/c", anna, CHUNKED).try_chunks(BLOCK, 80)
        assert chunked.answer().status == 507
        for number in range(30):
            message = {"client_id": str(uuid.uuid4()), "body": f"{number} " + "x" * 5000}
            answer = requests.post(
                f"{server.url}/api/v1/rooms/{room}/messages", json=message, headers=anna, timeout=10
            )
            assert answer.status_code == 201, answer.text
        assert stalled.send(BLOCK * 40).answer().status == 201
