"""Browser contexts: one for each person, in a chosen size and theme."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server

SIZES = {"wide": {"width": 1280, "height": 800}, "phone": {"width": 360, "height": 740}}


@pytest.fixture
def person(chromium: Any) -> Iterator[Callable[..., Any]]:
    """A new browser context with one page; what its console complains about fails the test."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def make(size: str = "wide", theme: str = "light", **options: Any) -> Any:
        context = chromium.new_context(
            viewport=SIZES[size], color_scheme=theme, has_touch=size == "phone", **options
        )
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                complaints.append(message.text) if "Content Security Policy" in message.text else None
            ),
        )
        return page

    yield make
    for context in contexts:
        context.close()
    assert not complaints, complaints


@pytest.fixture
def shot(request: pytest.FixtureRequest) -> Callable[[Any, str], None]:
    """Keep a picture of the page where SCREENSHOTS names a folder."""
    folder = os.environ.get("SCREENSHOTS")

    def take(page: Any, name: str) -> None:
        if folder:
            test = request.node.name.replace("[", "-").replace("]", "")
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=f"{folder}/{test}-{name}.png", full_page=False)

    return take


@pytest.fixture
def site(serve: Callable[..., Server]) -> Server:
    return serve()


@pytest.fixture
def anna(site: Server) -> dict[str, str]:
    """Headers of the maker."""
    return site.add("anna")
