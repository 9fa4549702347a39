"""Signing in and out, and who one is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .http import Http
from .results import result


@dataclass(frozen=True, kw_only=True)
class Me:
    """The member behind a token."""

    username: str
    role: str
    name: str = ""
    email: str = ""


class Who:
    """Keys and tokens of one member."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def me(self) -> Me:
        """Raises NotSignedIn."""
        return result(Me, self._http.ask("GET", "api/v1/me"))

    def sign_in(self, username: str, password: str, key_name: str) -> dict[str, Any]:
        """Make an API key with a password; its secret stands in `key`, this once. Raises NotSignedIn, Refused."""
        given = {"username": username, "password": password}
        token: str = self._http.ask("POST", "api/v1/token", json=given)["access_token"]
        bearer = {"Authorization": f"Bearer {token}"}
        try:
            made: dict[str, Any] = self._http.ask(
                "POST", "api/v1/keys", json={"name": key_name}, headers=bearer
            )
        finally:
            self._http.ask("DELETE", "api/v1/token", headers=bearer)
        return made

    def delete_key(self, key_id: str) -> None:
        """Delete an API key. Raises NotSignedIn, Refused."""
        self._http.ask("DELETE", f"api/v1/keys/{key_id}")
