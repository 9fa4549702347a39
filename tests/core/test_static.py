"""Static files: kept for long only where the address says which version it is."""

from __future__ import annotations

import re
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("path", "kept"),
    [("/static/base.css?v=1", "max-age=31536000"), ("/static/base.css", "no-cache"), ("/static/shell.js", "no-cache"), ("/static/links/notes.js", "no-cache")],
)  # fmt: skip
def test_how_long_a_browser_keeps_it(client: Any, path: str, kept: str) -> None:
    assert kept in client.get(path, buffered=True).headers["Cache-Control"]


def test_a_module_that_others_import_has_one_address(client: Any) -> None:
    """By two addresses the browser would run it twice, and every button with it."""
    page = client.get("/").get_data(as_text=True)
    assert '<script type="module" src="/static/shell.js">' in page
    others = re.findall(r'<(?:link rel="stylesheet"|script) (?:href|src)="(/static/[^"]+)"', page)
    assert others
    assert all("?v=" in address for address in others)
