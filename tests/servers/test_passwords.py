"""Passwords at a real server, many at the same moment: what is tried, what is refused, and what goes on meanwhile."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.conftest import PASSWORD, Server

pytestmark = pytest.mark.xdist_group("passwords")
WRONG = "a wrong password"


def all_at_once(server: Server, names: list[str], password: str) -> list[Any]:
    """Ask for a token under each name, all at the same moment; gives the answers."""
    gate = threading.Barrier(len(names))

    def ask(name: str) -> Any:
        gate.wait(30)
        body = {"username": name, "password": password}
        return requests.post(f"{server.url}/api/v1/token", json=body, timeout=60)

    with ThreadPoolExecutor(len(names)) as pool:
        return list(pool.map(ask, names))


def assert_thirty_are_tried(server: Server) -> None:
    answers = all_at_once(server, [f"nobody{number}" for number in range(200)], WRONG)
    assert Counter(answer.status_code for answer in answers) == {401: 30, 429: 170}
    assert all(0 < int(a.headers["Retry-After"]) <= 300 for a in answers if a.status_code == 429)


def test_of_two_hundred_guesses_at_once_thirty_are_tried(serve: Callable[..., Server]) -> None:
    assert_thirty_are_tried(serve())


@pytest.mark.redis
def test_thirty_are_tried_by_all_workers_together(serve: Callable[..., Server], redis_server: str) -> None:
    server = serve("--workers", "2", REDIS_URL=redis_server)
    server.add("anna")
    answers = all_at_once(server, ["anna"] * 10, PASSWORD)
    assert [answer.status_code for answer in answers] == [200] * 10
    assert_thirty_are_tried(server)


def test_right_passwords_at_once(serve: Callable[..., Server]) -> None:
    """With hashes as slow as on a real site: those who find the line full are told so, and pages go on."""
    server = serve(ENV="production")
    server.add("anna")
    answers = all_at_once(server, ["anna"] * 10, PASSWORD)
    assert [answer.status_code for answer in answers] == [200] * 10
    page_times: list[float] = []
    over = threading.Event()

    def ask_for_pages() -> None:
        while not over.is_set():
            began = time.monotonic()
            assert requests.get(f"{server.url}/healthz", timeout=60).status_code == 200
            page_times.append(time.monotonic() - began)

    with ThreadPoolExecutor(1) as pool:
        pages = pool.submit(ask_for_pages)
        answers = all_at_once(server, ["anna", "anna@example.org", "ANNA"] * 50, PASSWORD)
        over.set()
        pages.result(60)
    print(f"slowest page {max(page_times):.2f} s of {len(page_times)}")
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 503}, statuses
    refused = [answer for answer in answers if answer.status_code == 503]
    assert all(int(a.headers["Retry-After"]) > 0 and a.json()["code"] == "unavailable" for a in refused)
    assert len(page_times) > 1, "no page was answered meanwhile"
    assert server.token("anna")
