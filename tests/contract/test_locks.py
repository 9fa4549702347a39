"""The lock files are complete and bare: nothing is left to resolve when they are installed, this year or next.

What a package needs is read from its installed metadata, with the extras that are asked for, under the markers of
every Python and platform that the site runs on.
"""

from __future__ import annotations

import importlib.util
import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ALL_LOCKS = ("run", "test", "tox", "lowest")

INSTALLED = os.environ.get("LOCKS", "run test tox").split()
"""The locks that this environment was made from; tox.ini says so where it was another one."""

PYTHONS = ("3.11.0", "3.11.7", "3.12.0", "3.13.0")
PLATFORMS = {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}


@dataclass(frozen=True)
class Lock:
    """Pinned requirements, and which of them a machine takes."""

    lines: tuple[Requirement, ...]

    def on(self, environment: dict[str, str]) -> dict[str, Requirement]:
        """The pins that a machine installs, by name."""
        applying = [line for line in self.lines if applies(line, environment)]
        pins = {canonicalize_name(line.name): line for line in applying}
        assert len(pins) == len(applying), "a package is locked twice for one machine"
        return pins


def applies(requirement: Requirement, environment: dict[str, str], extra: str = "") -> bool:
    return requirement.marker is None or requirement.marker.evaluate(environment | {"extra": extra})


def pinned(pin: Requirement) -> str:
    """The one version that a line of a lock allows."""
    (specifier,) = pin.specifier
    assert specifier.operator == "==", f"{pin} is not pinned"
    return specifier.version


@cache
def read_lock(name: str) -> Lock:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return Lock(tuple(Requirement(line) for line in re.findall(r"^([a-z][^\\\n]*)", text, re.MULTILINE)))


def group(name: str) -> Iterator[Requirement]:
    for entry in PROJECT["dependency-groups"][name]:
        if isinstance(entry, str):
            yield Requirement(entry)
        else:
            yield from group(entry["include-group"])


def wanted(lock: str) -> list[Requirement]:
    """What pyproject.toml asks for."""
    site = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
    if lock == "tox":
        return list(group("tox"))
    return site if lock == "run" else [*site, *group("test")]


def machines() -> Iterator[dict[str, str]]:
    """The marker values of every machine that the site runs on."""
    for python in PYTHONS:
        for platform, system in PLATFORMS.items():
            yield dict(default_environment()) | {
                "python_version": python.rpartition(".")[0],
                "python_full_version": python,
                "sys_platform": platform,
                "platform_system": system,
                "os_name": "nt" if platform == "win32" else "posix",
            }


@cache
def requirements_of(name: str, version: str) -> tuple[Requirement, ...] | None:
    """What a package says that it needs; None where this machine does not have that version."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return None
    if found.version != version:
        return None
    return tuple(Requirement(line) for line in found.requires or ())


def holes(lock: Lock, roots: list[Requirement], environment: dict[str, str]) -> set[str]:
    """Every requirement that the lock does not meet on that machine, as a sentence."""
    here = lock.on(dict(default_environment()))
    pins, found = lock.on(environment), set()
    seen: set[tuple[str, str]] = set()
    waiting = [(root, "pyproject.toml") for root in roots if applies(root, environment)]
    while waiting:
        requirement, asking = waiting.pop()
        name = canonicalize_name(requirement.name)
        pin = pins.get(name)
        if pin is None or not requirement.specifier.contains(pinned(pin), prereleases=True):
            found.add(f"{asking} needs {requirement}, and the lock has {pin}")
            continue
        if not requirement.extras <= pin.extras:
            found.add(f"{asking} needs {requirement}, and the lock has {pin} without that extra")
        needed = requirements_of(name, pinned(pin))
        if needed is None and pin in here.values():
            found.add(f"{pin} is locked for this machine and not installed: install the lock anew")
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                waiting += [(more, name) for more in needed or () if applies(more, environment, extra)]
    return found


@pytest.mark.parametrize("name", INSTALLED)
def test_a_lock_meets_every_requirement(name: str) -> None:
    for machine in machines():
        found = holes(read_lock(name), wanted(name), machine)
        assert not found, f"requirements/{name}.txt on {machine['sys_platform']}: run `make lock`"


def test_every_hole_is_noticed() -> None:
    name = INSTALLED[0]
    lock, here = read_lock(name), dict(default_environment())
    for pin in lock.on(here).values():
        without = Lock(tuple(line for line in lock.lines if line is not pin))
        assert holes(without, wanted(name), here), f"{pin.name} could be left out"


@pytest.mark.parametrize("name", ALL_LOCKS)
def test_a_lock_has_versions_and_hashes_and_no_index(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert "://" not in text
    for entry in re.split(r"\n(?=\S)", text.strip()):
        first, *hashes = entry.replace("\\\n", "\n").splitlines()
        assert pinned(Requirement(first.strip()))
        assert hashes, f"{first} has no hash"
        assert all(re.fullmatch(r"\s+--hash=sha256:[0-9a-f]{64}\s*", line) for line in hashes)


def test_one_environment_holds_the_site_its_tests_and_tox() -> None:
    run, test, tox = (
        {(pin.name, pinned(pin)) for pin in read_lock(name).lines} for name in ("run", "test", "tox")
    )
    assert run <= test, "what is tested is what runs"
    assert tox <= test


def test_what_platforms_install_is_the_lock() -> None:
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line[0] != "#"]
    assert lines[-1] == ".", "the site itself"
    assert [str(Requirement(line)) for line in lines[:-1]] == [str(line) for line in read_lock("run").lines]


def test_build_requirements_are_named_with_all_that_they_need() -> None:
    if "lowest" in INSTALLED:
        pytest.skip("the build requirements are those of requirements/test.txt")
    lock = Lock(tuple(Requirement(line) for line in PROJECT["build-system"]["requires"]))
    roots = [Requirement("hatchling"), Requirement("editables")]
    for machine in machines():
        assert not holes(lock, roots, machine), "pyproject.toml: [build-system] requires"


def test_the_hook_brings_a_pinned_npm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    hook: Any = importlib.util.module_from_spec(spec)
    monkeypatch.setenv("PATH", str(tmp_path))
    spec.loader.exec_module(hook)
    monkeypatch.setattr(hook, "STAMP", tmp_path / "stamp")
    brought = hook.VendorHook.dependencies(None)
    assert [pinned(Requirement(line)) for line in brought]
