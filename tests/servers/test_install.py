"""Installing next year: the Makefile and tox.ini with small packages, in an index that has newer releases of all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need

ROOT = Path(__file__).parents[2]

PROJECT = """
[build-system]
requires = ["builder==1.0", "helper==1.0"]
build-backend = "builder"

[project]
name = "tiny"
version = "1"
dependencies = ["outer>=1"]
"""

BUILDER = '''
import os, zipfile
from helper import VERSION


def get_requires_for_build_editable(config_settings=None):
    return ["builder", "helper>=1"]


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(os.path.join(wheel_directory, "tiny-1-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("tiny.pth", os.getcwd())
        wheel.writestr("tiny-1.dist-info/METADATA", f"""Metadata-Version: 2.1
Name: tiny
Version: 1
Summary: built with helper {VERSION}
Requires-Dist: outer>=1
""")
        wheel.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("tiny-1.dist-info/RECORD", "")
    return "tiny-1-py3-none-any.whl"
'''

NEEDS = {
    "outer": ["Requires-Dist: inner[mail]>=1"],
    "inner": ["Provides-Extra: mail", "Requires-Dist: post>=1; extra == 'mail'"],
    "post": [],
    "helper": [],
    "builder": ["Requires-Dist: helper>=1"],
}
LOCKED = ("outer", "inner[mail]", "post")


def add_wheel(index: Path, name: str, version: str) -> Path:
    """Put a package of one module into the index."""
    code = BUILDER if name == "builder" else f"VERSION = '{version}'\n"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *NEEDS[name], ""]
    path = index / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", code)
        wheel.writestr(f"{name}-{version}.dist-info/METADATA", "\n".join(metadata))
        wheel.writestr(
            f"{name}-{version}.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{name}-{version}.dist-info/RECORD", "")
    return path


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A project with our Makefile and tox.ini, locked when every package was at 1.0."""
    index, clone = tmp_path / "index", tmp_path / "clone"
    index.mkdir()
    (clone / "requirements").mkdir(parents=True)
    wheels = {name: add_wheel(index, name, "1.0") for name in NEEDS}
    lines = []
    for pin in LOCKED:
        digest = hashlib.sha256(wheels[pin.partition("[")[0]].read_bytes()).hexdigest()
        lines.append(f"{pin}==1.0 --hash=sha256:{digest}\n")
    for lock in ("run", "test", "tox"):
        (clone / "requirements" / f"{lock}.txt").write_text("".join(lines))
    (clone / "pyproject.toml").write_text(PROJECT)
    (clone / "package-lock.json").touch()
    for name in ("Makefile", "tox.ini"):
        shutil.copy(ROOT / name, clone)
    for name in NEEDS:
        add_wheel(index, name, "2.0")
    return clone


def run(clone: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command in the clone, on a machine whose only index is the folder beside it."""
    kept = {"PATH": os.environ["PATH"], "HOME": str(clone)}
    pip = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(clone.parent / "index"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    return subprocess.run(
        command, cwd=clone, env=kept | pip, capture_output=True, text=True, timeout=120, check=False
    )


def versions(python: Path) -> dict[str, str]:
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=json"], check=True, capture_output=True, text=True
    ).stdout
    found: list[dict[str, Any]] = json.loads(listed)
    return {row["name"]: row["version"] for row in found if row["name"] in {"tiny", *NEEDS}}


def test_make_installs_the_lock_whatever_the_index_has(clone: Path) -> None:
    need("make")
    python = clone / ".venv/bin/python"
    done = run(clone, "make", ".venv/run", f"PYTHON={sys.base_prefix}/bin/python3")
    assert done.returncode == 0, done.stderr
    assert "No broken requirements found" in done.stdout
    assert versions(python) == {"tiny": "1", "outer": "1.0", "inner": "1.0", "post": "1.0"}
    shown = run(clone, str(python), "-m", "pip", "show", "tiny").stdout
    assert "built with helper 1.0" in shown

    # What went wrong before: a lock without extras, installed by a pip that looks for them in the index.
    bare = clone / "requirements" / "bare.txt"
    bare.write_text((clone / "requirements" / "run.txt").read_text().replace("[mail]", ""))
    again = run(
        clone, str(python), "-m", "pip", "install", "--ignore-installed", "--require-hashes", "-r", str(bare)
    )
    pip = re.findall(r"\d+", run(clone, str(python), "-m", "pip", "--version").stdout)
    if (int(pip[0]), int(pip[1])) < (23, 3):
        assert again.returncode != 0
        assert "must have their versions pinned" in again.stderr


def test_tox_installs_the_lock_whatever_the_index_has(clone: Path) -> None:
    done = run(clone, sys.executable, "-m", "tox", "run", "-e", "quick", "--notest")
    assert done.returncode == 0, done.stdout + done.stderr
    found = versions(clone / ".tox/quick/bin/python")
    assert found == {"tiny": "1", "outer": "1.0", "inner": "1.0", "post": "1.0"}
    shown = run(clone, str(clone / ".tox/quick/bin/python"), "-m", "pip", "show", "tiny").stdout
    assert "built with helper 1.0" in shown
