"""Transfers against a real server: what is refused early, what breaks off, a full disk, a power cut, memory."""

from __future__ import annotations

import contextlib
import hashlib
import resource
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from microsite import create_app
from microsite.core.db import db
from microsite.core.storage import sweep
from tests.conftest import Server, start_server, wait_for
from tests.servers.wire import Wire

pytestmark = pytest.mark.xdist_group("transfers")  # in one process, which starts each shared server once
MIB = 2**20
BLOCK = bytes(range(256)) * 4096
BOUNDARY = "a-boundary"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
PART = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="cut.bin"\r\n\r\n'.encode()
LAST = f"\r\n--{BOUNDARY}--\r\n".encode()
CHUNKED = {"Transfer-Encoding": "chunked"}


def length(count: int) -> dict[str, str]:
    return {"Content-Length": str(count)}


@pytest.fixture(scope="module")
def key(shared_server: Server) -> dict[str, str]:
    return shared_server.add("anna")


@pytest.fixture(scope="module")
def small_server(
    tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[Path], str]
) -> Iterator[Server]:
    """A server that takes files of 1 MiB, 3 MiB in all, and four transfers at once."""
    folder = tmp_path_factory.mktemp("small")
    server = start_server(
        folder, new_database(folder / "instance"), MAX_FILE_SIZE="1MiB", USER_QUOTA="3MiB", THREADS=8
    )
    yield server
    server.kill()


@pytest.fixture(scope="module")
def small_key(small_server: Server) -> dict[str, str]:
    return small_server.add("anna")


def stored(server: Server) -> list[Path]:
    return [path for path in (server.instance / "files").rglob("*") if path.is_file()]


def partials(server: Server) -> list[Path]:
    return list((server.instance / "files" / "partial").iterdir())


def receiving(server: Server) -> bool:
    """Whether bytes of a body are on the disk already."""
    with contextlib.suppress(FileNotFoundError):
        return any(path.stat().st_size for path in partials(server))
    return False


def names(server: Server, key: dict[str, str]) -> list[str]:
    answer = requests.get(f"{server.url}/api/v1/files?limit=100", headers=key, timeout=10)
    return [item["name"] for item in answer.json()["items"]]


def put(server: Server, key: dict[str, str], name: str, data: Any) -> dict[str, Any]:
    answer = requests.put(f"{server.url}/api/v1/upload/{name}", data=data, headers=key, timeout=120)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


@contextlib.contextmanager
def nothing_stays(server: Server, key: dict[str, str]) -> Iterator[None]:
    """Whatever the block does, afterwards disk and list are what they were."""
    before, listed = sorted(stored(server)), names(server, key)
    yield
    wait_for(lambda: sorted(stored(server)) == before, what="that nothing half-written stays")
    assert names(server, key) == listed


