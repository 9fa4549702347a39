"""Clients: requests per second on kept connections, probes on new ones, large transfers, background load."""

from __future__ import annotations

import hashlib
import http.client
import json
import math
import multiprocessing
import re
import selectors
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .servers import CLIENT_CPU, Site, pinned, take_token

BLOCK = 2**20
CONNECTIONS = 16
WRK = shutil.which("wrk")
EVERY = 0.01


# --- requests per second ------------------------------------------------------------------------------------


def requests_per_second(port: int, path: str, cookie: str, seconds: int) -> float:
    """Ask for one page over 16 kept connections; every answer must be a 200."""
    with pinned(CLIENT_CPU):
        return _by_wrk(port, path, cookie, seconds) if WRK else _by_selector(port, path, cookie, seconds)


def _by_wrk(port: int, path: str, cookie: str, seconds: int) -> float:
    assert WRK
    command = [WRK, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", f"Cookie: {cookie}"]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True
    )
    trouble = re.findall(r"Non-2xx.*|Socket errors.*", done.stdout)
    if trouble:
        raise RuntimeError(f"{path}: {trouble}")
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", done.stdout)[0])


def _by_selector(port: int, path: str, cookie: str, seconds: int) -> float:
    question = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\n\r\n".encode()
    done = 0
    with selectors.DefaultSelector() as selector:
        sockets = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(CONNECTIONS)]
        left: dict[socket.socket, int | None] = {}
        for connection in sockets:
            selector.register(connection, selectors.EVENT_READ)
            connection.sendall(question)
            left[connection] = None
        start = time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            for key, _ in selector.select(1):
                ready: Any = key.fileobj
                data = ready.recv(2**17)
                if left[ready] is None:  # the head comes in one piece on loopback
                    head, _, data = data.partition(b"\r\n\r\n")
                    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
                    if not head.startswith(b"HTTP/1.1 200") or not length:
                        raise RuntimeError(f"{path}: {head[:200]!r}")
                    left[ready] = int(length[1])
                left[ready] = rest = (left[ready] or 0) - len(data)
                if rest <= 0:
                    done, left[ready] = done + 1, None
                    ready.sendall(question)
        for connection in sockets:
            connection.close()
    return done / elapsed


# --- how long one answer takes ------------------------------------------------------------------------------


def answer_p99(port: int, path: str, seconds: float) -> float:
    """Milliseconds: the 99th percentile of one address, asked on a new connection every 10 ms.

    Each counts from the moment at which it was due, so that a stall counts for every probe that it held up.
    """
    took = []
    start = time.perf_counter()
    for number in range(max(1, round(seconds / EVERY))):
        due = start + number * EVERY
        time.sleep(max(0.0, due - time.perf_counter()))
        with socket.create_connection(("127.0.0.1", port), 30) as connection:
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
            )
            answer = b""
            while piece := connection.recv(4096):
                answer += piece
        took.append((time.perf_counter() - due) * 1000)
        assert answer.startswith(b"HTTP/1.1 200"), answer
    return sorted(took)[math.ceil(len(took) * 0.99) - 1]


def side_by_side_p99(asked: dict[str, tuple[int, str]], seconds: float) -> dict[str, float]:
    """`answer_p99` of several servers at the same time, so that what the machine does strikes them alike."""
    with ThreadPoolExecutor(len(asked)) as pool:
        found = {name: pool.submit(answer_p99, *where, seconds) for name, where in asked.items()}
        return {name: future.result() for name, future in found.items()}


def range_ms(port: int, path: str, headers: dict[str, str], first: int, last: int) -> float:
    """Milliseconds that one range takes, on a new connection."""
    start = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers=headers | {"Range": f"bytes={first}-{last}"})
    answer = connection.getresponse()
    body = answer.read()
    took = (time.perf_counter() - start) * 1000
    connection.close()
    assert (answer.status, len(body)) == (206, last - first + 1), (answer.status, len(body))
    return took


# --- large transfers ----------------------------------------------------------------------------------------


def upload(port: int, headers: dict[str, str], source: Path) -> dict[str, Any]:
    """Send a file as a raw body; gives what the site says about it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600, blocksize=BLOCK)
    with source.open("rb") as file:
        length = {"Content-Length": str(source.stat().st_size)}
        connection.request("PUT", "/api/v1/upload/large.bin", file, headers | length)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    assert answer.status == 201, text
    return dict(json.loads(text))


def delete(port: int, headers: dict[str, str], file_id: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("DELETE", f"/api/v1/files/{file_id}", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 204, answer.read()
    connection.close()


def downloaded_sha256(port: int, headers: dict[str, str], file_id: str) -> str:
    """The SHA-256 of the bytes as they arrive."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("GET", f"/api/v1/files/{file_id}/content", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    digest, buffer = hashlib.sha256(), memoryview(bytearray(BLOCK))
    while count := answer.readinto(buffer):
        digest.update(buffer[:count])
    connection.close()
    return digest.hexdigest()


# --- background load, in processes of its own ---------------------------------------------------------------


def _upload_on_and_on(port: int, headers: dict[str, str], source: Path, counter: Any, stop: Any) -> None:
    """Deletes only afterwards: on a disk mounted with `discard`, freeing a large file holds up the whole machine."""
    stored = []
    while not stop.is_set():
        stored.append(upload(port, headers, source)["id"])
        counter.value += 1
    for file_id in stored:
        delete(port, headers, file_id)


def _sign_in_on_and_on(port: int, counter: Any, stop: Any) -> None:
    while not stop.is_set():
        take_token(port)
        counter.value += 1


@contextmanager
def background(kind: str, site: Site, source: Path) -> Iterator[None]:
    """Keep the site busy during the block: "idle", "upload" (one client) or "sign-in" (two clients)."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    counters = [context.Value("i", 0) for _ in range({"idle": 0, "upload": 1, "sign-in": 2}[kind])]
    headers = site.bearer() if kind == "upload" else {}
    workers = []
    for counter in counters:
        work: tuple[Any, tuple[Any, ...]] = (_sign_in_on_and_on, (site.port, counter, stop))
        if kind == "upload":
            work = (_upload_on_and_on, (site.port, headers, source, counter, stop))
        workers.append(context.Process(target=work[0], args=work[1], daemon=True))
        workers[-1].start()
    try:
        while not all(counter.value for counter in counters):  # each has come through once
            if any(worker.exitcode for worker in workers):
                raise RuntimeError(f"the background load of {kind} failed")
            time.sleep(0.01)
        yield
        stop.set()
        for worker in workers:
            worker.join(300)
            if worker.exitcode != 0:
                raise RuntimeError(f"the background load of {kind} failed")
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.kill()
                worker.join(10)
