"""Domain exceptions: what a service raises, and what the errors feature turns into a page or problem JSON.

    DomainError
    ├── BadRequest 400 ── CsrfFailed, UploadIncomplete
    ├── Unauthorized 401
    ├── Forbidden 403 ── RecentSignInNeeded
    ├── NotFound 404     ├── Conflict 409    ├── Gone 410
    ├── PreconditionFailed 412
    ├── FileTooLarge 413     ├── TypeNotAllowed 415
    ├── ValidationFailed 422 ├── RateLimited 429  ├── Unavailable 503
    └── QuotaExceeded 507    └── StorageFull 507

Each carries its status, a stable `code`, a public sentence, and data; never a stack or a name from inside.
"""

from __future__ import annotations

from collections.abc import Mapping


def human_size(count: int) -> str:
    """Bytes in decimal units: 999 B, 1.5 kB, 12.4 GB."""
    number = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 999.95 or unit == "TB":
            return f"{count} B" if unit == "B" else f"{number:.1f}".removesuffix(".0") + f" {unit}"
        number /= 1000
    raise AssertionError


class DomainError(Exception):
    """Base of all refusals; `detail` is the public sentence."""

    status = 400
    code = "bad_request"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    @property
    def headers(self) -> dict[str, str]:
        """Response headers that belong to this refusal."""
        return {}


class BadRequest(DomainError):
    """The request cannot be understood."""


class CsrfFailed(DomainError):
    """The form or request did not prove that it came from a page of this site."""

    code = "csrf_failed"


class UploadIncomplete(BadRequest):
    """Fewer bytes arrived than were announced."""

    def __init__(self, received: int, expected: int | None) -> None:
        promised = "" if expected is None else f" of {expected}"
        super().__init__(
            f"The upload broke off after {received}{promised} bytes. Nothing was kept; send it again."
        )


class Unauthorized(DomainError):
    """Nobody is signed in, or the credential is not valid; `challenge` says by which scheme (RFC 9110, RFC 6750)."""

    status = 401
    code = "unauthorized"
    challenge = 'Bearer realm="microsite"'

    def __init__(self, detail: str = "Sign in to see this.", code: str = "unauthorized") -> None:
        super().__init__(detail)
        self.code = code

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": self.challenge}


class Forbidden(DomainError):
    """The actor is known and may not."""

    status = 403
    code = "forbidden"


class RecentSignInNeeded(Forbidden):
    """A session of a sign-in that is not recent may not do this."""

    code = "recent_sign_in"

    def __init__(self) -> None:
        super().__init__("This needs a recent sign-in. Sign out, sign in again, and try once more.")


class NotFound(DomainError):
    """Nothing of that name is here for this actor; other people's objects answer the same."""

    status = 404
    code = "not_found"

    def __init__(self, detail: str = "There is nothing at this address.") -> None:
        super().__init__(detail)


class Conflict(DomainError):
    """The state of the object does not allow it."""

    status = 409
    code = "conflict"


class Gone(DomainError):
    """What was here is used up, expired or withdrawn; one answer for all of these."""

    status = 410
    code = "gone"


class PreconditionFailed(DomainError):
    """What the client knows of the object is not true any more (If-Match, If-Unmodified-Since)."""

    status = 412
    code = "precondition_failed"


class FileTooLarge(DomainError):
    """`size` and `limit` are bytes; `name` says what was too large."""

    status = 413
    code = "file_too_large"

    def __init__(self, limit: int, size: int | None = None, name: str = "This request") -> None:
        told = f"{name} is {human_size(size)}; " if size else f"{name} is too large; "
        what = "requests to this address" if name == "This request" else "files"
        super().__init__(f"{told}{what} may be up to {human_size(limit)} here.")
        self.limit, self.size = limit, size


class TypeNotAllowed(DomainError):
    """A media type or an extension that is not accepted here."""

    status = 415
    code = "type_not_allowed"


class ValidationFailed(DomainError):
    """Input that does not hold; `errors` maps field names to sentences."""

    status = 422
    code = "validation_failed"

    def __init__(self, errors: Mapping[str, list[str]], detail: str | None = None) -> None:
        first = next(iter(errors.values()), ["Some of the input is not valid."])[0]
        super().__init__(detail or first)
        self.errors = {field: list(messages) for field, messages in errors.items()}


class RateLimited(DomainError):
    """`retry_after` is seconds."""

    status = 429
    code = "rate_limited"

    def __init__(self, retry_after: int, detail: str = "That was too often.") -> None:
        self.retry_after = max(1, retry_after)
        minutes = -(-self.retry_after // 60)
        wait = f"{self.retry_after} s" if self.retry_after < 60 else f"{minutes} min"
        super().__init__(f"{detail} Try again in {wait}.")

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after)}


class Unavailable(DomainError):
    """Something this needs is down or busy; `retry_after` is seconds."""

    status = 503
    code = "unavailable"

    def __init__(self, detail: str, retry_after: int = 5) -> None:
        super().__init__(detail)
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after)}


class QuotaExceeded(DomainError):
    """`limit`, `used` and `size` are bytes."""

    status = 507
    code = "quota_exceeded"

    def __init__(self, limit: int, used: int, size: int | None = None) -> None:
        need = f" and this needs {human_size(size)}" if size else ""
        super().__init__(
            f"You use {human_size(used)} of {human_size(limit)}{need}. Delete something to make room."
        )
        self.limit, self.used, self.size = limit, used, size


class StorageFull(DomainError):
    """The server's disk is full."""

    status = 507
    code = "storage_full"

    def __init__(
        self, detail: str = "The site's disk is full. Nothing was kept; tell whoever runs the site."
    ) -> None:
        super().__init__(detail)
