"""The `microsite` command. What belongs here: the group; each family of commands has a module of its own."""

from __future__ import annotations

import os
import sys

import click

from microsite import __version__
from microsite.cli import blueprint, checks, database, serve, settings, user
from microsite.config import ConfigError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="microsite")
def microsite() -> None:
    """A small site that a group of people runs for itself."""


COMMANDS = (
    serve.serve, serve.prepare, settings.config, checks.check, user.user, database.database, settings.features,
    blueprint.new_blueprint,
)  # fmt: skip
for command in COMMANDS:
    microsite.add_command(command)


def main() -> None:
    """Run the command: 0 done, 1 refused (one sentence), 2 wrong use."""
    os.umask(0o077)  # what the site writes is nobody else's to read
    try:
        microsite()
    except ConfigError as error:
        click.echo(f"microsite: {error}", err=True)
        sys.exit(1)
