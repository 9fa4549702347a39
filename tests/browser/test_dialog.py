"""The dialog that makes links: what was typed survives a refusal, times stay what they were, focus and bars are in sight."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from tests.browser.test_pages import check, sign_in
from tests.conftest import Server

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser"), pytest.mark.timeout(300)]


def links(site: Server, headers: dict[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = requests.get(
        f"{site.url}/api/v1/links", headers=headers, timeout=10
    ).json()["items"]
    return found


def test_a_refused_dialog_keeps_what_was_typed(
    site: Server, anna: dict[str, str], person: Callable[..., Any], shot: Callable[..., None]
) -> None:
    page = person("phone", base_url=site.url, timezone_id="Europe/Berlin")
    sign_in(page, "anna")
    page.goto("/links/")
    page.get_by_role("link", name="Share a note").first.click()
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    assert page.evaluate("document.activeElement.name") == "text"
    dialog.get_by_label("Note", exact=True).fill("the blue key")
    dialog.get_by_label("Until when").select_option("date")
    end = f"{datetime.now(UTC).year + 1}-01-05T18:00"
    dialog.get_by_label("Until this date and time").fill(end)
    dialog.get_by_text("More options").click()
    dialog.get_by_label("Password", exact=False).first.fill("open sesame")
    dialog.get_by_label("Send to").fill("Dora <dora@example.org>, nobody")
    dialog.get_by_role("button", name="Create link").click()
    dialog.get_by_text("nobody is not an e-mail address.").first.wait_for()
    shot(page, "refused")
    check(page, "a refused dialog")
    assert dialog.get_by_label("Note", exact=True).input_value() == "the blue key"
    assert dialog.get_by_label("Until this date and time").input_value() == end
    assert dialog.get_by_text("Type the password again").first.is_visible()
    assert links(site, anna) == []

    dialog.get_by_label("Send to").fill("Dora <dora@example.org>")
    dialog.get_by_label("Password", exact=False).first.fill("open sesame")
    dialog.get_by_role("button", name="Create link").click()
    dialog.get_by_text("This site sends no mail").wait_for()
    shot(page, "made")
    check(page, "links for recipients")
    (link,) = links(site, anna)
    assert link["has_password"]
    assert link["expires_at"].startswith(f"{datetime.now(UTC).year + 1}-01-05T17:00")
    dialog.get_by_role("button", name="Close").click()
    page.get_by_text("for dora@example.org").wait_for()


def test_an_ended_session_loses_no_words(
    site: Server, anna: dict[str, str], person: Callable[..., Any]
) -> None:
    page = person(base_url=site.url)
    sign_in(page, "anna")
    page.goto("/links/")
    page.get_by_role("link", name="Share a note").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Note", exact=True).fill("many words")
    page.context.clear_cookies()
    dialog.get_by_role("button", name="Create link").click()
    dialog.get_by_role("alert").wait_for()
    assert dialog.get_by_label("Note", exact=True).input_value() == "many words"
    page.once("dialog", lambda question: question.dismiss())
    page.keyboard.press("Escape")
    assert dialog.get_by_label("Note", exact=True).input_value() == "many words"
    page.once("dialog", lambda question: question.accept())
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")


def test_what_is_chosen_can_be_acted_on_without_scrolling(
    site: Server, anna: dict[str, str], person: Callable[..., Any], shot: Callable[..., None]
) -> None:
    for number in range(25):
        requests.put(
            f"{site.url}/api/v1/upload/{number:02}.txt", data=b"x", headers=anna, timeout=10
        ).raise_for_status()
    page = person("phone", base_url=site.url)
    sign_in(page, "anna")
    page.goto("/files/")
    boxes = page.locator("[data-rows] input[type=checkbox]")
    for chosen in (boxes.first, boxes.last):
        chosen.check()
        box = page.get_by_role("button", name="Share", exact=True).bounding_box()
        middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
        found = page.evaluate(
            "([x, y]) => document.elementFromPoint(x, y)?.closest('button')?.innerText", middle
        )
        assert (found or "").strip() == "Share", "nothing lies over it"
    shot(page, "selected")
    check(page, "two files chosen")
    page.get_by_role("button", name="Select all").click()
    count = boxes.count()
    page.get_by_text(f"{count} selected").wait_for()
    page.get_by_role("button", name="Share", exact=True).click()
    page.get_by_role("heading", name=f"Share {count} files").wait_for()


def test_copied_is_said_only_of_what_was_copied(
    site: Server, anna: dict[str, str], person: Callable[..., Any]
) -> None:
    made = requests.post(
        f"{site.url}/api/v1/links", json={"text": "door 4711"}, headers=anna, timeout=10
    ).json()
    page = person(base_url=site.url)
    page.goto(made["url"])
    page.get_by_role("button", name="Read the note").click()
    page.get_by_text("door 4711").wait_for()
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(); }")
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("getSelection().toString()") == "door 4711"
    page.evaluate("() => { document.execCommand = () => false; }")
    page.get_by_role("button", name="Cop").click()
    page.get_by_role("button", name="Press Ctrl+C").wait_for()


def test_encrypting_works_where_webhooks_are_off(
    serve: Callable[..., Server], person: Callable[..., Any]
) -> None:
    site = serve(LINK_WEBHOOKS="off")
    site.add("anna")
    page = person(base_url=site.url)
    sign_in(page, "anna")
    page.goto("/links/new")
    page.get_by_label("Note", exact=True).fill("the blue key")
    page.get_by_label("Encrypt in this browser").check()
    page.get_by_label("Until when").select_option("date")
    page.get_by_role("button", name="Create link").click()
    page.get_by_text("Choose the date and time at which it ends.").wait_for()
    assert page.evaluate("document.activeElement.name") == "expires_at"
    page.get_by_label("Until when").select_option("3600")
    page.get_by_role("button", name="Create link").click()
    page.get_by_role("heading", name="Your link").wait_for()
    assert "#" in page.get_by_label("Link", exact=True).input_value()
    assert "until" in page.get_by_label("A message to paste").input_value()
