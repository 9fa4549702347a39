"""`microsite user …` on a site that runs, and on one that never did."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.conftest import PASSWORD, Server, form_token

from .steps import Site, new_site

NEW_PASSWORD = "another long password"


def token_status(server: Server, username: str, password: str = PASSWORD) -> int:
    return requests.post(
        f"{server.url}/api/v1/token", json={"username": username, "password": password}, timeout=20
    ).status_code


def ok(server: Server, *arguments: str, stdin: str | None = None) -> str:
    done = server.command(*arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(server: Server, *arguments: str, stdin: str | None = None) -> str:
    done = server.command(*arguments, stdin=stdin)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_life_of_a_member(shared_server: Server) -> None:
    server = shared_server
    headers = server.add("anna")
    me = f"{server.url}/api/v1/me"
    key = requests.post(f"{server.url}/api/v1/keys", json={"name": "x"}, headers=headers, timeout=20).json()[
        "key"
    ]
    by_key = {"Authorization": f"Bearer {key}"}
    ok(server, "user", "set-role", "anna", "manager")
    assert requests.get(me, headers=headers, timeout=20).json()["role"] == "manager"
    ok(server, "user", "disable", "ANNA")
    assert [requests.get(me, headers=h, timeout=20).status_code for h in (headers, by_key)] == [401, 401]
    assert token_status(server, "anna") == 401
    (row,) = [row for row in json.loads(ok(server, "user", "list", "--json")) if row["username"] == "anna"]
    assert (row["role"], row["email"], row["disabled"], row["confirmed"]) == (
        "manager",
        "anna@example.org",
        True,
        True,
    )
    ok(server, "user", "enable", "anna@example.org")
    assert token_status(server, "anna") == 200
    assert requests.get(me, headers=by_key, timeout=20).status_code == 200
    ok(server, "user", "delete", "anna", "--yes")
    assert token_status(server, "anna") == 401
    assert requests.get(me, headers=by_key, timeout=20).status_code == 401
    assert "anna" not in ok(server, "user", "list")
    server.add("anna")


def test_reset_address_of_the_operator(shared_server: Server) -> None:
    server = shared_server
    headers = server.add("bob")
    address = ok(server, "user", "reset-password", "bob").strip()
    assert address.startswith(f"{server.url}/auth/reset/")
    with requests.Session() as browser:
        token = form_token(browser.get(address, timeout=20))
        done = browser.post(
            address,
            data={"csrf_token": token, "password": NEW_PASSWORD, "confirm": NEW_PASSWORD},
            allow_redirects=False,
            timeout=20,
        )
        assert (done.status_code, urlsplit(done.headers["Location"]).path) == (303, "/auth/login")
        assert browser.get(address, timeout=20).status_code == 410
    assert [token_status(server, "bob"), token_status(server, "bob", NEW_PASSWORD)] == [401, 200]
    assert requests.get(f"{server.url}/api/v1/me", headers=headers, timeout=20).status_code == 401


@pytest.mark.parametrize(
    ("name", "email", "password", "part"),
    [
        ("Carl", "other@example.org", PASSWORD, "taken"),
        ("carla", "CARL@example.org", PASSWORD, "account with this address"),
        ("carla", "carla@example.org", "Microsite2026", "word of this site"),
        ("x y", "a\r\nb@example.org", "elevenchars", "spaces"),
    ],
)
def test_creating_is_refused(
    shared_server: Server, carl: str, name: str, email: str, password: str, part: str
) -> None:
    sentence = refused(
        shared_server, "user", "create", name, "--email", email, "--password-stdin", stdin=password + "\n"
    )
    assert part in sentence
    if name == "x y":
        assert "e-mail address" in sentence
        assert "11 characters" in sentence


@pytest.fixture(scope="module")
def carl(shared_server: Server) -> str:
    ok(
        shared_server,
        "user",
        "create",
        "carl",
        "--email",
        "carl@example.org",
        "--password-stdin",
        stdin=PASSWORD + "\n",
    )
    return "carl"


def test_unknown_names_are_refused(shared_server: Server) -> None:
    for command in ("disable", "delete"):
        assert "nobody" in refused(shared_server, "user", command, "nobody")


def test_wrong_use_is_exit_2(shared_server: Server) -> None:
    for arguments in (["set-role", "nobody", "emperor"], ["create", "x"]):
        assert shared_server.command("user", *arguments).returncode == 2


def test_first_user_of_a_site_that_never_started(
    tmp_path: Path, new_database: Callable[[Path], str], serve: Callable[..., Server]
) -> None:
    site = (
        Site(tmp_path, None)
        if "sqlite" in new_database(tmp_path / "probe")
        else new_site(tmp_path, new_database)
    )
    assert json.loads(site.done("user", "list", "--json")) == []
    odd = 'a "quoted" pass€word \\n'
    arguments = (
        "user",
        "create",
        "Anna-1",
        "--email",
        "anna@example.org",
        "--role",
        "admin",
        "--password-stdin",
    )
    site.done(*arguments, stdin=odd + "\nsecond line\n")
    settings = {
        name.removeprefix("MICROSITE_"): value
        for name, value in site.environment.items()
        if name.startswith("MICROSITE_")
    }
    server = serve(**{"DATABASE_URL": f"sqlite:///{site.instance}/microsite.db"} | settings)
    assert token_status(server, "anna-1", odd) == 200
    assert re.search(r"/auth/setup/", server.out.read_text()) is None


def test_setup_address_of_an_empty_site_works_once(serve: Callable[..., Server]) -> None:
    server = serve()
    address = server.setup_address()
    fields = {"username": "root", "email": "root@example.org", "password": PASSWORD, "confirm": PASSWORD}
    with requests.Session() as browser:
        token = form_token(browser.get(address, timeout=20))
        assert (
            browser.post(
                address, data=fields | {"csrf_token": token}, timeout=20, allow_redirects=False
            ).status_code
            == 303
        )
        assert browser.get(address, timeout=20).status_code == 410
    headers = server.token("root")
    assert requests.get(f"{server.url}/api/v1/me", headers=headers, timeout=20).json()["role"] == "admin"
    assert token_status(server, "root", "x" * 12) == 401
