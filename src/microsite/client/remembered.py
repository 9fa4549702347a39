"""What the commands remember between calls, in the user's configuration folder, readable by that user alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click


def _path(name: str) -> Path:
    return Path(click.get_app_dir("microsite")) / f"{name}.json"


def load(name: str) -> dict[str, Any]:
    """What was saved under a name; empty when nothing was, or nothing that can be read."""
    try:
        found = json.loads(_path(name).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def save(name: str, values: dict[str, Any]) -> None:
    """Save, all or nothing, with mode 0600. Raises OSError."""
    path = _path(name)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f"{name}.{os.getpid()}.new")
    with os.fdopen(
        os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
    ) as file:
        json.dump(values, file)
    fresh.replace(path)


def forget(name: str) -> None:
    _path(name).unlink(missing_ok=True)
