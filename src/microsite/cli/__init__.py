"""The `microsite` command. What belongs here: the group; each family of commands has a module of its own.

Commands that a user types against any site are in `microsite.client.commands`.
"""

from __future__ import annotations

import importlib
import os
import sys

import click

from microsite import __version__
from microsite.config import ConfigError

COMMANDS = {
    "serve": "cli.serve", "prepare": "cli.serve", "config": "cli.settings", "features": "cli.settings",
    "check": "cli.checks", "user": "cli.user", "db": "cli.database", "new-blueprint": "cli.blueprint",
    "login": "client.commands", "logout": "client.commands", "whoami": "client.commands", "share": "client.commands",
    "get": "client.commands", "links": "client.commands", "revoke": "client.commands",
}  # fmt: skip
"""The module that has each command."""


class Commands(click.Group):
    """A group that imports a command when it is asked for: who types `get` does not wait for the server's modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        if COMMANDS[cmd_name].startswith("cli."):
            os.umask(0o077)  # what the site writes is nobody else's to read
        module = importlib.import_module(f"microsite.{COMMANDS[cmd_name]}")
        found = (value for value in vars(module).values() if isinstance(value, click.Command))
        return next((command for command in found if command.name == cmd_name), None)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="microsite")
def microsite() -> None:
    """A small site that a group of people runs for itself."""


def main() -> None:
    """Run the command: 0 done, 1 refused (one sentence), 2 wrong use."""
    try:
        microsite()
    except ConfigError as error:
        click.echo(f"microsite: {error}", err=True)
        sys.exit(1)
