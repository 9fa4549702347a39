"""What can go wrong between a client and a site: one tree, below ClientError."""

from __future__ import annotations


class ClientError(Exception):
    """Anything that the client raises; `str()` is a sentence for people."""


class Unreachable(ClientError):
    """The site gave no answer, or one that is none of ours."""


class Incomplete(ClientError):
    """A part of a link is missing: it was cut off on its way."""


class Damaged(ClientError):
    """What arrived is not what was sent: the SHA-256 differs, or an encrypted note does not decrypt."""


class Refused(ClientError):
    """The site said no. `status` is that of HTTP, `code` and `errors` those of RFC 9457 as the site fills it."""

    def __init__(
        self, sentence: str, status: int, code: str, errors: dict[str, list[str]] | None = None
    ) -> None:
        super().__init__(sentence)
        self.status, self.code, self.errors = status, code, errors or {}


class NotSignedIn(Refused):
    """401: a token is missing or over, or a link wants its password."""


class Gone(Refused):
    """410: used, expired, withdrawn, or never there."""
