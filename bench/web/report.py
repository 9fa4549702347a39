"""Medians with their ranges, the Markdown table, and its place in the documentation."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

PACKAGES = ("microsite", "flask", "werkzeug", "jinja2", "gunicorn", "sqlalchemy", "bcrypt")


@dataclass(frozen=True)
class Row:
    """One line: what, the site's figures, those of what it is compared with, the comparison, and the goal."""

    what: str
    site: Sequence[float]
    peer: Sequence[float]
    compared: str
    goal: str
    reached: bool | None
    digits: int = 1


def spread(values: Sequence[float], digits: int) -> str:
    """Median and range."""
    if not values:
        return "–"
    low, middle, high = (f"{x:,.{digits}f}" for x in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low}–{high})"


def ratios(upper: Sequence[float], lower: Sequence[float]) -> list[float]:
    """Round by round, so that what slowed a whole round cancels out."""
    return [a / b for a, b in zip(upper, lower, strict=True)]


def table(rows: Iterable[Row]) -> str:
    lines = [
        "| What | Microsite | Compared with | Ratio or difference | Goal | Reached |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        word = {True: "yes", False: "**no**", None: "–"}[row.reached]
        cells = (
            row.what,
            spread(row.site, row.digits),
            spread(row.peer, row.digits),
            row.compared,
            row.goal,
            word,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def surroundings() -> str:
    """Machine and versions."""
    cpu = platform.machine()
    if Path("/proc/cpuinfo").exists():
        cpu = (re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text()) or [cpu])[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return (
        f"{os.cpu_count()} processors ({cpu}), {memory:.0f} GiB, {platform.system()} {platform.release()}; "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {versions}."
    )


def today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")


def write(page: Path, bench: str, text: str) -> None:
    """Put the text between the markers of this benchmark on the page."""
    begin, end = f"<!-- {bench}: begin -->", f"<!-- {bench}: end -->"
    before, found, rest = page.read_text("utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"{page} has no {begin} … {end}")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", "utf-8")
