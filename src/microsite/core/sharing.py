"""What features answer one another about outsiders: the capabilities `shareable`, `inbox` and `invitations`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from flask import Response

from microsite.core.identity import Role, User
from microsite.core.reservations import Allowance
from microsite.core.slots import Holder
from microsite.core.storage import StoredObject


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

    def send(self, owner_id: int, item_id: str, *, inline: bool, watched: Watched) -> Response:
        """The bytes of one thing, shown or as a download. Raises NotFound."""

    def beginning(self, owner_id: int, item_id: str, count: int) -> bytes:
        """The first bytes of one thing, for a preview of text. Raises NotFound."""

    def page(self, item_id: str) -> str:
        """The path of its page, for its owner."""

    def reader(self, owner_id: int, item_id: str) -> Callable[[], BinaryIO]:
        """A function that opens the bytes of one thing. Raises NotFound, now or when it is called."""


class Watched(Protocol):
    """A running download, as whoever allowed it sees it; it is counted for `holder`."""

    holder: Holder

    def may_go_on(self) -> bool:
        """Asked every few seconds while bytes are sent; False ends the connection."""

    def started(self, *, from_beginning: bool = True) -> None:
        """Bytes will be sent: the first ones, or of a range that begins later."""

    def finished(self) -> None:
        """The last bytes are handed to the connection."""


class Inbox(Protocol):
    """A provider that takes files which outsiders send to a member: the capability `inbox`."""

    def may_receive(self, owner: User) -> bool: ...

    def check_name(self, name: str) -> str:
        """The ending of the name as it will be kept, such as "pdf". Raises TypeNotAllowed for what the site does not take."""

    def allowance(self, owner: User) -> Allowance:
        """What the owner's files may have; uploads reserve within it."""

    def take(self, owner: User, received: Sequence[tuple[str, StoredObject]]) -> list[SharedItem]:
        """Add the files to the owner's inside the present transaction. Raises QuotaExceeded."""


class Invitations(Protocol):
    """A provider of invitations: the capability `invitations`, asked by whoever registers new members."""

    def role(self, token: str) -> Role:
        """What the invited will be. Spends nothing. Raises Gone."""

    def spend(self, token: str, address: str, agent: str, username: str) -> Role:
        """Use the invitation inside the present transaction; of several at once one wins. Raises Gone."""
