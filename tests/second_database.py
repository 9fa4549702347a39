"""`python -m tests.second_database`: what a database may decide, once more on PostgreSQL, where its server is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from shutil import which

DECIDED_ALREADY = (
    "tests/browser/test_dialog.py",
    "tests/browser/test_pages.py",
    "tests/browser/test_unsent.py",
    "tests/browser/test_weight.py",
    "tests/contract/test_document.py",
    "tests/contract/test_locks.py",
    "tests/contract/test_package.py",
    "tests/core/test_mailer.py",
    "tests/core/test_names.py",
    "tests/core/test_static.py",
    "tests/core/test_vendor.py",
    "tests/servers/test_deploying.py",
    "tests/servers/test_install.py",
    "tests/servers/test_passwords.py",
    "tests/servers/test_reservations.py",
    "tests/servers/test_slow.py",
    "tests/servers/test_transfers.py",
)
"""Packages, pages, connections and bytes: no other answer comes from another database."""


def main() -> int:
    """Run pytest with TEST_DATABASE=postgresql; say so where that cannot be."""
    if not which("initdb") and not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        print(
            "SKIPPED: the suite on PostgreSQL: no PostgreSQL server is installed."
        )  # the operator's list of gaps
        return 1 if os.environ.get("REQUIRE_SERVERS") else 0
    ignored = [f"--ignore={path}" for path in DECIDED_ALREADY]
    command = [sys.executable, "-m", "pytest", "-n", "3", "--dist", "loadgroup", *ignored, *sys.argv[1:]]
    return subprocess.run(command, env=os.environ | {"TEST_DATABASE": "postgresql"}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
