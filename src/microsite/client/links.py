"""Links: make, list, withdraw, and open somebody's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from . import notes
from .errors import Incomplete, Unreachable
from .files import Progress, fetch
from .http import Http
from .results import result


@dataclass(frozen=True, kw_only=True)
class Link:
    """A link of one's own. `url` is known when it was made, and never again; no `max_uses` is unlimited."""

    id: str
    kind: str
    title: str
    note: str
    created_at: datetime
    expires_at: datetime
    max_uses: int | None
    uses: int
    has_password: bool
    state: str
    items: list[dict[str, Any]] = field(default_factory=list)
    url: str | None = None
    webhook_secret: str | None = None


@dataclass(frozen=True, kw_only=True)
class OpenedFile:
    """A file behind a link; its `url` works for 15 minutes."""

    name: str
    size: int
    media_type: str
    sha256: str
    url: str


@dataclass(frozen=True)
class Opened:
    """What a link opened: a `text`, or `files`."""

    text: str | None = None
    files: Sequence[OpenedFile] = ()


class Links:
    """A member's links, and opening those of others."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def create(
        self,
        *,
        files: Sequence[str] | None = None,
        text: str | None = None,
        encrypt: bool = False,
        **terms: Any,
    ) -> Link:
        """Make a link to files (their ids) or to a text, which is encrypted here where `encrypt` asks for it.

        `terms` are those of the API: expires_in (seconds), max_uses (None: unlimited), password, title, note, notify and
        so on. Raises Refused, whose `errors` name the term.
        """
        thing: dict[str, Any] = {"files": list(files)} if files is not None else {"text": text}
        sealed = notes.encrypt(text) if encrypt and text is not None else None
        if sealed:
            thing = {"encrypted": {"ciphertext": sealed.ciphertext, "proof_hash": sealed.proof_hash}}
        made: dict[str, Any] = self._http.ask("POST", "api/v1/links", json=thing | terms)
        if sealed:
            made["url"] += f"#{sealed.fragment}"
        return result(Link, made)

    def list(self) -> Iterator[Link]:
        """All links, newest first, asked for page by page."""
        return (result(Link, found) for found in self._http.pages("api/v1/links"))

    def revoke(self, link_id: str) -> None:
        """Withdraw a link; running downloads stop. Raises Refused."""
        self._http.ask("DELETE", f"api/v1/links/{link_id}")

    def open(self, url: str, *, password: str | None = None) -> Opened:
        """Open a link, which spends one of its uses. The password is checked first, and a wrong one spends nothing.

        Raises NotSignedIn for a password that is missing or wrong, Gone, Incomplete, Damaged, Refused.
        """
        parts = urlsplit(url)
        address = parts._replace(fragment="").geturl()
        given = {"password": password} if password is not None else {}
        key = notes.key_of(parts.fragment) if parts.fragment else None
        if key is not None:
            given["proof"] = notes.proof_of(key)
        elif self._asked("GET", address).get("encrypted"):
            raise Incomplete(
                "This link is incomplete: its key, the part after #, was cut off. Ask for the whole of it."
            )
        found = self._asked("POST", address, json=given)
        if "ciphertext" in found and key is not None:
            return Opened(text=notes.decrypt(found["ciphertext"], key))
        return Opened(found.get("text"), [result(OpenedFile, file) for file in found.get("files", [])])

    def _asked(self, method: str, address: str, **values: Any) -> dict[str, Any]:
        found = self._http.ask(method, address, **values)
        if not isinstance(found, dict):
            raise Unreachable(f"{urlsplit(address).netloc} does not answer as Microsite does.")
        return found

    def download(self, file: OpenedFile, path: Path, *, progress: Progress | None = None) -> None:
        """Download a file of an opened link to `path`, going on from where a former try broke.

        Raises OSError, Gone, Unreachable, Damaged.
        """
        fetch(self._http, file.url, path, file.size, file.sha256, progress=progress)
