"""Wrong starts: one sentence that names the setting, exit 1, no traceback."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path

import pytest

from tests.conftest import free_port

from .steps import Site

KEY = "k" * 40


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site that never started."""
    return Site(tmp_path, None)


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"NO_SUCH_NAME": "1"}, "MICROSITE_NO_SUCH_NAME"),
        ({"PAGE_SIZE": "1000"}, "MICROSITE_PAGE_SIZE"),
        ({"FEATURES_OFF": "files,nonsense"}, "FEATURES_OFF"),
        ({"DATABASE_URL": "oracle://x/y"}, "MICROSITE_DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://u@127.0.0.1:port/d"}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://u@127.0.0.1:1/d"}, "DATABASE_URL"),
        ({"DATABASE_URL": "sqlite:////no/such/folder/x.db"}, "DATABASE_URL"),
        ({"SECRET_KEY": "short"}, "MICROSITE_SECRET_KEY"),
        ({"WORKERS": "2"}, "REDIS_URL"),
        ({"HOST": "0.0.0.0"}, "BASE_URL"),
        ({"HOST": "192.0.2.1", "BASE_URL": "http://192.0.2.1:8000"}, "HOST"),
        ({"INSTANCE": "/proc/nowhere"}, "INSTANCE"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_serve_says_what_is_wrong(site: Site, settings: dict[str, str], part: str) -> None:
    sentence = site.refused("serve", "--port", str(free_port()), **settings)
    assert part in sentence
    assert "short" not in sentence.split(":", 1)[1] or "SECRET_KEY" not in settings


@pytest.mark.parametrize(
    ("text", "part"), [("page_size = ", "config.toml"), ("no_such_name = 1", "config.toml: no_such_name")]
)
def test_config_file_is_named(site: Site, text: str, part: str) -> None:
    site.instance.mkdir()
    (site.instance / ".testing").touch()
    (site.instance / "config.toml").write_text(text)
    assert part in site.refused("config")


def test_taken_port_is_named(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"PORT {port}" in site.refused("serve", "--port", str(port))


def test_testing_preset_keeps_off_a_real_site(site: Site) -> None:
    site.instance.mkdir()
    (site.instance / "microsite.db").touch()
    assert "INSTANCE" in site.refused("serve")


def test_wrong_use_is_exit_2(site: Site) -> None:
    for arguments in (["serve", "--workers", "x"], ["nonsense"]):
        result = site.run(*arguments)
        assert result.returncode == 2
        assert "Traceback" not in result.stderr
    assert not site.instance.exists()


def test_config_masks_secrets_and_says_where_from(site: Site) -> None:
    site.instance.mkdir()
    (site.instance / ".testing").touch()
    (site.instance / "config.toml").write_text('site_name = "Harbour"\nmail_password = "from-the-file"\n')
    secrets = {
        "SECRET_KEY": KEY,
        "DATABASE_URL": "postgresql://user:hush-hush@db.example/site",
        "REDIS_URL": "redis://:hush-hush@h",
    }
    shown = site.done("config", "--json", **secrets)
    assert not any(secret in shown for secret in (KEY, "hush-hush", "from-the-file"))
    rows = {row["name"]: row for row in json.loads(shown)}
    assert rows["DATABASE_URL"]["value"].startswith("postgresql+psycopg://user:")
    assert rows["DATABASE_URL"]["value"].endswith("@db.example/site")
    assert rows["SITE_NAME"]["source"] == "config.toml"
    assert rows["SECRET_KEY"]["source"] == "environment MICROSITE_SECRET_KEY"
    assert rows["PAGE_SIZE"] | {"help": ""} == {
        "name": "PAGE_SIZE",
        "value": 20,
        "source": "default",
        "help": "",
    }
    assert (rows["SESSION_IDLE"]["value"], rows["MAX_FILE_SIZE"]["value"]) == (1800, 10 * 2**30)
    text = site.done("config", **secrets)
    assert not any(secret in text for secret in (KEY, "hush-hush", "from-the-file"))
    assert "Harbour" in text


def test_features_are_listed(site: Site) -> None:
    rows = {row["name"]: row for row in json.loads(site.done("features", "--json", FEATURES_OFF="chat"))}
    assert rows["chat"]["on"] is False
    assert rows["auth"]["on"] is True
    assert rows["auth"]["can_be_off"] is False
    assert stat.S_IMODE(site.instance.stat().st_mode) == 0o700
