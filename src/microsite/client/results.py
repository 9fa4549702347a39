"""Answers of a site as typed, frozen values. Fields that this version does not know are left out."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar

from .errors import Unreachable

T = TypeVar("T")


def result(kind: type[T], found: dict[str, Any]) -> T:
    """One value of a dataclass from its JSON; what ends in `_at` becomes a datetime in UTC."""
    known = {field.name for field in fields(kind) if field.init} & set(found)  # type: ignore[arg-type]
    try:
        return kind(**{name: _value(name, found[name]) for name in known})
    except (TypeError, ValueError) as error:
        raise Unreachable("The site does not answer as Microsite does.") from error


def _value(name: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if name.endswith("_at") and isinstance(value, str) else value
