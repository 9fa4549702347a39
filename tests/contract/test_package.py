"""What is handed on, as an archive of sources and as a wheel."""

from __future__ import annotations

import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from hatchling import build

ROOT = Path(__file__).parents[2]


@pytest.fixture
def _at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.usefixtures("_at_root")
def test_the_licence_goes_along(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / build.build_wheel(str(tmp_path))) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/licenses/LICENSE"))
        assert "the Microsite contributors" in wheel.read(name).decode()
        metadata = message_from_bytes(wheel.read(name.replace("licenses/LICENSE", "METADATA")))
        assert metadata["License-Expression"] == "MIT"
        assert "microsite/templates/base.html" in wheel.namelist()
    with tarfile.open(tmp_path / build.build_sdist(str(tmp_path))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "pyproject.toml", "hatch_build.py", "src/microsite/app.py"} <= names
