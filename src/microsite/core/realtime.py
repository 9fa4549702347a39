"""Live connections: who is connected, the one publish function, and how a connection is cut."""

from __future__ import annotations


def cut_connections(*, user_id: int | None = None, session_id: int | None = None) -> None:
    """Cut the live connections of a member or a session once the present transaction is committed."""


def cut_now(*, user_id: int | None = None, session_id: int | None = None) -> None:
    """Cut the live connections of a member or a session."""
