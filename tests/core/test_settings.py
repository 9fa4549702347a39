"""Settings: where they come from, which source wins, and the sentence for each that is wrong."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from microsite import config
from microsite.app import settings_table
from microsite.config import ConfigError, Configuration

KEY = "k" * 32


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder; the working folder has no `.env`."""
    monkeypatch.chdir(tmp_path)
    found = tmp_path / "instance"
    found.mkdir()
    return found


def load(
    folder: Path, environ: dict[str, str] | None = None, toml: str = "", **overrides: Any
) -> Configuration:
    if toml:
        (folder / "config.toml").write_text(toml)
    return config.load(
        settings_table(),
        overrides,
        {"MICROSITE_ENV": "testing", "MICROSITE_INSTANCE": str(folder)} | (environ or {}),
    )


def test_defaults_are_those_of_the_contract(folder: Path) -> None:
    values = load(folder).values
    assert values["BASE_URL"] == "http://127.0.0.1:8000"
    assert values["DATABASE_URL"] == f"sqlite:///{folder}/microsite.db"
    expected = {
        "SITE_NAME": "Microsite", "REGISTRATION": "open", "TRUSTED_PROXIES": 0, "PAGE_SIZE": 20, "LOG_LEVEL": "INFO",
        "LOG_FILE_SIZE": 10 * 2**20, "LOG_FILE_COUNT": 10, "MAX_FILE_SIZE": 10 * 2**30, "USER_QUOTA": 50 * 2**30,
        "SESSION_IDLE": timedelta(minutes=30), "SESSION_ABSOLUTE": timedelta(hours=12), "REMEMBER_FOR": timedelta(days=30),
        "LINK_EXPIRY_DEFAULT": timedelta(hours=1), "LINK_EXPIRY_MAX": timedelta(days=90), "LINK_USES_MAX": None,
        "REDIS_URL": None, "MAIL_SERVER": None, "ADMINS": (), "FEATURES_OFF": (),
    }  # fmt: skip
    assert {name: values[name] for name in expected} == expected


def test_later_sources_win(folder: Path) -> None:
    sources = []
    toml = "page_size = 11"
    for environ, overrides in (
        ({}, {}),
        ({"MICROSITE_PAGE_SIZE": "12"}, {}),
        ({"MICROSITE_PAGE_SIZE": "12"}, {"PAGE_SIZE": 13}),
    ):
        found = load(folder, environ, toml, **overrides)
        sources.append((found.values["PAGE_SIZE"], found.sources["PAGE_SIZE"]))
    assert sources == [(11, "config.toml"), (12, "environment MICROSITE_PAGE_SIZE"), (13, "argument")]


def test_preset_wins_over_defaults_and_loses_to_the_rest(folder: Path) -> None:
    development = {"MICROSITE_ENV": "development"}
    assert load(folder, development).sources["LOG_LEVEL"] == "preset development"
    assert load(folder, development, 'log_level = "ERROR"').values["LOG_LEVEL"] == "ERROR"


def test_dotenv_is_read_before_the_environment(folder: Path, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MICROSITE_PAGE_SIZE=14\nMICROSITE_SITE_NAME=Harbour\n")
    values = load(folder, {"MICROSITE_PAGE_SIZE": "15"}, 'site_name = "Toml"').values
    assert (values["PAGE_SIZE"], values["SITE_NAME"]) == (15, "Harbour")


def test_names_of_hosting_platforms(folder: Path) -> None:
    given = {"PORT": "9000", "SECRET_KEY": KEY, "DATABASE_URL": "postgres://u@h/d", "REDIS_URL": "redis://h"}
    values = load(folder, given, "port = 8500").values
    assert {name: values[name] for name in given} == {
        "PORT": 9000, "SECRET_KEY": KEY, "DATABASE_URL": "postgresql+psycopg://u@h/d", "REDIS_URL": "redis://h",
    }  # fmt: skip
    assert values["BASE_URL"] == "http://127.0.0.1:9000"
    assert load(folder, given | {"MICROSITE_PORT": "9001"}).values["PORT"] == 9001


def test_names_that_are_no_settings_are_no_mistake(folder: Path) -> None:
    load(folder, {"MICROSITE_URL": "http://x", "MICROSITE_TOKEN": "x", "OTHER": "x", "FLASK_APP": "x"})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("SESSION_IDLE", "90", timedelta(seconds=90)), ("SESSION_IDLE", "15m", timedelta(minutes=15)), ("REMEMBER_FOR", "90d", timedelta(days=90)),
        ("SESSION_ABSOLUTE", "2H", timedelta(hours=2)), ("MAX_FILE_SIZE", "4096", 4096), ("MAX_FILE_SIZE", "10MiB", 10 * 2**20),
        ("USER_QUOTA", "2 GB", 2 * 10**9), ("ADMINS", "a@b.org, c@d.org", ("a@b.org", "c@d.org")), ("MAIL_USE_TLS", "Yes", True),
        ("MAIL_USE_TLS", "False", False), ("MAIL_SERVER", "", None), ("BASE_URL", "https://files.example.org/", "https://files.example.org"),
    ],
)  # fmt: skip
def test_values_are_read(folder: Path, name: str, text: str, value: Any) -> None:
    assert load(folder, {f"MICROSITE_{name}": text}).values[name] == value


