"""Settings: the table of the kernel, the presets, and the one way they are read.

What belongs here: names, types, defaults and checks. Nothing here knows Flask or a feature; features add rows to
the table on their cards.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv import dotenv_values

PREFIX = "MICROSITE_"
NOT_SETTINGS = {"ENV", "URL", "TOKEN"}
PLATFORM_NAMES = ("PORT", "SECRET_KEY", "DATABASE_URL", "REDIS_URL")
SECRET_KEY_MIN = 32


class ConfigError(Exception):
    """A start that cannot go on; its text is one sentence that names the setting."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One row of the table: `parse` turns text (or a TOML value) into the value, or raises ValueError."""

    name: str
    parse: Callable[[Any], Any]
    default: Any
    help: str
    secret: bool = False


@dataclass(frozen=True)
class Configuration:
    """The values in force, and where each came from."""

    values: dict[str, Any]
    sources: dict[str, str]


# --- types of values ---------------------------------------------------------------------------------------------


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value


def optional(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Empty text means "none"."""
    return lambda value: None if value in ("", None) else parse(value)


def boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    if str(value).strip().lower() not in words:
        raise ValueError("must be on or off")
    return words[str(value).strip().lower()]


def integer(low: int, high: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        if isinstance(value, bool) or not re.fullmatch(r"-?\d{1,18}", str(value).strip()):
            raise ValueError(f"must be a whole number from {low} to {high}")
        if not low <= int(value) <= high:
            raise ValueError(f"must be from {low} to {high}")
        return int(value)

    return parse


def _scaled(units: Mapping[str, int], example: str, low: int, high: int) -> Callable[[Any], int]:
    pattern = re.compile(rf"(\d{{1,15}})\s*({'|'.join(units)})?", re.IGNORECASE)
    factors = {unit.lower(): factor for unit, factor in units.items()}

    def parse(value: Any) -> int:
        match = pattern.fullmatch(str(value).strip()) if not isinstance(value, bool) else None
        if not match:
            raise ValueError(f"must be {example}")
        number = int(match[1]) * (factors[match[2].lower()] if match[2] else 1)
        if not low <= number <= high:
            raise ValueError(f"must be from {low} to {high} {'seconds' if 'd' in factors else 'bytes'}")
        return number

    return parse


def duration(low: int = 1, high: int = 10 * 365 * 86400) -> Callable[[Any], timedelta]:
    """Seconds, or `30m`, `12h`, `90d`."""
    seconds = _scaled({"s": 1, "m": 60, "h": 3600, "d": 86400}, "seconds, or like 30m, 12h, 90d", low, high)
    return lambda value: value if isinstance(value, timedelta) else timedelta(seconds=seconds(value))


def size(low: int = 1, high: int = 2**60) -> Callable[[Any], int]:
    """Bytes, or `10MiB`, `50GiB`."""
    units = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
    units |= {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
    return _scaled(units, "bytes, or like 10MiB, 50GiB", low, high)


def words(value: Any) -> tuple[str, ...]:
    """A list separated by commas."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(p, str) for p in parts):
        raise ValueError("must be a list separated by commas")
    return tuple(p.strip() for p in parts if p.strip())


def choice(*allowed: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return str(value)

    return parse


def web_address(value: Any) -> str:
    """An http or https address without a path, query or user."""
    address = text(value).rstrip("/")
    try:
        parts = urlsplit(address)
        extra = parts.path or parts.query or parts.fragment or parts.username
        valid = (
            parts.scheme in ("http", "https")
            and parts.hostname
            and not extra
            and not re.search(r"\s", address)
        )
        assert parts.port is None or parts.port > 0
    except (ValueError, AssertionError):
        valid = None
    if not valid:
        raise ValueError("must be an address like https://files.example.org, without a path")
    return address


def _check_port(address: str, sentence: str) -> None:
    try:
        _ = urlsplit(address).port
    except ValueError:
        raise ValueError(sentence) from None


def database_url(value: Any) -> str:
    """SQLite or PostgreSQL; the driver is always written out."""
    address = text(value)
    address = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", address)
    scheme = address.partition("://")[0]
    if scheme not in ("sqlite", "postgresql+psycopg") or "://" not in address:
        raise ValueError(f"has the unknown scheme {scheme!r}; known are sqlite and postgresql+psycopg")
    if scheme == "postgresql+psycopg" and find_spec("psycopg") is None:
        raise ValueError("needs the driver psycopg, which is not installed: pip install 'psycopg[binary]'")
    if scheme != "sqlite":
        _check_port(address, "is not the address of a database")
    if address in ("sqlite://", "sqlite:///:memory:"):
        raise ValueError("must name a file: an SQLite database in memory would be lost at the next start")
    return address


def redis_url(value: Any) -> str:
    address = text(value)
    if not re.match(r"(rediss?|unix)://.", address):
        raise ValueError(
            f"has the unknown scheme {address.partition('://')[0]!r}; known are redis, rediss and unix"
        )
    _check_port(address, "is not the address of a Redis server")
    return address


def secret_key(value: Any) -> str:
    if len(text(value)) < SECRET_KEY_MIN:
        raise ValueError(f"has {len(value)} characters; at least {SECRET_KEY_MIN} are needed")
    return str(value)


def folder(value: Any) -> str:
    if not os.path.isabs(text(value)):
        raise ValueError("must be an absolute path")
    return str(value)


# --- the kernel's table ------------------------------------------------------------------------------------------

CORE_SETTINGS: tuple[Setting, ...] = (
    Setting(name="INSTANCE", parse=folder, default=None, help="data folder"),
    Setting(
        name="SITE_NAME",
        parse=text,
        default="Microsite",
        help="name of the site in titles, navigation, mails",
    ),
    Setting(name="HOST", parse=text, default="127.0.0.1", help="address that is listened on"),
    Setting(name="PORT", parse=integer(1, 65535), default=8000, help="port that is listened on"),
    Setting(name="THREADS", parse=integer(8, 4096), default=128, help="threads of one worker process"),
    Setting(
        name="WORKERS",
        parse=integer(1, 64),
        default=1,
        help="worker processes; more than one needs REDIS_URL",
    ),
    Setting(
        name="BASE_URL", parse=optional(web_address), default=None, help="public address, in links and mail"
    ),
    Setting(
        name="SECRET_KEY",
        parse=secret_key,
        default=None,
        help="signing key; made on first start",
        secret=True,
    ),
    Setting(
        name="DATABASE_URL",
        parse=database_url,
        default=None,
        help="SQLite in the data folder, or postgresql+psycopg://…",
        secret=True,
    ),
    Setting(
        name="REDIS_URL",
        parse=optional(redis_url),
        default=None,
        help="socket queue and limits of several workers",
        secret=True,
    ),
    Setting(
        name="MAIL_SERVER",
        parse=optional(text),
        default=None,
        help="SMTP server; none: mail is written to outbox/",
    ),
    Setting(name="MAIL_PORT", parse=integer(1, 65535), default=25, help="SMTP port"),
    Setting(name="MAIL_USE_TLS", parse=boolean, default=False, help="STARTTLS"),
    Setting(name="MAIL_USE_SSL", parse=boolean, default=False, help="TLS from the first byte"),
    Setting(name="MAIL_USERNAME", parse=optional(text), default=None, help="SMTP user"),
    Setting(name="MAIL_PASSWORD", parse=optional(text), default=None, help="SMTP password", secret=True),
    Setting(name="MAIL_DEFAULT_SENDER", parse=optional(text), default=None, help="sender of all mail"),
    Setting(
        name="MAIL_MAX_EMAILS", parse=optional(integer(1, 10000)), default=None, help="mails per connection"
    ),
    Setting(name="MAIL_SUPPRESS_SEND", parse=boolean, default=False, help="drop all mail"),
    Setting(name="MAIL_DEBUG", parse=boolean, default=False, help="print the SMTP dialogue"),
    Setting(name="MAIL_ASCII_ATTACHMENTS", parse=boolean, default=False, help="ASCII names of attachments"),
    Setting(name="ADMINS", parse=words, default=(), help="addresses that get error mails"),
    Setting(name="FEATURES_OFF", parse=words, default=(), help="names of features left out"),
    Setting(
        name="TRUSTED_PROXIES",
        parse=integer(0, 10),
        default=0,
        help="how many proxies' forwarded headers are believed",
    ),
    Setting(
        name="SESSION_IDLE",
        parse=duration(60),
        default=timedelta(minutes=30),
        help="a session ends after this long without a request",
    ),
    Setting(
        name="SESSION_ABSOLUTE",
        parse=duration(60),
        default=timedelta(hours=12),
        help="a session ends after this long in any case",
    ),
    Setting(
        name="REMEMBER_FOR",
        parse=duration(60),
        default=timedelta(days=30),
        help="life of a remembered session",
    ),
    Setting(name="PAGE_SIZE", parse=integer(1, 100), default=20, help="rows of a list page"),
    Setting(
        name="LOG_LEVEL",
        parse=choice("DEBUG", "INFO", "WARNING", "ERROR"),
        default="INFO",
        help="least level that is logged",
    ),
    Setting(
        name="LOG_FILE_SIZE",
        parse=size(2**10),
        default=10 * 2**20,
        help="size at which the log file is turned over",
    ),
    Setting(name="LOG_FILE_COUNT", parse=integer(1, 1000), default=10, help="log files kept"),
)

PRESETS: dict[str, dict[str, Any]] = {
    "development": {"LOG_LEVEL": "DEBUG"},
    "testing": {},
    "production": {},
}


# --- reading -----------------------------------------------------------------------------------------------------


def preset_name(environ: Mapping[str, str]) -> str:
    """`MICROSITE_ENV`; without it development under `flask --debug`, else production."""
    name = environ.get(PREFIX + "ENV") or (
        "development" if environ.get("FLASK_DEBUG") in ("1", "true") else "production"
    )
    if name not in PRESETS:
        raise ConfigError(f"MICROSITE_ENV is {name!r}; it must be one of {', '.join(PRESETS)}.")
    return name


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class _Reading:
    """The values as they are read, source by source."""

    def __init__(self, settings: Iterable[Setting], *, others_allowed: bool) -> None:
        self.table = {s.name: s for s in settings}
        self.others_allowed = others_allowed
        self.values: dict[str, Any] = {s.name: s.default for s in self.table.values()}
        self.sources = dict.fromkeys(self.table, "default")

    def put(self, name: str, raw: Any, source: str, label: str) -> None:
        """Take one value. Raises ConfigError for a name that nobody knows or a value that does not hold."""
        if name not in self.table:
            if self.others_allowed:
                return
            raise ConfigError(f"{label} is not a setting.")
        try:
            self.values[name] = self.table[name].parse(raw)
        except ValueError as error:
            shown = "" if self.table[name].secret else f" ({raw!r})"
            raise ConfigError(f"{label}{shown} {error}.") from None
        self.sources[name] = source

    def put_file(self) -> None:
        for name, raw in _config_file(Path(self.values["INSTANCE"], "config.toml")).items():
            if name == "INSTANCE":
                raise ConfigError(
                    "config.toml: instance cannot be set there, since the file lies in that folder."
                )
            self.put(name, raw, "config.toml", f"config.toml: {name.lower()}")

    def put_environment(self, environ: Mapping[str, str]) -> None:
        for name in PLATFORM_NAMES:
            if environ.get(name):
                self.put(name, environ[name], f"environment {name}", name)
        for name, raw in environ.items():
            if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in NOT_SETTINGS:
                self.put(name.removeprefix(PREFIX), raw, f"environment {name}", name)


def load(
    settings: Iterable[Setting],
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    others_allowed: bool = False,
) -> Configuration:
    """Read every source in order, later wins, and check the whole.

    `others_allowed` skips names that stand in another table. Raises ConfigError with a sentence that names the setting.
    """
    overrides = overrides or {}
    environ = {k: v for k, v in dotenv_values(".env").items() if v is not None} | dict(
        os.environ if environ is None else environ
    )
    preset = preset_name(environ)
    reading = _Reading(settings, others_allowed=others_allowed)
    for name, raw in PRESETS[preset].items():
        reading.put(name, raw, f"preset {preset}", name)
    instance = overrides.get("INSTANCE") or environ.get(PREFIX + "INSTANCE") or os.path.abspath("instance")
    reading.put("INSTANCE", instance, "default", PREFIX + "INSTANCE")
    reading.put_file()
    reading.put_environment(environ)
    for name, raw in overrides.items():
        reading.put(name, raw, "argument", name)
    values, sources = reading.values, reading.sources
    values["ENV"], sources["ENV"] = (
        preset,
        "environment MICROSITE_ENV" if PREFIX + "ENV" in environ else "default",
    )
    _derive(values)
    _validate(values)
    return Configuration(values, sources)


def _config_file(path: Path) -> dict[str, Any]:
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):  # prepare_instance says what is wrong with the folder
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"config.toml cannot be read: {error}.") from None
    for key in data:
        if key != key.lower():
            raise ConfigError(f"config.toml: {key} is not a setting; keys are lower-case.")
    return {key.upper(): value for key, value in data.items()}


