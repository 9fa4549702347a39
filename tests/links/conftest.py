"""Fixtures of the tests of links."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest


@pytest.fixture
def key(make_key: Callable[..., dict[str, str]]) -> dict[str, str]:
    """Headers of anna, who makes the links."""
    return make_key("anna")


@pytest.fixture
def maker(app: Any) -> Any:
    """A client for anna's requests by key."""
    return app.test_client()


@pytest.fixture
def visitor(app: Any) -> Any:
    """A recipient, who has no cookie and no account."""
    return app.test_client()


@pytest.fixture
def later(time_machine: Any) -> Callable[[float], None]:
    """Let seconds pass at once."""

    def move(seconds: float) -> None:
        time_machine.move_to(datetime.now(UTC) + timedelta(seconds=seconds))

    return move
