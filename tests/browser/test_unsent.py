"""A form that is posted after its session's end, in a real browser, with and without scripts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.browser.test_pages import check, sign_in
from tests.conftest import PASSWORD, Server

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser"), pytest.mark.timeout(300)]
NOTE = "Dear Bob,\nthe <blue> key is under the mat."


def end_sessions(site: Server, username: str) -> None:
    for command in ("disable", "enable"):
        assert site.command("user", command, username).returncode == 0


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_what_was_typed_comes_back(
    site: Server, anna: dict[str, str], person: Callable[..., Any], shot: Callable[..., None], scripts: bool
) -> None:
    page = person(base_url=site.url, java_script_enabled=scripts)
    sign_in(page, "anna")
    page.goto("/links/new")
    page.get_by_label("Note", exact=True).fill(NOTE)
    end_sessions(site, "anna")
    page.get_by_role("button", name="Create link").click()
    page.get_by_text("You were signed out before this was sent.").wait_for()
    if scripts:
        check(page, "signing in again")
        shot(page, "sign-in")
    page.get_by_label("Name or e-mail").fill("anna")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("Here is your text").wait_for()
    assert page.url == f"{site.url}/links/new"
    assert page.get_by_label("Note", exact=True).input_value() == NOTE
    headers = site.token("anna")
    assert requests.get(f"{site.url}/api/v1/links", headers=headers, timeout=10).json()["items"] == []
    if scripts:
        check(page, "the text again")
        shot(page, "again")
    page.get_by_role("button", name="Create link").click()
    page.get_by_role("heading", name="Your link").wait_for()

    page.goto("/account/")
    page.get_by_label("About you").fill("Under the mat")
    end_sessions(site, "anna")
    page.get_by_role("button", name="Save").click()
    page.get_by_label("Name or e-mail").fill("anna")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("Here is your text").wait_for()
    assert page.url == f"{site.url}/account/"
    assert page.get_by_label("About you").input_value() == "Under the mat"
