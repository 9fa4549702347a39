"""The commands of users, run as they run them, against a real site."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from pathlib import Path

import pytest
import requests

from tests.client.conftest import Computer
from tests.conftest import PASSWORD, Server, wait_for

NOTE = "the blue key is under the mat €"


def test_signing_in_and_out(outsider: Computer, anna: Computer, shared_server: Server) -> None:
    refused = outsider.run("whoami")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "microsite login" in refused.stderr
    wrong = outsider.run(
        "login", shared_server.url, "--username", "anna", "--password-stdin", stdin="not the password\n"
    )
    assert wrong.returncode == 1
    assert "Traceback" not in wrong.stderr
    assert not outsider.configuration.exists()

    assert anna.done("whoami").startswith("anna (member) at 127.0.0.1:")
    assert json.loads(anna.done("whoami", "--json"))["username"] == "anna"
    saved = anna.configuration / "site.json"
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    key = json.loads(saved.read_text())["key"]
    assert PASSWORD not in saved.read_text()
    by_key = {"MICROSITE_URL": shared_server.url, "MICROSITE_TOKEN": key}
    assert json.loads(outsider.done("whoami", "--json", **by_key))["username"] == "anna"
    anna.done("logout")
    assert not saved.exists()
    assert outsider.run("whoami", **by_key).returncode == 1, "the key still opens"


def test_a_second_login_leaves_no_key_behind(anna: Computer, shared_server: Server) -> None:
    first = json.loads((anna.configuration / "site.json").read_text())["key"]
    anna.done("login", shared_server.url, "--username", "anna", "--password-stdin", stdin=f"{PASSWORD}\n")
    answer = requests.get(
        f"{shared_server.url}/api/v1/me", headers={"Authorization": f"Bearer {first}"}, timeout=10
    )
    assert answer.status_code == 401
    assert anna.done("whoami")


@pytest.mark.parametrize("encrypt", [False, True])
def test_a_note_is_shared_and_read_once(anna: Computer, outsider: Computer, encrypt: bool) -> None:
    link = anna.done("share", "--text", "-", *(["--encrypt"] if encrypt else []), stdin=NOTE)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/l/\S+\n", link)
    link = link.strip()
    if encrypt:
        for cut in (link[:-5], link.partition("#")[0]):
            incomplete = outsider.run("get", cut)
            assert incomplete.returncode == 1
            assert "incomplete" in incomplete.stderr
    assert outsider.done("get", link) == NOTE
    again = outsider.run("get", link)
    assert (again.returncode, again.stdout) == (1, "")
    assert "Traceback" not in again.stderr


def test_files_are_shared_and_got(anna: Computer, outsider: Computer, site: object) -> None:
    (anna.folder / "price list.pdf").write_bytes(b"%PDF-" + os.urandom(100_000))
    (anna.folder / "empty.txt").touch()
    link = anna.done(
        "share", "price list.pdf", "empty.txt", "--uses", "2", "--expires", "2h", "--title", "For the printer"
    ).strip()
    outsider.folder.joinpath("empty.txt").write_text("mine, and it stays")
    got = outsider.done("get", link).splitlines()
    assert [Path(path).name for path in got] == ["price list.pdf", "empty (1).txt"]
    assert Path(got[0]).read_bytes() == (anna.folder / "price list.pdf").read_bytes()
    assert Path(got[1]).read_bytes() == b""
    assert outsider.folder.joinpath("empty.txt").read_text() == "mine, and it stays"
    assert not list(outsider.folder.glob("*.part"))
    there = outsider.done("get", link, "-o", "new folder").splitlines()
    assert [Path(path).parent.name for path in there] == ["new folder"] * 2
    (listed,) = [json.loads(line) for line in anna.done("links", "--json").splitlines() if "printer" in line]
    assert (listed["state"], listed["uses"]) == ("used", 2)
    assert "used" in anna.done("links")


def test_revoked_by_its_id(anna: Computer, outsider: Computer) -> None:
    made = json.loads(anna.done("share", "--text", "hello", "--uses", "unlimited", "--json"))
    assert made["max_uses"] is None
    anna.done("revoke", made["id"])
    assert outsider.run("get", made["url"]).returncode == 1
    unknown = anna.run("revoke", "nothing-like-it")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("microsite: ")


def test_a_password_is_checked_before_anything_is_spent(anna: Computer, outsider: Computer) -> None:
    link = anna.done("share", "--text", NOTE, "--password-stdin", stdin="open sesame\n").strip()
    for arguments, typed in (((), ""), (("--password-stdin",), "wrong\n")):
        assert outsider.run("get", link, *arguments, stdin=typed).returncode == 1
    assert outsider.done("get", link, "--password-stdin", stdin="open sesame\n") == NOTE


def test_the_site_s_ceilings_hold_here_too(anna: Computer, site: object) -> None:
    (anna.folder / "a.txt").write_text("x")
    refused = anna.run("share", "a.txt", "--expires", "9000d")
    assert refused.returncode == 1
    assert "777600000" in refused.stderr
    assert "a.txt" not in [file.name for file in site.files.list()]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "arguments",
    [
        ["share"],
        ["share", "--text", "x", "a.txt"],
        ["share", "missing.txt"],
        ["share", "--text", "x", "--expires", "soon"],
        ["share", "--text", "x", "--uses", "some"],
        ["share", "--text", "-", "--password-stdin"],
        ["share", "a.txt", "--encrypt"],
        ["get", "not-a-link"],
        ["get", "http://127.0.0.1:1/l/x", "-o", "a.txt"],
        ["login", "example.org", "--username", "anna", "--password-stdin"],
    ],
)
def test_wrong_use(outsider: Computer, arguments: list[str]) -> None:
    (outsider.folder / "a.txt").write_text("x")
    done = outsider.run(*arguments)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr


def test_a_site_that_does_not_answer(outsider: Computer) -> None:
    for arguments in (
        ["get", "http://127.0.0.1:1/l/x"],
        ["login", "http://127.0.0.1:1", "--username", "anna", "--password-stdin"],
    ):
        done = outsider.run(*arguments, stdin="x\n")
        assert done.returncode == 3
        assert "does not answer" in done.stderr


def test_what_cannot_be_written_spends_nothing(anna: Computer, outsider: Computer) -> None:
    (anna.folder / "a.txt").write_text("hello")
    link = anna.done("share", "a.txt").strip()
    (outsider.folder / "file").write_text("in the way")
    assert outsider.run("get", link, "-o", "file/below/a.txt").returncode == 1
    (outsider.folder / "configuration").write_text("no folder")
    done = outsider.run("get", link)
    assert done.returncode == 0, done.stderr
    assert "could not be taken up again" in done.stderr
    assert Path(done.stdout.strip()).read_text() == "hello"


def test_killed_in_a_download_and_run_again(anna: Computer, outsider: Computer) -> None:
    content = os.urandom(1 << 20) * 200
    (anna.folder / "film.bin").write_bytes(content)
    link = anna.done("share", "film.bin").strip()
    running = outsider.start("get", link)

    def begun() -> bool:
        return any(part.stat().st_size for part in outsider.folder.glob("*.part"))

    wait_for(begun, 20, "the download")
    running.kill()
    running.wait(10)
    (part,) = outsider.folder.glob("*.part")
    assert 0 < part.stat().st_size < len(content)
    assert stat.S_IMODE((outsider.configuration / "downloads.json").stat().st_mode) == 0o600
    with part.open("r+b") as file:  # what came is kept: the second run must not ask for it again
        file.write(b"changed")
    damaged = outsider.run("get", link)
    assert damaged.returncode == 1
    assert "damaged" in damaged.stderr
    assert not part.exists()
    (got,) = outsider.done("get", link).splitlines()
    assert hashlib.sha256(Path(got).read_bytes()).digest() == hashlib.sha256(content).digest()
    assert json.loads((outsider.configuration / "downloads.json").read_text()) == {}
    assert outsider.run("get", link).returncode == 1, "it was spent once, and only once"
