"""Refusals of files."""

from __future__ import annotations

from microsite.core.exceptions import DomainError, QuotaExceeded


class TooManyFiles(QuotaExceeded):
    """A member has as many files as one may have here, whatever their size."""

    def __init__(self, limit: int, used: int, count: int) -> None:
        sentence = (
            f"You have {used:,} files, and {count:,} more came; "
            f"{limit:,} are the most here. Delete some to make room."
        )
        DomainError.__init__(self, sentence)
