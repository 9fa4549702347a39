"""`python -m tests.second_database`: the same suite on PostgreSQL, where its server is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from shutil import which


def main() -> int:
    """Run pytest with TEST_DATABASE=postgresql; say so where that cannot be."""
    if not which("initdb") and not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        print(
            "SKIPPED: the suite on PostgreSQL: no PostgreSQL server is installed."
        )  # the operator's list of gaps
        return 1 if os.environ.get("REQUIRE_SERVERS") else 0
    command = [sys.executable, "-m", "pytest", "-n", "3", "--dist", "loadgroup", *sys.argv[1:]]
    return subprocess.run(command, env=os.environ | {"TEST_DATABASE": "postgresql"}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
