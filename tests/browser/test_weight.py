"""Pages are light, and after an update of the site a browser runs the new scripts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

import microsite
from tests.browser.test_pages import furnish, sign_in
from tests.conftest import Server

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

FIRST = 80_000
"""Bytes of a first visit; the promise is 120,000."""
AGAIN = 15_000
"""Bytes of every later one; the promise is 30,000."""


class Wire:
    """What a page brought over the wire, heads and bodies, by url."""

    def __init__(self, page: Any) -> None:
        self.urls: dict[str, str] = {}
        self.bytes: dict[str, float] = {}
        self.session = page.context.new_cdp_session(page)
        self.session.send("Network.enable")
        self.session.on("Network.requestWillBeSent", self._sent)
        self.session.on("Network.loadingFinished", self._finished)

    def _sent(self, event: dict[str, Any]) -> None:
        self.urls[event["requestId"]] = event["request"]["url"]

    def _finished(self, event: dict[str, Any]) -> None:
        url = self.urls[event["requestId"]]
        self.bytes[url] = self.bytes.get(url, 0) + event["encodedDataLength"]


def weigh(context: Any, path: str) -> dict[str, float]:
    """Bytes by url of one visit in a new tab."""
    page = context.new_page()
    wire = Wire(page)
    page.goto(path, wait_until="networkidle" if "/chat/" not in path else "load")
    page.wait_for_function(
        "[...document.scripts].every(script => performance.getEntriesByName(script.src).length)"
    )
    page.close()
    return wire.bytes


def test_a_first_visit_and_the_next(serve: Callable[..., Server], person: Callable[..., Any]) -> None:
    site = serve()
    urls = furnish(site)
    member = person(base_url=site.url)
    sign_in(member, "anna")
    cookies = member.context.cookies()
    for path in ("/", "/auth/login", urls["open"], urls["note"], "/nowhere"):
        check_weight(person(base_url=site.url).context, path)
    for path in ("/", "/files/", urls["file"], "/links/", "/links/new", urls["room"]):
        context = person(base_url=site.url).context
        context.add_cookies(cookies)
        check_weight(context, path)


def check_weight(context: Any, path: str) -> None:
    first = weigh(context, path)
    assert any("bootstrap.min.css" in url for url in first), "the first visit fetches everything"
    assert sum(first.values()) < FIRST, f"{path} at the first visit: {first}"
    again = weigh(context, path)
    assert sum(again.values()) < AGAIN, f"{path} at the next: {again}"


def deploy(folder: Path, version: str) -> None:
    """Put a version of the package there whose scripts and styles say which one they are; times are kept."""
    source = Path(microsite.__file__).parent
    shutil.copytree(
        source, folder / "microsite", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    for script in ("shell.js", "vendor/socket.io.esm.min.js", "../chat/static/chat/chat.js"):
        path = folder / "microsite" / "static" / script
        mark = f"(window.versions ??= {{}})['{path.name}'] = '{version}';\n"
        path.write_text(mark + path.read_text("utf-8"), "utf-8")
        shutil.copystat(source / "static" / script, path)
    style = folder / "microsite" / "chat" / "static" / "chat" / "chat.css"
    style.write_text(f"{style.read_text('utf-8')}\n:root {{ --version: {version}; }}\n", "utf-8")


def test_after_an_update_the_next_page_runs_the_new_scripts(
    tmp_path: Path, serve: Callable[..., Server], person: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that other modules import too; the page that stood open goes on working."""
    deploy(tmp_path / "deploy", "old")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "deploy"))
    site = serve()
    room = furnish(site)["room"]
    page = person(base_url=site.url)
    sign_in(page, "anna")
    names = {"shell.js", "socket.io.esm.min.js", "chat.js"}

    def versions() -> tuple[dict[str, str], str]:
        page.wait_for_function("Object.keys(window.versions ?? {}).length === 3")
        style = "getComputedStyle(document.documentElement).getPropertyValue('--version').trim()"
        return page.evaluate("window.versions"), page.evaluate(style)

    page.goto(room)
    assert versions() == (dict.fromkeys(names, "old"), "old")
    old = page.evaluate("document.querySelector('script[src*=\"chat.js\"]').src")
    site.stop()
    deploy(tmp_path / "deploy", "new")
    site.start()
    assert versions() == (dict.fromkeys(names, "old"), "old")
    page.goto(room)
    assert versions() == (dict.fromkeys(names, "new"), "new")
    late = requests.get(old, timeout=10)
    assert (late.status_code, late.headers["Cache-Control"]) == (200, "no-cache")
