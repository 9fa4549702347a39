"""The whole story in a real browser: two members and an outsider, from the empty site to the talk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PASSWORD, Server

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
SIZE = int(os.environ.get("STORY_BYTES", "3000000"))


def fill_account(page: Any, name: str) -> None:
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("E-mail").fill(f"{name}@example.org")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("The same password again").fill(PASSWORD)


def random_file(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        while size > 0:
            block = os.urandom(min(size, 1 << 20))
            file.write(block)
            digest.update(block)
            size -= len(block)
    return digest.hexdigest()


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("size", "theme"), [("wide", "light"), ("phone", "dark")])
def test_the_whole_story(
    serve: Callable[..., Server],
    person: Callable[..., Any],
    shot: Callable[..., None],
    tmp_path: Path,
    size: str,
    theme: str,
) -> None:
    server = serve()
    anna, bert, outsider = (person(size, theme, base_url=server.url, accept_downloads=True) for _ in range(3))

    anna.goto("/")
    shot(anna, "01-welcome")
    anna.goto(server.setup_address())
    shot(anna, "02-setup")
    fill_account(anna, "anna")
    anna.get_by_role("button", name="Make the administrator").click()
    anna.get_by_role("heading", name="Hello, anna").wait_for()
    shot(anna, "03-home-empty")

    bert.goto("/auth/register")
    bert.get_by_label("Name", exact=True).press_sequentially("anna")
    bert.get_by_text("That name is taken.").wait_for()
    shot(bert, "04-register")
    fill_account(bert, "bert")
    bert.get_by_text("That name is free.").wait_for()
    bert.get_by_role("button", name="Register").click()
    bert.get_by_role("heading", name="Hello, bert").wait_for()

    source = tmp_path / "holiday film.mp4.bin"
    digest = random_file(source, SIZE)
    anna.get_by_role("navigation").get_by_role("link", name="Files").click()
    anna.get_by_text("Nobody sees them until you share them.").first.wait_for()
    shot(anna, "05-files-empty")
    anna.locator("#file").set_input_files(str(source))
    if SIZE > 10**8:  # a smaller one is there before the picture
        anna.locator(".tray").get_by_text("left").wait_for()
        shot(anna, "06-uploading")
    anna.get_by_role("link", name=source.name, exact=True).wait_for(timeout=240_000)
    shot(anna, "07-files")
    anna.get_by_role("link", name=source.name, exact=True).click()
    anna.get_by_text(digest).wait_for()
    shot(anna, "08-file")
    anna.get_by_role("link", name="Share").click()
    anna.get_by_role("dialog").wait_for()
    shot(anna, "09-share")
    anna.get_by_text("More options").click()
    anna.get_by_label("Title").fill("Our holiday")
    anna.get_by_role("button", name="Create link").click()
    link = anna.get_by_label("Link", exact=True).input_value()
    shot(anna, "10-link-made")

    outsider.goto(link)
    outsider.get_by_text("This link works once").wait_for()
    assert source.name not in outsider.content()
    shot(outsider, "11-recipient")
    outsider.get_by_role("button", name="Open").click()
    outsider.get_by_text(source.name).first.wait_for()
    shot(outsider, "12-opened")
    with outsider.expect_download(timeout=240_000) as download:
        outsider.get_by_role("link", name="Download").click()
    target = tmp_path / "arrived"
    download.value.save_as(str(target))
    assert download.value.suggested_filename == source.name
    assert sha256(target) == digest

    bert.goto(link)
    bert.get_by_text("This link no longer works.").wait_for()
    shot(bert, "13-gone")

    anna.goto("/links/")
    anna.get_by_text("used", exact=True).wait_for()
    shot(anna, "14-links")
    anna.get_by_role("link", name="Our holiday").click()
    anna.get_by_text("It was downloaded whole").first.wait_for()
    shot(anna, "15-link")

    anna.goto("/chat/")
    shot(anna, "16-chat-empty")
    anna.get_by_label("Write to").fill("bert")
    anna.get_by_role("button", name="Open").click()
    write(anna, "Did you get the film?")
    bert.goto("/")
    bert.get_by_text("1 unread").wait_for()
    shot(bert, "17-home-unread")
    bert.get_by_role("link", name="anna").click()
    bert.locator("[data-messages]").get_by_text("Did you get the film?").wait_for()
    write(bert, "Yes, all of it.\nThank you.")
    anna.locator("[data-messages]").get_by_text("Yes, all of it.").wait_for()
    write(anna, "Good.")
    bert.locator("[data-messages]").get_by_text("Good.", exact=True).wait_for()
    shot(anna, "18-chat")
    anna.goto("/")
    shot(anna, "19-home")
    anna.goto("/account/")
    shot(anna, "20-account")
    anna.goto("/nowhere")
    shot(anna, "21-not-found")
    anna.get_by_role("button", name="Stay here").click()
    anna.get_by_text("You stay here.").wait_for()


def write(page: Any, body: str) -> None:
    """Write a message and see it stored."""
    page.get_by_label("Message to").fill(body)
    page.get_by_role("button", name="Send").click()
    page.locator("[data-messages]").get_by_text(body.split("\n", maxsplit=1)[0]).wait_for()
    page.locator("[data-pending] li").wait_for(state="detached")
