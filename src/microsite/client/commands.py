"""The commands that a user types, against any site: `microsite login`, `share`, `get`, `links`, `revoke`.

Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 refused, 2 wrong use, 3 the site does not answer.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import click

from . import remembered

Command = TypeVar("Command", bound=Callable[..., Any])
TICKET_SECONDS = 15 * 60
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
password_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from one line of standard input."
)


def seconds(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """A duration such as 3600, 30m, 12h or 7d."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,9})([smhd]?)", value)
    if not found:
        raise click.BadParameter(f"{value!r} is no duration; write 30m, 12h or 7d.", context, parameter)
    return int(found[1]) * UNITS[found[2]]


def number_of_uses(context: click.Context, parameter: click.Parameter, value: str) -> int | None:
    """A number, or "unlimited" (None)."""
    if value == "unlimited":
        return None
    if not value.isdecimal():
        raise click.BadParameter(f"{value!r} is no number; write 1, 5 or unlimited.", context, parameter)
    return int(value)


def answers(command: Command) -> Command:
    """Turn what the client raises into a sentence on stderr and the exit code."""

    @functools.wraps(command)
    def run(*args: Any, **values: Any) -> Any:
        from . import ClientError, Unreachable

        try:
            return command(*args, **values)
        except Unreachable as error:
            _stop(error, 3)
        except (ClientError, OSError) as error:
            _stop(error, 1)

    return run  # type: ignore[return-value]


def _stop(error: Exception, code: int) -> NoReturn:
    click.echo(f"microsite: {error}", err=True)
    sys.exit(code)


@contextmanager
def _site(url: str | None = None) -> Iterator[Any]:
    """A client of the site where the user signed in, or of that in the environment; of `url` without a token."""
    from . import Client

    token = None
    if url is None:
        known = remembered.load("site")
        url = os.environ.get("MICROSITE_URL") or known.get("url")
        token = os.environ.get("MICROSITE_TOKEN") or (
            known.get("key") if url and url == known.get("url") else None
        )
        if not url or not token:
            _stop(Exception("You are not signed in. Run: microsite login ADDRESS"), 1)
    try:
        site = Client(url, token=token)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with site:
        yield site


def _line() -> str:
    return sys.stdin.readline().rstrip("\r\n")


def _print_note(text: str) -> None:
    """The note exactly as it is; on a terminal the prompt gets a line of its own."""
    click.echo(text, nl=sys.stdout.isatty())


def _show(value: Any) -> None:
    def plain(found: Any) -> Any:
        if is_dataclass(found) and not isinstance(found, type):
            return asdict(found)
        if isinstance(found, datetime):
            return found.isoformat().replace("+00:00", "Z")
        return str(found)

    click.echo(json.dumps(value, default=plain, ensure_ascii=False))


