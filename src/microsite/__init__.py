"""Microsite: a small site that a group of people runs for itself."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load the server only when it is asked for, so that the client stays light."""
    if name == "create_app":
        from microsite.app import create_app

        return create_app
    raise AttributeError(f"module 'microsite' has no attribute {name!r}")
