"""The card on which a feature says everything that the house must know about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from apiflask import APIBlueprint
from flask import Blueprint, Flask, current_app

from microsite.config import Setting
from microsite.core.identity import Role


@dataclass(frozen=True, kw_only=True)
class NavEntry:
    """An entry of the main navigation; shown to whoever has the permission."""

    label: str
    endpoint: str
    icon: str
    permission: str | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """Background work: `run` gets the job's payload as keywords; `every` makes it periodic, `at_start` runs it also
    whenever a server starts, for what a crash may have left. One that is `aside` waits for strangers' servers, and has a
    thread of its own, so that mail never waits for it."""

    name: str
    run: Callable[..., None]
    every: timedelta | None = None
    at_start: bool = False
    attempts: int = 8
    aside: bool = False


@dataclass(frozen=True, kw_only=True)
class Feature:
    """The registration card. It is data: it can be listed, checked and documented."""

    name: str
    summary: str
    bp: Blueprint
    api: APIBlueprint | None = None
    nav: tuple[NavEntry, ...] = ()
    home: str | None = None
    settings: tuple[Setting, ...] = ()
    permissions: Mapping[str, Role] = field(default_factory=dict)
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[Task, ...] = ()
    can_be_off: bool = True
    setup: Callable[[Flask], None] | None = None


class Registry:
    """What the enabled features of one application declare, ready to be asked."""

    def __init__(self, features: tuple[Feature, ...], known: tuple[Feature, ...]) -> None:
        self.features = features
        self.known = known
        self.tasks = {task.name: task for feature in features for task in feature.tasks}
        self.permissions = {name: role for feature in features for name, role in feature.permissions.items()}

    @property
    def nav(self) -> list[NavEntry]:
        return [entry for feature in self.features for entry in feature.nav]

    def capability(self, name: str) -> dict[str, Any]:
        """Providers of a capability by feature name; empty when no enabled feature has it."""
        return {f.name: f.capabilities[name] for f in self.features if name in f.capabilities}


def registry() -> Registry:
    """The registry of the present application."""
    found: Registry = current_app.extensions["microsite"]
    return found
