"""What a feature answers when another asks for something shareable: the capability `shareable`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from flask import Response

from microsite.core.identity import User


@dataclass(frozen=True)
class SharedItem:
    """One thing that a link can hand out; `size` is bytes."""

    id: str
    name: str
    size: int
    media_type: str
    sha256: str


class Shareable(Protocol):
    """A provider of things that a link can hand out, by their ids."""

    def own(self, actor: User, ids: Sequence[str]) -> list[SharedItem]:
        """Those of `ids` that the actor may share, in their order."""

    def existing(self, owner_id: int, ids: Sequence[str]) -> list[SharedItem]:
        """Those of `ids` that the owner still has, in their order."""

    def send(self, owner_id: int, item_id: str) -> Response:
        """The bytes of one thing. Raises NotFound."""