def _derive(values: dict[str, Any]) -> None:
    """Fill what follows from other settings, and make the signing key on the first start."""
    values["DATABASE_URL"] = values["DATABASE_URL"] or f"sqlite:///{values['INSTANCE']}/microsite.db"
    if values["BASE_URL"] is None and is_loopback(values["HOST"]) and not values["TRUSTED_PROXIES"]:
        host = values["HOST"] if ":" not in values["HOST"] else f"[{values['HOST'].strip('[]')}]"
        values["BASE_URL"] = f"http://{host}:{values['PORT']}"


def _validate(values: Mapping[str, Any]) -> None:
    if values["BASE_URL"] is None:
        why = f"HOST is {values['HOST']}" if not values["TRUSTED_PROXIES"] else "TRUSTED_PROXIES is set"
        raise ConfigError(f"BASE_URL must be set, since {why}: it is the public address in links and mail.")
    if values["WORKERS"] > 1 and not values["REDIS_URL"]:
        raise ConfigError(f"WORKERS is {values['WORKERS']}, but more than one worker needs REDIS_URL.")
    if values["MAIL_USE_TLS"] and values["MAIL_USE_SSL"]:
        raise ConfigError("MAIL_USE_TLS and MAIL_USE_SSL exclude each other.")


def prepare_instance(values: dict[str, Any]) -> None:
    """Make the data folder (mode 0700) and, on the first start, the signing key (mode 0600).

    Raises ConfigError when the folder cannot be made, or when the testing preset meets a real site.
    """
    instance = Path(values["INSTANCE"])
    marker = instance / ".testing"
    try:
        if (
            values["ENV"] == "testing"
            and not marker.exists()
            and instance.exists()
            and any(instance.iterdir())
        ):
            raise ConfigError(
                f"INSTANCE: {instance} holds a real site, which the testing preset does not touch."
            )
        instance.mkdir(mode=0o700, parents=True, exist_ok=True)
        if values["ENV"] == "testing":
            marker.touch()
        if values["SECRET_KEY"] is None:
            values["SECRET_KEY"] = _stored_key(instance / "secret_key")
    except OSError as error:
        raise ConfigError(f"INSTANCE: the data folder {instance} cannot be used: {error.strerror}.") from None


def _stored_key(path: Path) -> str:
    """Read the key, or make it; of several first starts at once all get the same one."""
    candidate = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    if not path.exists():
        handle = os.open(candidate, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(candidate, path)  # fails when another start was first, unlike a rename
        except FileExistsError:
            pass
        finally:
            candidate.unlink()
    try:
        return secret_key(path.read_text().strip())
    except ValueError as error:
        raise ConfigError(f"SECRET_KEY in {path} {error}.") from None
