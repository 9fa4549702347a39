"""Fixtures of the tests of files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import add_member, sign_in


@pytest.fixture
def sign_in_to() -> Callable[..., Any]:
    """Sign a new member in to an application with settings of its own; gives the client."""

    def enter(application: Any, username: str = "anna", role: str = "member") -> Any:
        with application.app_context():
            add_member(username, role)
        client = application.test_client()
        assert sign_in(client, username).status_code == 303
        return client

    return enter
