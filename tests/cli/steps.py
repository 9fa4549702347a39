"""A site of its own for the operator's commands, run as the operator would."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import MICROSITE


class Site:
    """A data folder, a database, and commands on them."""

    def __init__(self, folder: Path, database: str | None, **settings: Any) -> None:
        self.folder = folder
        self.instance = folder / "instance"
        own = (
            {"INSTANCE": self.instance, "ENV": "testing"}
            | ({"DATABASE_URL": database} if database else {})
            | settings
        )
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("MICROSITE_")
        }
        self.environment |= {f"MICROSITE_{name}": str(value) for name, value in own.items()}

    def run(self, *arguments: str, stdin: str = "", **settings: Any) -> subprocess.CompletedProcess[str]:
        """One command; settings as keywords."""
        environment = self.environment | {f"MICROSITE_{name}": str(value) for name, value in settings.items()}
        command = [*MICROSITE, *arguments]
        return subprocess.run(
            command,
            env=environment,
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def done(self, *arguments: str, **options: Any) -> str:
        """One command that has to do what it is told; gives what it printed."""
        result = self.run(*arguments, **options)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def refused(self, *arguments: str, **options: Any) -> str:
        """One command that has to be refused with one sentence, which is given."""
        result = self.run(*arguments, **options)
        assert result.returncode == 1, result.stdout + result.stderr
        assert "Traceback" not in result.stderr
        sentences = [line for line in result.stderr.splitlines() if line.startswith("microsite: ")]
        assert len(sentences) == 1, result.stderr
        return sentences[0]


def new_site(folder: Path, new_database: Callable[[Path], str], **settings: Any) -> Site:
    """A site with a migrated, empty database."""
    return Site(folder, new_database(folder / "instance"), **settings)