# --- refused before the body -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code"),
    [
        pytest.param("PUT", "/api/v1/upload/a", length(10 * 2**30), 413, "file_too_large", id="size"),
        pytest.param(
            "PUT", "/api/v1/upload/a", length(MIB + 1), 413, "file_too_large", id="one byte too many"
        ),
        pytest.param(
            "POST",
            "/api/v1/files",
            MULTIPART | length(10 * 2**30),
            413,
            "file_too_large",
            id="size of a form",
        ),
        pytest.param(
            "POST",
            "/api/v1/links",
            {"Content-Type": "application/json"} | length(10 * 2**30),
            413,
            "file_too_large",
            id="JSON",
        ),
    ],
)
def test_refused_by_the_announced_length(
    small_server: Server,
    small_key: dict[str, str],
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    with nothing_stays(small_server, small_key), Wire(small_server) as wire:
        answer = wire.head(method, path, small_key, headers).answer(5)
        assert (answer.status, answer.json()["code"]) == (status, code)


def test_quota_is_refused_by_the_announced_length(small_server: Server, small_key: dict[str, str]) -> None:
    files = [put(small_server, small_key, f"{number}", BLOCK) for number in range(3)]
    with nothing_stays(small_server, small_key), Wire(small_server) as wire:
        answer = wire.head("PUT", "/api/v1/upload/a", small_key, length(300_000)).answer(5)
        assert (answer.status, answer.json()["code"]) == (507, "quota_exceeded")
    for file in files:
        requests.delete(f"{small_server.url}/api/v1/files/{file['id']}", headers=small_key, timeout=10)
    assert stored(small_server) == []


def test_strangers_are_refused_before_the_body(shared_server: Server) -> None:
    for method, path, headers in (
        ("PUT", "/api/v1/upload/a", length(50 * MIB)),
        ("POST", "/api/v1/files", MULTIPART | length(50 * MIB)),
        ("POST", "/files/", MULTIPART | length(50 * MIB)),
        ("PUT", "/api/v1/upload/a", CHUNKED),
    ):
        with Wire(shared_server) as wire:
            assert wire.head(method, path, headers).answer(5).status == 401


@pytest.mark.parametrize("value", ["-1", "abc", "1, 2", "1e3", "0x10", ""])
def test_lengths_that_lie_in_form(shared_server: Server, key: dict[str, str], value: str) -> None:
    with nothing_stays(shared_server, key), Wire(shared_server) as wire:
        answer = wire.head("PUT", "/api/v1/upload/a", key, {"Content-Length": value}).end().answer(5)
        assert answer.status == 400


def test_too_large_is_noticed_on_the_way(small_server: Server, small_key: dict[str, str]) -> None:
    with nothing_stays(small_server, small_key), Wire(small_server) as wire:
        wire.head("PUT", "/api/v1/upload/a", small_key, CHUNKED).chunk(BLOCK)
        wait_for(lambda: receiving(small_server), what="that the first bytes are written")
        answer = wire.chunk(BLOCK).answer(5)
        assert (answer.status, answer.json()["code"]) == (413, "file_too_large")
    with nothing_stays(small_server, small_key), Wire(small_server) as wire:
        body = PART + BLOCK + b"x"
        answer = (
            wire.head("POST", "/api/v1/files", small_key, MULTIPART, length(len(body) + len(LAST)))
            .send(body + LAST)
            .answer(5)
        )
        assert (answer.status, answer.json()["code"]) == (413, "file_too_large")


def test_slow_uploads_leave_threads_for_pages(small_server: Server, small_key: dict[str, str]) -> None:
    with contextlib.ExitStack() as stack, nothing_stays(small_server, small_key):
        slow = [stack.enter_context(Wire(small_server)) for _ in range(4)]
        for wire in slow:
            wire.head("PUT", "/api/v1/upload/slow", small_key, length(300_000)).send(b"x")
        wait_for(lambda: len(partials(small_server)) == 4, what="that four uploads wait")
        refused = requests.put(
            f"{small_server.url}/api/v1/upload/a", data=b"x", headers=small_key, timeout=10
        )
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert int(refused.headers["Retry-After"]) > 0
        assert requests.get(small_server.url, timeout=5).status_code == 200
        assert slow[0].send(b"x" * 299_999).answer().status == 201
        file = put(small_server, small_key, "a", b"x")
        listed = requests.get(f"{small_server.url}/api/v1/files", headers=small_key, timeout=10).json()[
            "items"
        ]
        for wire in slow[1:]:
            wire.reset()
        for item in [file, *(item for item in listed if item["name"] == "slow")]:
            requests.delete(f"{small_server.url}/api/v1/files/{item['id']}", headers=small_key, timeout=10)
    put(small_server, small_key, "after", b"x")


# --- chunked, from a pipe --------------------------------------------------------------------------------------------


def test_chunked_as_from_a_pipe(shared_server: Server, key: dict[str, str]) -> None:
    pieces = [b"one ", b"x" * 100_000, b" two"]
    shell = key | {"Accept": "text/plain"}
    answer = requests.put(
        f"{shared_server.url}/api/v1/upload/pipe.txt", data=iter(pieces), headers=shell, timeout=20
    )
    assert answer.status_code == 201
    assert answer.text == f"{shared_server.url}/files/{answer.text.strip().rpartition('/')[2]}\n"
    got = requests.get(
        f"{answer.text.strip().replace('/files/', '/api/v1/files/')}/content", headers=key, timeout=20
    )
    assert got.content == b"".join(pieces)


@pytest.mark.parametrize(
    "name",
    ["..%2f..%2fetc%2fpasswd", "%2e%2e", "a%0d%0ab", "a%00b", "%2fetc%2fpasswd", "a//b", "%C3%28", "%ff"],
)
def test_names_as_they_stand_in_an_address(shared_server: Server, key: dict[str, str], name: str) -> None:
    with Wire(shared_server) as wire:
        answer = wire.head("PUT", f"/api/v1/upload/{name}", key, length(1)).send(b"x").answer()
    assert answer.status == 201, answer.body
    kept = answer.json()["name"]
    assert kept
    assert not set(kept) & set("/\\\0\r\n")


# --- what breaks off -------------------------------------------------------------------------------------------------

HALF = b"x" * (2 * MIB + 100)
CUTS = [
    pytest.param("PUT", "/api/v1/upload/cut.bin", length(4 * MIB), HALF, id="length"),
    pytest.param("PUT", "/api/v1/upload/cut.bin", length(len(HALF) + 1), HALF, id="length, one byte short"),
    pytest.param(
        "PUT", "/api/v1/upload/cut.bin", CHUNKED, f"{4 * MIB:x}\r\n".encode() + HALF, id="inside a chunk"
    ),
    pytest.param(
        "PUT",
        "/api/v1/upload/cut.bin",
        CHUNKED,
        f"{len(HALF):x}\r\n".encode() + HALF + b"\r\n",
        id="no last chunk",
    ),
    pytest.param(
        "PUT",
        "/api/v1/upload/cut.bin",
        CHUNKED,
        f"{len(HALF):x}\r\n".encode() + HALF + b"\r\n0\r\n",
        id="half a last chunk",
    ),
    pytest.param(
        "PUT",
        "/api/v1/upload/cut.bin",
        CHUNKED,
        f"{len(HALF):x}\r\n".encode() + HALF + b"\r\nzz\r\n",
        id="no number",
    ),
    pytest.param("POST", "/api/v1/files", MULTIPART | length(4 * MIB), PART + HALF, id="form"),
    pytest.param(
        "POST", "/api/v1/files", MULTIPART | length(len(PART + HALF)), PART + HALF, id="form without its end"
    ),
    pytest.param(
        "POST",
        "/api/v1/files",
        MULTIPART | length(9 * MIB),
        PART + HALF + LAST[:-4] + b"\r\n",
        id="form between two parts",
    ),
    pytest.param(
        "POST",
        "/api/v1/files",
        MULTIPART | CHUNKED,
        f"{4 * MIB:x}\r\n".encode() + PART + HALF,
        id="chunked form",
    ),
]


@pytest.mark.parametrize(("method", "path", "headers", "sent"), CUTS)
@pytest.mark.parametrize("how", ["ended", "reset"])
def test_cut(
    shared_server: Server,
    key: dict[str, str],
    method: str,
    path: str,
    headers: dict[str, str],
    sent: bytes,
    how: str,
) -> None:
    """A sender who ends politely is told; one who dies is not, and neither leaves anything."""
    with nothing_stays(shared_server, key), Wire(shared_server) as wire:
        wire.head(method, path, key, headers).send(sent)
        if how == "reset":
            if "zz" not in str(sent[-10:]) and headers.get("Content-Length") != str(len(sent)):
                wait_for(lambda: receiving(shared_server), what="that the first bytes are written")
            wire.reset()
        else:
            answer = wire.end().answer()
            assert answer.status in (0, 400)
            if answer.status:
                assert answer.json()["code"] == "bad_request"
    assert "cut.bin" not in names(shared_server, key)


def test_more_than_announced_is_not_the_files(shared_server: Server, key: dict[str, str]) -> None:
    with Wire(shared_server) as wire:
        first = (
            wire.head("PUT", "/api/v1/upload/exact", key, length(5), {"Connection": "close"})
            .send(b"12345" + b"tail")
            .answer()
        )
    assert (first.status, first.json()["size"]) == (201, 5)


# --- a full disk -----------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A data folder whose files lie on a disk of 48 MiB, of which the site keeps 32 free."""
    instance = tmp_path / "server0" / "instance"
    files = instance / "files"
    files.mkdir(parents=True)
    (instance / ".testing").touch()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "none", str(files)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(
            "mounting a tmpfs is not permitted here; the limit on the process's files stands in for it"
        )
    yield instance
    subprocess.run(["umount", "-l", str(files)], check=True)


def check_still_works(server: Server, key: dict[str, str]) -> None:
    file = put(server, key, "after.txt", b"still here")
    got = requests.get(file["content_url"], headers=key, timeout=10)
    assert got.content == b"still here"
    assert requests.get(f"{server.url}/readyz", timeout=10).status_code == 200


def test_full_disk(serve: Callable[..., Server], tiny_disk: Path) -> None:
    server = serve()
    assert server.instance == tiny_disk
    key = server.add("anna")
    with nothing_stays(server, key), Wire(server) as wire:
        answer = wire.head("PUT", "/api/v1/upload/a", key, length(20 * MIB)).answer(5)
        assert (answer.status, answer.json()["code"]) == (507, "storage_full"), "refused before the body"
    for method, path, headers, first in (
        ("PUT", "/api/v1/upload/a", CHUNKED, b""),
        ("POST", "/api/v1/files", MULTIPART | CHUNKED, PART),
    ):
        with nothing_stays(server, key), Wire(server) as wire:
            wire.head(method, path, key, headers)
            if first:
                wire.chunk(first)
            answer = wire.try_chunks(BLOCK, 50).answer(20)
            assert (answer.status, answer.json()["code"]) == (507, "storage_full"), "noticed on the way"
            assert "The site's disk is full." in answer.json()["detail"]
    check_still_works(server, key)


def test_files_that_may_not_grow(shared_server: Server, key: dict[str, str]) -> None:
    """What a full disk does, by a limit on the largest file that the server's processes may write."""
    assert shared_server.process is not None
    workers = psutil.Process(shared_server.process.pid).children(recursive=True)
    for worker in workers:
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (8 * MIB, resource.RLIM_INFINITY))
    try:
        with nothing_stays(shared_server, key):
            refused = requests.put(
                f"{shared_server.url}/api/v1/upload/a", data=b"x" * (9 * MIB), headers=key, timeout=20
            )
            assert (refused.status_code, refused.json()["code"]) == (507, "storage_full")
        check_still_works(shared_server, key)
    finally:
        for worker in workers:
            resource.prlimit(
                worker.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            )
    put(shared_server, key, "large", b"x" * (9 * MIB))