WRONG = {
    "PORT": ["0", "65536", "x", "", "8000.5", "-1"],
    "THREADS": ["7", "many"],
    "WORKERS": ["0"],
    "PAGE_SIZE": ["0", "101", "1e2"],
    "SESSION_IDLE": ["59", "0", "-5m", "1 fortnight", "1h30m", "99999d"],
    "MAX_FILE_SIZE": ["0", "-1", "10 apples", "10MiBs"],
    "LOG_LEVEL": ["LOUD", "info", ""],
    "REGISTRATION": ["maybe"],
    "MAIL_USE_TLS": ["perhaps", ""],
    "TRUSTED_PROXIES": ["-1", "11"],
    "BASE_URL": [
        "files.example.org",
        "ftp://x",
        "https://",
        "https://x/path",
        "https://x?q=1",
        "https://u@x",
        "https://x:0",
        "https://x#part",
        "https://a b",
    ],
    "DATABASE_URL": [
        "mysql://h/d",
        "x",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql+psycopg2://h/d",
        "postgresql://u@h:port/d",
    ],
    "REDIS_URL": ["http://h", "h:6379", "redis://h:port"],
    "SECRET_KEY": ["k" * 31, "short"],
    "INSTANCE": ["relative/folder", "."],
    "NO_SUCH_NAME": ["1"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in WRONG.items() for text in texts])
def test_wrong_value_in_the_environment_is_one_sentence_that_names_it(
    folder: Path, name: str, text: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load(folder, {f"MICROSITE_{name}": text})
    sentence = str(refused.value)
    assert f"MICROSITE_{name}" in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    if name == "SECRET_KEY":
        assert text not in sentence


@pytest.mark.parametrize(
    ("toml", "part"),
    [
        ("page_size = ", "config.toml"), ("page_size = 500", "config.toml: page_size"), ("page_size = true", "config.toml: page_size"),
        ("page_size = 2.5", "config.toml: page_size"), ("no_such_name = 1", "config.toml: no_such_name"), ("PAGE_SIZE = 5", "config.toml: PAGE_SIZE"),
        ("site_name = 5", "config.toml: site_name"), ("admins = 5", "config.toml: admins"), ("admins = [5]", "config.toml: admins"),
        ('[mail]\nserver = "x"', "config.toml: mail"), ('instance = "/tmp"', "config.toml: instance"), ('log_level = ["INFO"]', "config.toml: log_level"),
        ("session_idle = 1979-05-27", "config.toml: session_idle"), ('secret_key = "short"', "config.toml: secret_key"), ("page_size = 5\npage_size = 6", "config.toml"),
    ],
)  # fmt: skip
def test_wrong_file_is_one_sentence_that_names_the_key(folder: Path, toml: str, part: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(folder, toml=toml)
    assert part in str(refused.value)
    assert "\n" not in str(refused.value)


def test_file_that_is_no_text(folder: Path) -> None:
    (folder / "config.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"config\.toml"):
        load(folder)


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"MICROSITE_HOST": "0.0.0.0"}, "BASE_URL"), ({"MICROSITE_HOST": "::"}, "BASE_URL"), ({"MICROSITE_TRUSTED_PROXIES": "1"}, "BASE_URL"),
        ({"MICROSITE_WORKERS": "2"}, "REDIS_URL"), ({"MICROSITE_MAIL_USE_TLS": "1", "MICROSITE_MAIL_USE_SSL": "1"}, "MAIL_USE_TLS"),
        ({"MICROSITE_ENV": "staging"}, "MICROSITE_ENV"), ({"PORT": "x"}, "PORT"), ({"SECRET_KEY": "short"}, "SECRET_KEY"), ({"DATABASE_URL": "oracle://x"}, "DATABASE_URL"),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together(folder: Path, environ: dict[str, str], name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load(folder, environ)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_base_url_follows_from_a_loopback_host(folder: Path, host: str) -> None:
    shown = f"[{host}]" if ":" in host else host
    assert (
        load(folder, {"MICROSITE_HOST": host, "MICROSITE_PORT": "81"}).values["BASE_URL"]
        == f"http://{shown}:81"
    )


def test_secret_key_is_made_once_for_its_owner_only(folder: Path) -> None:
    keys = set()
    for _ in range(2):
        values = load(folder, {"MICROSITE_ENV": "production"}).values
        config.prepare_instance(values)
        keys.add(values["SECRET_KEY"])
    assert len(keys) == 1
    assert len(keys.pop()) >= config.SECRET_KEY_MIN
    assert (folder / "secret_key").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in folder.iterdir()] == ["secret_key"]


def test_testing_preset_keeps_off_a_real_site(folder: Path) -> None:
    (folder / "microsite.db").touch()
    with pytest.raises(ConfigError, match=r"INSTANCE.*real site"):
        config.prepare_instance(load(folder).values)


def test_data_folder_that_cannot_be_made(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="INSTANCE"):
        config.prepare_instance(load(folder, {"MICROSITE_INSTANCE": str(tmp_path / "file" / "below")}).values)
