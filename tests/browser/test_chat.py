"""Chat in a real browser: what is pending, what failed, and the gap after a restart of the site."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.browser.test_pages import sign_in
from tests.conftest import Server

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def talk(server: Server, person: Callable[..., Any]) -> tuple[Any, dict[str, str], str]:
    """anna's page in the room with bert, bert's credential, and the room."""
    anna, bert = server.add("anna"), server.add("bert")
    room = requests.post(
        f"{server.url}/api/v1/rooms", json={"kind": "direct", "with": "bert"}, headers=anna, timeout=10
    ).json()["id"]
    page = person(base_url=server.url)
    sign_in(page, "anna")
    page.goto(f"/chat/{room}")
    page.get_by_text("Nothing was said yet.").wait_for()
    return page, bert, room


def say(server: Server, key: dict[str, str], room: str, body: str) -> None:
    values = {"client_id": str(uuid.uuid4()), "body": body}
    answer = requests.post(f"{server.url}/api/v1/rooms/{room}/messages", json=values, headers=key, timeout=10)
    assert answer.status_code == 201, answer.text


def shown(page: Any) -> list[str]:
    found: list[str] = page.locator("[data-messages] .bubble").all_inner_texts()
    return found


@pytest.mark.timeout(120)
def test_a_message_written_while_the_site_is_down_arrives_once_and_a_gap_is_filled(
    serve: Callable[..., Server], person: Callable[..., Any]
) -> None:
    server = serve()
    page, bert, room = talk(server, person)
    say(server, bert, room, "before")
    page.locator("[data-messages]").get_by_text("before", exact=True).wait_for()
    server.kill()
    page.get_by_text("Connecting again").wait_for()
    page.get_by_label("Message to bert").fill("written into the dark")
    page.keyboard.press("Enter")
    page.locator("[data-pending] .pending").get_by_text("written into the dark").wait_for()
    server.start()
    for number in range(3):
        say(server, bert, room, f"while away {number}")
    page.locator("[data-messages]").get_by_text("written into the dark").wait_for(timeout=30_000)
    page.locator("[data-messages]").get_by_text("while away 2").wait_for(timeout=30_000)
    page.locator("[data-pending] li").wait_for(state="detached")
    texts = shown(page)
    assert sorted(texts) == sorted(
        ["before", "written into the dark", "while away 0", "while away 1", "while away 2"]
    )
    log = requests.get(f"{server.url}/api/v1/rooms/{room}/events", headers=bert, timeout=10).json()["events"]
    assert [event["body"] for event in log] == texts


@pytest.mark.timeout(120)
def test_a_pending_message_survives_a_reload(
    serve: Callable[..., Server], person: Callable[..., Any]
) -> None:
    server = serve()
    page, bert, room = talk(server, person)
    page.context.set_offline(True)
    server.kill()
    page.get_by_label("Message to bert").fill("keep me")
    page.keyboard.press("Enter")
    page.locator("[data-pending] .pending").get_by_text("keep me").wait_for()
    server.start()
    page.context.set_offline(False)
    page.reload()
    page.locator("[data-messages]").get_by_text("keep me").wait_for(timeout=30_000)
    log = requests.get(f"{server.url}/api/v1/rooms/{room}/events", headers=bert, timeout=10).json()["events"]
    assert [event["body"] for event in log] == ["keep me"]


@pytest.mark.timeout(120)
def test_a_refused_message_is_red_with_a_reason_and_can_be_sent_again(
    serve: Callable[..., Server], person: Callable[..., Any]
) -> None:
    server = serve()
    page, _, _ = talk(server, person)
    page.get_by_label("Message to bert").fill("with a \u0007 bell")
    page.keyboard.press("Enter")
    failed = page.locator("[data-pending] .failed")
    failed.get_by_text("This holds characters that cannot be shown.").wait_for()
    failed.get_by_role("button", name="Discard").click()
    failed.wait_for(state="detached")
    page.get_by_label("Message to bert").fill("without")
    page.keyboard.press("Enter")
    page.locator("[data-messages]").get_by_text("without", exact=True).wait_for()


@pytest.mark.timeout(120)
def test_html_in_a_message_stays_text(serve: Callable[..., Server], person: Callable[..., Any]) -> None:
    server = serve()
    page, bert, room = talk(server, person)
    evil = '"><img src=x onerror=alert(1)><script>alert(2)</script>'
    say(server, bert, room, evil)
    page.locator("[data-messages] .bubble").wait_for()
    assert shown(page) == [evil]
    assert page.locator("[data-messages] img").count() == 0
