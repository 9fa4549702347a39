"""Links in a real browser: making, opening on a phone, encrypted notes, sending files in, and words for what is wrong."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from microsite.client import notes
from tests.browser.test_pages import check, sign_in
from tests.conftest import Server

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser"), pytest.mark.timeout(300)]


def made(site: Server, headers: dict[str, str], **fields: Any) -> dict[str, Any]:
    answer = requests.post(f"{site.url}/api/v1/links", json=fields, headers=headers, timeout=10)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def state(site: Server, headers: dict[str, str], link: dict[str, Any]) -> tuple[str, int]:
    found = requests.get(f"{site.url}/api/v1/links/{link['id']}", headers=headers, timeout=10).json()
    return found["state"], found["uses"]


def test_a_note_is_encrypted_here_and_read_there(
    site: Server, anna: dict[str, str], person: Callable[..., Any], shot: Callable[..., None]
) -> None:
    maker = person(base_url=site.url)
    sign_in(maker, "anna")
    maker.goto("/links/")
    maker.get_by_role("link", name="Share a note").first.click()
    maker.get_by_role("dialog").wait_for()
    maker.get_by_label("Note", exact=True).fill("the blue key is under the mat €")
    maker.get_by_label("Encrypt in this browser").check()
    check(maker, "a new note")
    shot(maker, "new")
    sent: list[str] = []
    maker.on("request", lambda request: sent.append(request.post_data or ""))
    maker.get_by_role("button", name="Create link").click()
    maker.get_by_role("heading", name="Your link").wait_for()
    check(maker, "an encrypted note was made")
    shot(maker, "made")
    url = maker.get_by_label("Link", exact=True).input_value()
    address, fragment = url.split("#")
    assert len(fragment) == 48
    assert not any("blue key" in body or fragment[:20] in body for body in sent)
    maker.get_by_role("button", name="Close").click()
    maker.get_by_text("open", exact=True).wait_for()  # the list knows of it

    reader = person("phone", base_url=site.url)
    reader.goto(url[:-5])  # a truncated link
    reader.get_by_text("This link is incomplete").wait_for()
    shot(reader, "incomplete")
    check(reader, "a truncated link")
    assert not reader.get_by_role("button", name="Read the note").is_visible()
    reader.goto("about:blank")
    reader.goto(address)  # without its key
    reader.get_by_text("This link is incomplete").wait_for()
    for body in ({}, {"proof": "A" * 43}, {"proof": fragment}):
        headers = {"Accept": "application/json"}
        refused = requests.post(address, json=body, headers=headers, timeout=10)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")

    reader.goto("about:blank")
    reader.goto(url)
    check(reader, "an encrypted note")
    shot(reader, "open")
    reader.get_by_role("button", name="Read the note").click()
    reader.get_by_text("the blue key is under the mat €").wait_for()
    check(reader, "a decrypted note")
    shot(reader, "read")
    data = site.instance
    for file in (found for found in data.rglob("*") if found.is_file()):
        content = file.read_bytes()
        assert b"blue key" not in content, file
        assert fragment.encode() not in content, file

    reader.goto("about:blank")
    reader.goto(url)
    reader.get_by_text("This link no longer works").wait_for()


def test_a_password_and_a_held_button(
    site: Server, anna: dict[str, str], person: Callable[..., Any], shot: Callable[..., None]
) -> None:
    link = made(site, anna, text="held", hold=True, password="open sesame")
    reader = person("phone", base_url=site.url)
    reader.goto(link["url"])
    check(reader, "a button to hold")
    shot(reader, "hold")
    reader.get_by_label("Password").fill("wrong")
    button = reader.get_by_role("button", name="Hold to open")
    button.click()
    assert state(site, anna, link) == ("open", 0), "a click is not enough"
    hold(reader, button)
    reader.get_by_text("That is not the password").wait_for()
    shot(reader, "wrong")
    reader.get_by_label("Password").fill("open sesame")
    hold(reader, reader.get_by_role("button", name="Hold to open"))
    reader.get_by_text("It is now erased here").wait_for()
    assert state(site, anna, link) == ("used", 1)


def hold(page: Any, button: Any) -> None:
    button.scroll_into_view_if_needed()
    box = button.bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 10)
    page.mouse.down()
    page.wait_for_event("framenavigated")
    page.mouse.up()


def test_without_javascript_the_word_is_typed(
    site: Server, anna: dict[str, str], person: Callable[..., Any]
) -> None:
    link = made(site, anna, text="typed", hold=True)
    reader = person("phone", base_url=site.url, java_script_enabled=False)
    reader.goto(link["url"])
    reader.get_by_role("button", name="Read the note").click()
    assert "type the word" in reader.get_by_role("alert").inner_text()
    label = reader.get_by_label(re.compile("Type the word"))
    word = reader.locator("label[for=word] strong").inner_text()
    label.fill(word)
    reader.get_by_role("button", name="Read the note").click()
    assert "typed" in reader.locator("#text").inner_text()


def test_files_with_previews_and_all_as_a_zip(
    site: Server, anna: dict[str, str], person: Callable[..., Any], shot: Callable[..., None], tmp_path: Path
) -> None:
    ids = []
    for name, content in (("hello.txt", b"Hello there.\n" * 5), ("red.svg", b"<svg/>"), ("dot.png", DOT)):
        answer = requests.put(f"{site.url}/api/v1/upload/{name}", data=content, headers=anna, timeout=10)
        ids.append(answer.json()["id"])
    maker = person(base_url=site.url)
    sign_in(maker, "anna")
    maker.goto("/files/")
    for name in ("hello.txt", "red.svg", "dot.png"):
        maker.get_by_label(f"Select {name}").check()
    maker.get_by_role("button", name="Share").click()
    maker.get_by_role("heading", name="Share 3 files").wait_for()
    maker.get_by_text("More options").click()
    maker.get_by_label("Title").fill("For the printer")
    check(maker, "share files")
    shot(maker, "share")
    maker.get_by_role("button", name="Create link").click()
    maker.get_by_role("heading", name="Your link").wait_for()
    maker.get_by_text("QR code").click()
    maker.get_by_text("A message to paste").click()
    check(maker, "made")
    shot(maker, "made")
    url = maker.get_by_label("Link", exact=True).input_value()
    message = maker.get_by_label("A message to paste").input_value()
    assert url in message
    assert "UTC" in message

    reader = person("phone", base_url=site.url)
    reader.goto(url)
    assert "hello.txt" not in reader.content()
    reader.get_by_role("button", name="Open").click()
    reader.get_by_role("heading", name="For the printer").wait_for()
    for summary in reader.locator(".look summary").all():
        summary.click()
    reader.locator("img[alt='dot.png']").wait_for()
    assert reader.evaluate("document.querySelector('.things img').naturalWidth") > 0
    assert "Hello there." in reader.locator(".look pre").inner_text()
    check(reader, "opened files")
    shot(reader, "opened")
    with reader.expect_download() as download:
        reader.get_by_role("link", name="Download all as zip").click()
    saved = tmp_path / "all.zip"
    download.value.save_as(saved)
    import zipfile

    with zipfile.ZipFile(saved) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == ["dot.png", "hello.txt", "red.svg"]
    second = person("phone", base_url=site.url)
    second.goto(reader.url)
    second.get_by_text("This link no longer works").wait_for()


def test_files_are_asked_for_and_sent(
    site: Server, anna: dict[str, str], person: Callable[..., Any], shot: Callable[..., None]
) -> None:
    maker = person(base_url=site.url)
    sign_in(maker, "anna")
    maker.goto("/links/ask")
    maker.get_by_label("Files altogether").fill("3")
    maker.get_by_label("Endings").fill("txt, pdf")
    check(maker, "ask for files")
    shot(maker, "ask")
    maker.get_by_role("button", name="Create link").click()
    url = maker.get_by_label("Link", exact=True).input_value()

    sender = person("phone", base_url=site.url)
    sender.goto(url)
    check(sender, "an upload request")
    shot(sender, "request")
    sender.get_by_role("button", name="Send files").click()
    sender.get_by_text("3 more files").wait_for()
    check(sender, "sending")
    shot(sender, "sending")
    files = [{"name": f"{n}.txt", "mimeType": "text/plain", "buffer": b"from outside"} for n in "ab"]
    sender.locator("input[type=file]").set_input_files(files)
    sender.get_by_text("Your 2 files arrived").wait_for()
    check(sender, "sent")
    shot(sender, "sent")
    wrong = {"name": "x.exe", "mimeType": "application/octet-stream", "buffer": b"no"}
    sender.locator("input[type=file]").set_input_files([wrong])
    sender.get_by_role("alert").get_by_text("files here end in txt, pdf").wait_for()
    maker.goto("/files/")
    maker.get_by_role("link", name="a.txt", exact=True).wait_for()
    maker.goto("/links/")
    maker.get_by_text("2 of 3 files arrived").wait_for()
    shot(maker, "list")
    plain = person("phone", base_url=site.url, java_script_enabled=False)
    plain.goto(url)
    plain.get_by_role("button", name="Send files").click()
    plain.locator("input[type=file]").set_input_files([files[0]])
    plain.get_by_role("button", name="Send", exact=True).click()
    assert "Your file arrived" in plain.get_by_role("status").inner_text()


def test_an_invitation_and_the_makers_own_look(
    serve: Callable[..., Server], person: Callable[..., Any], shot: Callable[..., None]
) -> None:
    site = serve(REGISTRATION="invite")
    site.add("root", role="admin")
    maker = person(base_url=site.url)
    sign_in(maker, "root")
    maker.goto("/links/invite")
    check(maker, "invite")
    shot(maker, "invite")
    maker.get_by_role("button", name="Create link").click()
    url = maker.get_by_label("Link", exact=True).input_value()
    maker.goto(url)
    maker.get_by_text("This is your own link").wait_for()
    guest = person("phone", base_url=site.url)
    guest.goto("/auth/register")
    guest.get_by_text("Registration is not open").wait_for()
    guest.goto(url)
    check(guest, "an invitation")
    shot(guest, "invitation")
    guest.get_by_role("button", name="Join Microsite").click()
    guest.get_by_label("Name", exact=True).fill("newcomer")
    guest.get_by_label("E-mail").fill("new@example.org")
    guest.get_by_label("Password", exact=True).fill("correct horse battery")
    guest.get_by_label("The same password again").fill("correct horse battery")
    guest.get_by_role("button", name="Register").click()
    guest.get_by_role("heading", name="Hello, newcomer").wait_for()
    late = person(base_url=site.url)
    late.goto(url)
    late.get_by_text("This link no longer works").wait_for()


DOT = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d4944415478da63fccfc0f01f0005000201"
    "62a1ad3c0000000049454e44ae426082"
)


def test_browser_and_python_client_read_each_other_s_notes(site: Server, person: Callable[..., Any]) -> None:
    page, note = person(base_url=site.url), "the blue key is under the mat €\n"
    page.goto("/")
    module = "const m = await import('/static/links/notes.js');"
    sealed = page.evaluate(f"async (note) => {{ {module} return m.encrypt(note); }}", note)
    key = notes.key_of(sealed["fragment"])
    assert notes.decrypt(sealed["ciphertext"], key) == note
    assert sealed["proof_hash"] == hashlib.sha256(notes.proof_of(key).encode()).hexdigest()
    own = notes.encrypt(note)
    read = f"async ([text, fragment]) => {{ {module} return m.decrypt(text, await m.keyOf(fragment)); }}"
    assert page.evaluate(read, [own.ciphertext, own.fragment]) == note
