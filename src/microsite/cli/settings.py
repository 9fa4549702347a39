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
    rows: list[dict[str, Any]] = [
        {
            "name": setting.name,
            "value": masked(found.values[setting.name])
            if setting.secret
            else plain(found.values[setting.name]),
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


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def features(as_json: bool) -> None:
    """Show the registration cards of all features."""
    from microsite.app import known_features, load_config

    off = load_config().values["FEATURES_OFF"]
    rows: list[dict[str, Any]] = [
        {
            "name": f.name, "summary": f.summary, "on": f.name not in off, "can_be_off": f.can_be_off,
            "permissions": {name: role.value for name, role in f.permissions.items()},
            "settings": [setting.name for setting in f.settings], "capabilities": sorted(f.capabilities),
            "tasks": [task.name for task in f.tasks],
        }
        for f in known_features()
    ]  # fmt: skip
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        state = "on" if row["on"] else "off"
        click.echo(f"{row['name']:<10} {state:<4} {row['summary']}")
        for what in ("permissions", "settings", "capabilities", "tasks"):
            if row[what]:
                click.echo(f"{'':<15} {what}: {', '.join(row[what])}")
