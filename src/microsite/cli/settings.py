"""`microsite config`: every setting, its value, and where it came from."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def config(as_json: bool) -> None:
    """Show every setting, its value, and where it came from; secrets are masked."""
    from microsite.app import load_config, settings_table

    found = load_config()
    rows = [
        {
            "name": setting.name,
            "value": masked(found.values[setting.name]) if setting.secret else plain(found.values[setting.name]),
            "source": found.sources[setting.name],
            "help": setting.help,
        }
        for setting in settings_table()
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        value = "(none)" if row["value"] in (None, [], "") else row["value"]
        click.echo(f"{row['name']:<{width}}  {value}  [{row['source']}]")


def plain(value: Any) -> Any:
    """A value that JSON can carry: durations as seconds, lists as lists."""
    if isinstance(value, timedelta):
        return int(value.total_seconds())
    return list(value) if isinstance(value, tuple) else value


def masked(value: Any) -> str | None:
    """A secret, told only as far as it helps: addresses keep everything but their password."""
    if value is None:
        return None
    if "://" in str(value):
        return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:••••@", str(value))
    return "••••"