# --- a power cut -----------------------------------------------------------------------------------------------------


def test_power_cut(serve: Callable[..., Server]) -> None:
    """No row without its bytes; the janitor takes what was being written, and nothing else."""
    server = serve()
    key = server.add("anna")
    kept = put(server, key, "kept.bin", BLOCK)
    with Wire(server) as raw, Wire(server) as form:
        raw.head("PUT", "/api/v1/upload/cut.bin", key, length(5 * MIB)).send(BLOCK * 2)
        form.head("POST", "/api/v1/files", key, MULTIPART, length(9 * MIB))
        form.send(
            PART + BLOCK + LAST[:-4] + b"\r\n" + PART + BLOCK * 2
        )  # the first file is whole, the second not
        wait_for(
            lambda: len(stored(server)) >= 4 and receiving(server), what="that three files are being written"
        )
        server.kill()
    server.start()
    key = server.token("anna")
    assert names(server, key) == ["kept.bin"]
    with Wire(server) as running:
        running.head("PUT", "/api/v1/upload/running.bin", key, length(2 * MIB)).send(BLOCK)
        wait_for(lambda: receiving(server), what="that an upload is running")
        app = create_app(
            INSTANCE=str(server.instance), DATABASE_URL=server.environment["MICROSITE_DATABASE_URL"]
        )
        with app.app_context():
            sweep()
            db.engine.dispose()
        assert len(stored(server)) == 2, "the file that was kept, and the upload that is running"
        answer = running.send(BLOCK).answer()
    assert answer.status == 201
    assert names(server, key) == ["running.bin", "kept.bin"]
    for content_url, content in ((kept["content_url"], BLOCK), (answer.json()["content_url"], BLOCK * 2)):
        assert requests.get(content_url, headers=key, timeout=20).content == content
    assert len(stored(server)) == 2


