"""What every page says about itself."""

from __future__ import annotations

import re
from typing import Any

import pytest


def description(page: Any) -> str:
    found = re.findall(r'<meta name="description" content="([^"]+)">', page.get_data(as_text=True))
    assert len(found) == 1
    return str(found[0])


@pytest.mark.parametrize("path", ["/", "/auth/login", "/auth/register", "/auth/reset", "/nowhere"])
def test_a_public_page_has_a_description(client: Any, path: str) -> None:
    assert "for the people of" in description(client.get(path))


def test_a_recipient_reads_what_a_link_is(client: Any, make_key: Any) -> None:
    made = client.post("/api/v1/links", json={"text": "A secret word"}, headers=make_key("anna"))
    page = client.get(made.json["url"])
    assert description(page).endswith("made this link for you. Looking at it uses nothing up.")
    assert "A secret word" not in page.get_data(as_text=True)
