"""Downloads by a ticket, from a real server: withdrawn in the middle, broken and taken up again."""

from __future__ import annotations

import time
from collections.abc import Callable

import requests

from tests.conftest import Server


def test_withdrawing_a_link_cuts_its_downloads(serve: Callable[..., Server]) -> None:
    """A reader who is in the middle of a large file gets no more of it, and the connection ends."""
    server = serve()
    anna = server.add("anna")
    api = f"{server.url}/api/v1"
    size = 64 * 2**20
    file = requests.put(f"{api}/upload/large.bin", data=b"x" * size, headers=anna, timeout=60).json()
    link = requests.post(f"{api}/links", json={"files": [file["id"]]}, headers=anna, timeout=10).json()
    opened = requests.post(link["url"], json={}, headers={"Accept": "application/json"}, timeout=10).json()
    got, cut = 0, False
    with requests.get(opened["files"][0]["url"], stream=True, timeout=30) as answer:
        assert answer.headers["Content-Length"] == str(size)
        blocks = answer.iter_content(2**16)
        got += len(next(blocks))
        assert requests.delete(f"{api}/links/{link['id']}", headers=anna, timeout=10).status_code == 204
        try:
            for block in blocks:
                got += len(block)
                time.sleep(0.02)  # a slow reader: 64 MiB would take 20 s
        except requests.RequestException:
            cut = True
    assert cut or got < size
    assert got < size
    events = requests.get(f"{api}/links/{link['id']}/events", headers=anna, timeout=10).json()["items"]
    assert [event["type"] for event in events] == ["revoked", "download_started", "opened", "created"]


def test_a_broken_download_of_a_link_goes_on(serve: Callable[..., Server]) -> None:
    """The ticket serves the rest by Range, the use is not spent again, and the whole is told once."""
    server = serve()
    anna = server.add("anna")
    api = f"{server.url}/api/v1"
    content = bytes(range(256)) * 2**18
    file = requests.put(f"{api}/upload/large.bin", data=content, headers=anna, timeout=60).json()
    link = requests.post(f"{api}/links", json={"files": [file["id"]]}, headers=anna, timeout=10).json()
    opened = requests.post(link["url"], json={}, headers={"Accept": "application/json"}, timeout=10).json()
    url = opened["files"][0]["url"]
    with requests.get(url, stream=True, timeout=30) as answer:
        first = next(answer.iter_content(2**20))
    rest = requests.get(url, headers={"Range": f"bytes={len(first)}-"}, timeout=30)
    assert rest.status_code == 206
    assert first + rest.content == content
    found = requests.get(f"{api}/links/{link['id']}/events", headers=anna, timeout=10).json()["items"]
    assert [event["type"] for event in found] == ["downloaded", "download_started", "opened", "created"]