# --- memory ----------------------------------------------------------------------------------------------------------

BLOCKS = 300


def large() -> Iterator[bytes]:
    """300 MiB of which no two are alike."""
    for number in range(BLOCKS):
        yield number.to_bytes(8, "big") + BLOCK[8:]


class Body:
    """A body with a length, that is made while it is sent."""

    def __init__(self, *pieces: bytes | Iterator[bytes], size: int) -> None:
        self.pieces, self.size = pieces, size

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            yield from [piece] if isinstance(piece, bytes) else piece


def memory(server: Server, field: str) -> int:
    """Bytes of all the server's processes: VmRSS now, VmHWM at the peak."""
    assert server.process is not None
    found = 0
    for process in [
        psutil.Process(server.process.pid),
        *psutil.Process(server.process.pid).children(recursive=True),
    ]:
        status = Path(f"/proc/{process.pid}/status").read_text()
        found += int(status.split(f"{field}:")[1].split()[0]) * 1024
    return found


def test_memory_stays_small(shared_server: Server, key: dict[str, str]) -> None:
    """300 MiB in by each door and out again add less than 60 MiB, and all together stays under 250 MiB."""
    file = put(shared_server, key, "warm.bin", BLOCK * 2)
    requests.get(file["content_url"], headers=key, timeout=20)
    before, digest = memory(shared_server, "VmRSS"), hashlib.sha256()
    for block in large():
        digest.update(block)

    raw = put(shared_server, key, "large.bin", large())
    assert (raw["size"], raw["sha256"]) == (BLOCKS * MIB, digest.hexdigest())
    form = Body(PART, large(), LAST, size=len(PART) + BLOCKS * MIB + len(LAST))
    answer = requests.post(
        f"{shared_server.url}/api/v1/files", data=form, headers=key | MULTIPART, timeout=120
    )  # type: ignore[arg-type]
    assert answer.status_code == 201, answer.text
    assert answer.json()["items"][0]["sha256"] == digest.hexdigest()

    got = hashlib.sha256()
    with requests.get(raw["content_url"], headers=key, timeout=120, stream=True) as answer:
        for piece in answer.iter_content(MIB):
            got.update(piece)
    assert got.hexdigest() == digest.hexdigest()

    tail = requests.get(raw["content_url"], headers=key | {"Range": "bytes=-10240"}, timeout=20)
    assert tail.status_code == 206
    assert tail.content == BLOCK[-10240:]
    assert tail.headers["Content-Range"] == f"bytes {BLOCKS * MIB - 10240}-{BLOCKS * MIB - 1}/{BLOCKS * MIB}"

    peak = memory(shared_server, "VmHWM")
    assert peak - before < 60 * MIB, f"{(peak - before) / MIB:.0f} MiB more"
    assert peak < 250 * MIB, f"{peak / MIB:.0f} MiB"


def test_slow_downloads_leave_threads_for_pages(serve: Callable[..., Server]) -> None:
    """40 readers that do not read: pages go on, and the threads come back when they leave."""
    server = serve()
    anna = server.add("anna")
    api = f"{server.url}/api/v1"
    file = requests.put(f"{api}/upload/large", data=bytes(64 * 2**20), headers=anna, timeout=60).json()["id"]
    readers = []
    for _ in range(40):
        reader = socket.create_connection(("127.0.0.1", server.port))
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        head = f"GET /api/v1/files/{file}/content HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {anna['Authorization']}\r\n\r\n"
        reader.sendall(head.encode())
        assert reader.recv(100).startswith(b"HTTP/1.1 200")
        readers.append(reader)
    for path in ("/healthz", "/readyz", "/auth/login"):
        assert requests.get(f"{server.url}{path}", timeout=5).status_code == 200
    assert requests.get(f"{api}/files", headers=anna, timeout=5).status_code == 200
    for reader in readers:
        reader.close()
    whole = requests.get(f"{api}/files/{file}/content", headers=anna, timeout=60)
    assert len(whole.content) == 64 * 2**20
