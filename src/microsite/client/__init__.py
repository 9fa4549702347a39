"""The Python client: `with Client(url, token=…) as site: site.links.create(text="…")`. Loads nothing of the server."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from .errors import ClientError, Damaged, Gone, Incomplete, NotSignedIn, Refused, Unreachable
from .files import File, Files
from .http import Http
from .links import Link, Links, Opened, OpenedFile
from .who import Me, Who

__all__ = [
    "Client", "ClientError", "Damaged", "File", "Gone", "Incomplete", "Link", "Me", "NotSignedIn", "Opened", "OpenedFile",
    "Refused", "Unreachable",
]  # fmt: skip


class Client:
    """One site, seen with an API key or access token, or with none: opening a link needs none.

    `timeout` is seconds for each wait on the network. Raises ValueError for an address that is none.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout: float = 30) -> None:
        self._http = Http(url, token, timeout)
        self.url = self._http.base
        self.files, self.links, self.who = Files(self._http), Links(self._http), Who(self._http)

    def me(self) -> Me:
        """Who the token belongs to. Raises NotSignedIn."""
        return self.who.me()

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
