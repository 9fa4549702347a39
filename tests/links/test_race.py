"""The race: as many win as there are uses, whoever asks at once, and from wherever."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Server
from tests.links import racers
from tests.links.helpers import make_link, notes, opened_events

PROCESSES, THREADS = 4, 13


def race(how: str, target: str, here: int = 0) -> list[list[Any]]:
    """Let all threads of all processes, and `here` of this one, go at the same moment; gives what each got."""
    command = [sys.executable, str(Path(racers.__file__)), how, target, str(THREADS)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    own = [racers.claimer(target) for _ in range(here)]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    def go() -> None:
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()

    found = racers.at_once(own, go)
    for process in started:
        out, _ = process.communicate(timeout=60)
        found += json.loads(out)
    assert len(found) == PROCESSES * THREADS + here
    return found


@pytest.fixture(scope="module")
def key(shared_server: Server) -> dict[str, str]:
    return shared_server.add("anna")


@pytest.mark.parametrize("uses", [1, 3])
@pytest.mark.parametrize("kind", ["text", "files"])
def test_over_http(shared_server: Server, key: dict[str, str], uses: int, kind: str) -> None:
    """52 connections of four processes, a third each as page, as JSON and as zip."""
    api = f"{shared_server.url}/api/v1"
    file = requests.put(f"{api}/upload/once.txt", data=b"only once", headers=key, timeout=10).json()
    thing = {"text": "only once"} if kind == "text" else {"files": [file["id"]]}
    link = requests.post(f"{api}/links", json=thing | {"max_uses": uses}, headers=key, timeout=10).json()
    found = race("open", link["url"])
    won = [one for one in found if one[0] in (200, 303)]
    assert Counter(status for status, _, _ in found if status not in (200, 303)) == {410: len(found) - uses}
    assert len(won) == uses
    for status, (door, *_), body in won:
        if door == "application/json":
            assert status == 200
            assert json.loads(body)["kind"] == kind
        if door == "application/zip" and kind == "files":
            assert body.startswith("PK")
    lost = {(tuple(names), body) for status, names, body in found if status == 410}
    assert len(lost) <= len(racers.DOORS), "whoever loses learns nothing at its door, not even by a header"
    events = requests.get(f"{api}/links/{link['id']}/events", headers=key, timeout=10).json()["items"]
    counted = Counter(event["type"] for event in events)
    assert (counted["created"], counted["opened"]) == (1, uses)
    after = requests.get(f"{api}/links/{link['id']}", headers=key, timeout=10).json()
    assert (after["state"], after["uses"]) == ("used", uses)


def test_claim_itself(
    app: Any, make_key: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirteen threads here and as many in each of four processes, all on the database at once."""
    link = make_link(app.test_client(), make_key("anna"), text="only once")
    for name in ("INSTANCE", "DATABASE_URL"):
        monkeypatch.setenv(f"MICROSITE_{name}", app.config[name])
    monkeypatch.setattr(racers, "_made", [app])
    found = race("claim", link["path"].removeprefix("/l/"), here=THREADS)
    assert Counter(status for status, _, _ in found) == {200: 1, 410: (PROCESSES + 1) * THREADS - 1}
    assert [text for status, _, text in found if status == 200] == ["only once"]
    assert opened_events(app) == 1
    assert notes(app) == ["only once"], "in the winner's ticket, and no longer in the link"
