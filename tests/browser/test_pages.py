"""Every page for everybody: axe finds nothing, nothing is wider than a phone, the keyboard does it all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.conftest import PASSWORD, Server

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def sign_in(page: Any, username: str) -> None:
    page.goto("/auth/login")
    page.get_by_label("Name or e-mail").fill(username)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name=f"Hello, {username}").wait_for()


def furnish(server: Server) -> dict[str, str]:
    """A site with something on every page; gives addresses by name."""
    import uuid

    import requests

    anna, _ = server.add("anna"), server.add("bert")
    api = f"{server.url}/api/v1"
    file = requests.put(
        f"{api}/upload/a%20picture.txt", data=b"Hello there.\n" * 40, headers=anna, timeout=10
    ).json()["id"]
    link = requests.post(
        f"{api}/links",
        json={"files": [file], "title": "For you", "password": "a password"},
        headers=anna,
        timeout=10,
    ).json()
    note = requests.post(f"{api}/links", json={"text": "A note.\nIn lines."}, headers=anna, timeout=10).json()
    room = requests.post(
        f"{api}/rooms", json={"kind": "direct", "with": "bert"}, headers=anna, timeout=10
    ).json()["id"]
    for body in (
        "Hello",
        "A longer line that has to wrap on a phone since it says quite a lot without a break",
    ):
        values = {"client_id": str(uuid.uuid4()), "body": body}
        requests.post(f"{api}/rooms/{room}/messages", json=values, headers=anna, timeout=10)
    return {
        "file": f"/files/{file}",
        "link": f"/links/{link['id']}",
        "open": link["url"],
        "note": note["url"],
        "room": f"/chat/{room}",
    }


def check(page: Any, where: str) -> None:
    page.wait_for_load_state("networkidle")
    found = Axe().run(page)
    assert found.violations_count == 0, f"{where}: {found.generate_report()}"
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider <= 0, f"{where} is {wider} px wider than the window"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("size", "theme"), [("wide", "light"), ("wide", "dark"), ("phone", "light"), ("phone", "dark")]
)
def test_axe_finds_nothing_and_no_page_is_too_wide(
    serve: Callable[..., Server], person: Callable[..., Any], shot: Callable[..., None], size: str, theme: str
) -> None:
    server = serve()
    places = furnish(server)
    page = person(size, theme, base_url=server.url)
    for path in ("/", "/auth/login", "/auth/register", "/auth/reset", "/nowhere", "/l/gone", places["open"]):
        page.goto(path)
        check(page, path)
    page.get_by_label("Password", exact=True).fill("not this one")
    page.get_by_role("button", name="Open").click()
    page.get_by_text("That is not the password of this link.").wait_for()
    check(page, "a wrong link password")
    shot(page, "wrong-password")
    page.goto(places["note"])
    page.get_by_role("button", name="Read the note").click()
    page.get_by_text("It is now erased here.").wait_for()
    check(page, "an opened note")
    shot(page, "note")
    sign_in(page, "anna")
    for path in (
        "/",
        "/files/",
        places["file"],
        "/links/",
        "/links/new",
        "/links/ask",
        places["link"],
        "/chat/",
        places["room"],
        "/chat/with/bert",
        "/account/",
    ):
        page.goto(path)
        check(page, path)
        shot(page, path.strip("/").replace("/", "-")[:20] or "home")
    page.goto("/links/new")
    page.get_by_role("button", name="Create link").click()
    page.get_by_text("Write a note, or choose files to share.").first.wait_for()
    check(page, "a refused form")
    page.goto("/auth/register")
    page.locator("details.menu summary").click()
    check(page, "the open menu")
    shot(page, "menu")


@pytest.mark.timeout(120)
def test_the_keyboard_alone_signs_in_uploads_and_deletes(
    serve: Callable[..., Server], person: Callable[..., Any]
) -> None:
    server = serve()
    places = furnish(server)
    page = person(base_url=server.url)
    page.goto("/auth/login")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("anna")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Hello, anna").wait_for()
    page.goto(places["file"])
    page.get_by_role("link", name="Delete").focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent").strip() == "Delete"
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Delete the file").focus()
    page.keyboard.press("Enter")
    page.get_by_text("a picture.txt is deleted.").wait_for()


@pytest.mark.timeout(120)
def test_without_javascript_one_signs_in_uploads_makes_and_opens_a_link(
    serve: Callable[..., Server], person: Callable[..., Any]
) -> None:
    server = serve()
    server.add("anna")
    page = person(base_url=server.url, java_script_enabled=False)
    sign_in(page, "anna")
    page.goto("/files/")
    page.get_by_role("button", name="Upload").click()
    page.get_by_text("No file was chosen. Choose one or more.").wait_for()
    page.set_input_files(
        "#file",
        [
            {"name": "one.txt", "mimeType": "text/plain", "buffer": b"one"},
            {"name": "two.txt", "mimeType": "text/plain", "buffer": b"two"},
        ],
    )
    page.get_by_role("button", name="Upload").click()
    page.get_by_text("2 files are here.").wait_for()
    page.get_by_label("Select one.txt").check()
    page.get_by_role("button", name="Share").click()
    page.get_by_role("button", name="Create link").click()
    link = page.get_by_label("Link", exact=True).input_value()
    reader = person(base_url=server.url, java_script_enabled=False)
    reader.goto(link)
    reader.get_by_role("button", name="Open").click()
    reader.get_by_role("link", name="Download").wait_for()
    assert "one.txt" in reader.content()


@pytest.mark.timeout(120)
def test_the_theme_follows_the_system_until_another_is_chosen(
    serve: Callable[..., Server], person: Callable[..., Any]
) -> None:
    server = serve()
    server.add("anna")
    page = person(theme="dark", base_url=server.url)
    sign_in(page, "anna")
    theme = "document.documentElement.dataset.bsTheme"
    assert page.evaluate(theme) == "dark"
    page.locator("details.menu summary").click()
    page.get_by_role("button", name="Light").click()
    assert page.evaluate(theme) == "light"
    page.reload()
    assert page.evaluate(theme) == "light"