@contextmanager
def _bar(label: str, length: int) -> Iterator[Callable[[int], None]]:
    """Progress on a terminal; nothing where stderr is none."""
    with click.progressbar(
        length=length, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        yield bar.update


# --- signing in and out ------------------------------------------------------------------------------------------


@click.command()
@click.argument("url")
@click.option("--username", prompt="Name or e-mail address", help="Your name or e-mail address on the site.")
@password_stdin
@as_json
@answers
def login(*, url: str, username: str, password_stdin: bool, as_json: bool) -> None:
    """Sign in at the site at URL, with a key of its own that `logout` deletes."""
    password = _line() if password_stdin else click.prompt("Password", hide_input=True, err=True)
    with _site(url) as site:
        made = site.who.sign_in(username, password, f"microsite on {platform.node() or 'a computer'}"[:80])
    _end_key()
    remembered.save("site", {"url": url.rstrip("/"), "key": made["key"], "key_id": made["id"]})
    click.echo(f"Signed in at {url}.", err=True)
    if as_json:
        _show({"url": url.rstrip("/"), "key_id": made["id"]})


def _end_key() -> None:
    """Delete the key of an earlier login, as far as its site can be reached."""
    from . import Client, ClientError

    known = remembered.load("site")
    if {"url", "key", "key_id"} <= set(known):
        try:
            with Client(known["url"], token=known["key"]) as site:
                site.who.delete_key(known["key_id"])
        except (ClientError, ValueError) as error:
            click.echo(
                f"The old key could not be deleted ({error}); delete it on your account page.", err=True
            )


@click.command()
@as_json
@answers
def logout(as_json: bool) -> None:
    """Delete the key of this computer and forget the site."""
    _end_key()
    remembered.forget("site")
    click.echo("Signed out.", err=True)
    if as_json:
        _show({})


@click.command()
@as_json
@answers
def whoami(as_json: bool) -> None:
    """Print who you are, and where."""
    with _site() as site:
        me = site.me()
        base = urlsplit(site.url)
    _show(me) if as_json else click.echo(f"{me.username} ({me.role}) at {base.netloc}")


# --- links -------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("paths", metavar="FILE...", nargs=-1, type=click.Path(exists=True, dir_okay=False))
@click.option("--text", help="A note in place of files; - reads it from standard input.")
@click.option("--encrypt", is_flag=True, help="Encrypt the note here; the site never sees it.")
@click.option(
    "--expires",
    callback=seconds,
    metavar="DURATION",
    help="How long the link lives: 30m, 12h, 7d. [default: the site's]",
)
@click.option(
    "--uses",
    callback=number_of_uses,
    metavar="NUMBER",
    default="1",
    show_default=True,
    help="How often it opens, or unlimited.",
)
@click.option("--title", default="", help="What the reader sees before opening.")
@click.option("--note", default="", help="Words to the reader, shown before opening.")
@click.option("--notify", is_flag=True, help="Get a mail when it is opened.")
@password_stdin
@as_json
@answers
def share(
    *, paths: tuple[str, ...], text: str | None, encrypt: bool, expires: int | None, uses: int | None, title: str, note: str,
    notify: bool, password_stdin: bool, as_json: bool,
) -> None:  # fmt: skip
    """Upload FILEs, or take a note, and print a link to them."""
    if bool(paths) == (text is not None):
        raise click.UsageError("Give either files or --text.")
    if encrypt and text is None:
        raise click.UsageError("--encrypt is for --text.")
    if text == "-" and password_stdin:
        raise click.UsageError("Standard input cannot be both the note and the password.")
    terms: dict[str, Any] = {"max_uses": uses, "title": title, "note": note, "notify": notify}
    if expires is not None:
        terms["expires_in"] = expires
    if password_stdin:
        terms["password"] = _line()
    with _site() as site:
        if text is not None:
            link = site.links.create(text=sys.stdin.read() if text == "-" else text, encrypt=encrypt, **terms)
        else:
            link = _share_files(site, paths, terms)
    _show(link) if as_json else click.echo(link.url)


def _share_files(site: Any, paths: Iterable[str], terms: dict[str, Any]) -> Any:
    from . import Refused

    uploaded = []
    try:
        for path in paths:
            with _bar(Path(path).name, Path(path).stat().st_size) as progress:
                uploaded.append(site.files.upload(path, progress=progress))
        return site.links.create(files=[file.id for file in uploaded], **terms)
    except Refused:
        for file in uploaded:  # nothing half done: what was sent for this link alone goes again
            site.files.delete(file.id)
        raise


@click.command()
@as_json
@answers
def links(as_json: bool) -> None:
    """List your links, newest first."""
    with _site() as site:
        for link in site.links.list():
            if as_json:
                _show(link)
                continue
            uses = f"{link.uses} of {'any' if link.max_uses is None else link.max_uses}"
            name = link.title or ", ".join(item["name"] for item in link.items) or link.kind
            ends = link.expires_at.astimezone().strftime("%Y-%m-%d %H:%M")
            click.echo(f"{link.id}  {link.state:8} {uses:>9}  until {ends}  {name}")


@click.command()
@click.argument("link_id", metavar="ID")
@as_json
@answers
def revoke(link_id: str, as_json: bool) -> None:
    """Withdraw the link ID, as `links` shows it; running downloads stop."""
    with _site() as site:
        site.links.revoke(link_id)
    click.echo("Withdrawn.", err=True)
    if as_json:
        _show({"id": link_id, "state": "revoked"})


@click.command()
@click.argument("link")
@click.option("-o", "output", type=click.Path(path_type=Path), help="A folder or a new file. [default: here]")
@password_stdin
@as_json
@answers
def get(link: str, output: Path | None, password_stdin: bool, as_json: bool) -> None:
    """Open LINK: print its note, or download its files. Run it again after a break: no second use is spent."""
    if not re.match(r"https?://[^/]", link):
        raise click.UsageError("Give the whole address of a link, with https://.")
    if output is not None and output.is_file():
        raise click.UsageError(f"{output} exists already; nothing was opened.")
    if output is not None:
        # what cannot be written is known before a use is spent
        output.parent.mkdir(parents=True, exist_ok=True)
    password = _line() if password_stdin else None
    with _site(link) as site:
        todo = _broken_off(link)
        if todo is None:
            opened = _open(site, link, password)
            if opened.text is not None:
                _show({"text": opened.text}) if as_json else _print_note(opened.text)
                return
            if not opened.files:
                _stop(Exception("This link hands out nothing; open it in a browser."), 1)
            todo = _places(opened.files, output)
        for path in _download(site, link, todo):
            _show({"path": path}) if as_json else click.echo(path)


def _open(site: Any, link: str, password: str | None) -> Any:
    from . import NotSignedIn

    try:
        return site.links.open(link, password=password)
    except NotSignedIn as refused:
        if refused.code != "password_required" or password is not None or not sys.stdin.isatty():
            raise
        return site.links.open(link, password=click.prompt("Password", hide_input=True, err=True))


def _places(files: Iterable[Any], output: Path | None) -> list[dict[str, Any]]:
    """Where each file of an opened link goes: never over another file."""
    from .files import free_path

    found: list[dict[str, Any]] = []
    files = list(files)
    whole = output is not None and len(files) == 1 and not output.is_dir()
    folder = output or Path()
    (folder.parent if whole else folder).mkdir(parents=True, exist_ok=True)
    for file in files:
        taken = {place["path"].casefold() for place in found}
        path = folder if whole else free_path(folder, file.name, taken)
        found.append(asdict(file) | {"path": str(path.absolute())})
    return found


def _broken_off(link: str) -> list[dict[str, Any]] | None:
    """The files that an earlier `get` of this link did not finish, while its ticket still lives."""
    entry = remembered.load("downloads").get(_key(link))
    return entry["files"] if entry and entry["until"] > time.time() else None


def _download(site: Any, link: str, todo: list[dict[str, Any]]) -> Iterator[str]:
    """Download one file after the other; what is left to do is remembered until it is done."""
    from . import Gone, OpenedFile

    key, now = _key(link), time.time()
    while todo:
        entries = {
            name: entry for name, entry in remembered.load("downloads").items() if entry["until"] > now
        }
        entries.setdefault(key, {"until": now + TICKET_SECONDS})["files"] = todo
        try:
            remembered.save("downloads", entries)
        except OSError as error:
            click.echo(f"A break could not be taken up again ({error}).", err=True)
        values = dict(todo[0])
        path = Path(values.pop("path"))
        file = OpenedFile(**values)
        with _bar(path.name, file.size) as progress:
            try:
                site.links.download(file, path, progress=progress)
            except Gone:
                _forget(key)
                raise
        yield str(path)
        todo = todo[1:]
    _forget(key)


def _forget(key: str) -> None:
    entries = remembered.load("downloads")
    if entries.pop(key, None):
        remembered.save("downloads", entries)


def _key(link: str) -> str:
    return hashlib.sha256(link.encode()).hexdigest()
