"""Requests to a site, and its refusals as exceptions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from microsite import __version__

from .errors import ClientError, Gone, NotSignedIn, Refused, Unreachable

if TYPE_CHECKING:
    import httpx2

SPECIAL: dict[int, type[Refused]] = {401: NotSignedIn, 410: Gone}


class Http:
    """Connections to one site. The token goes to that site's `/api/` alone."""

    def __init__(self, url: str, token: str | None, timeout: float) -> None:
        import httpx2  # the operator's commands load this module too, and need no connections

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address of a site; it begins with https:// or http://.")
        self.base, self.token = url.rstrip("/") + "/", token
        agent = {"User-Agent": f"microsite/{__version__}", "Accept": "application/json"}
        self.failures = (httpx2.TransportError, httpx2.DecodingError, httpx2.InvalidURL)
        self.connections = httpx2.Client(timeout=timeout, headers=agent)

    def close(self) -> None:
        self.connections.close()

    def ask(self, method: str, address: str, **values: Any) -> Any:
        """The JSON of the answer, None where there is none. Raises Unreachable, Refused."""
        with self.stream(method, address, **values) as answer:
            return self._json(answer) if self._read(answer).content else None

    def pages(self, address: str) -> Iterator[dict[str, Any]]:
        """The items of a listing, newest first, asked for page by page. Raises Unreachable, Refused."""
        cursor: str | None = ""
        while cursor is not None:
            page = self.ask("GET", address, params={"limit": 100} | ({"cursor": cursor} if cursor else {}))
            yield from page["items"]
            cursor = page["next_cursor"]

    @contextmanager
    def stream(self, method: str, address: str, **values: Any) -> Iterator[httpx2.Response]:
        """An answer whose body is not read yet. Raises Unreachable, also while it is read; Refused."""
        address = urljoin(self.base, address)
        headers = dict(values.pop("headers", {}))
        if self.token is not None and address.startswith(urljoin(self.base, "api/")):
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            with self.connections.stream(method, address, headers=headers, **values) as answer:
                if not answer.is_success:
                    raise self._refusal(self._read(answer))
                yield answer
        except self.failures as error:
            raise Unreachable(f"{urlsplit(address).netloc} does not answer: {error}") from error

    @staticmethod
    def _read(answer: httpx2.Response) -> httpx2.Response:
        answer.read()
        return answer

    def _refusal(self, answer: httpx2.Response) -> ClientError:
        found = self._json(answer) if "json" in answer.headers.get("Content-Type", "") else None
        if not isinstance(found, dict) or "code" not in found:
            return Unreachable(f"{answer.url.host} answers {answer.status_code}, and not as Microsite does.")
        errors = found.get("errors") or {}
        sentence = " ".join(word for words in errors.values() for word in words) or found.get("detail", "")
        kind = SPECIAL.get(answer.status_code, Refused)
        return kind(
            sentence or str(found.get("title", "Refused.")), answer.status_code, found["code"], errors
        )

    @staticmethod
    def _json(answer: httpx2.Response) -> Any:
        try:
            return answer.json()
        except ValueError:
            raise Unreachable(
                f"{answer.url.host} answers {answer.status_code}, and not as Microsite does."
            ) from None
