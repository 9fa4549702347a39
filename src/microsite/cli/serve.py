"""`microsite serve`: check, migrate, greet, and become gunicorn."""

from __future__ import annotations

import errno
import os
import socket
import sys
from typing import Any

import click

from microsite.config import ConfigError

PREPARED = "_MICROSITE_PREPARED"


@click.command()
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on.")
@click.option("--threads", type=int, help="Threads of one worker.")
@click.option("--workers", type=int, help="Worker processes; more than one needs REDIS_URL.")
def serve(**options: Any) -> None:
    """Run the site in the foreground."""
    for name, value in options.items():
        if value is not None:
            os.environ[f"MICROSITE_{name.upper()}"] = str(value)
    values = start(listen=True)
    click.echo(f"{values['SITE_NAME']} runs on {values['BASE_URL']} (stop with Ctrl-C)", err=True)
    os.environ[PREPARED] = "1"
    sys.stdout.flush()
    command = [sys.executable, "-m", "gunicorn", "-c", "python:microsite.gunicorn_conf", "microsite.wsgi:app"]
    os.execv(sys.executable, command)  # noqa: S606 - the server takes over this process


@click.command(hidden=True)
def prepare() -> None:
    """Check the settings, migrate an SQLite database, and greet; gunicorn's configuration calls this."""
    start()


def start(*, listen: bool = False) -> dict[str, Any]:
    """What every start does before a server takes over; `listen` tries the port first. Raises ConfigError."""
    from microsite.app import create_app
    from microsite.cli.database import make_ready

    app = create_app()
    if listen:
        check_port(app.config["HOST"], app.config["PORT"])
    with app.app_context():
        make_ready(app)
    return dict(app.config)


def check_port(host: str, port: int) -> None:
    """Raise ConfigError when nothing can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host.strip("[]"), port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"PORT {port} on {host} is taken by another program; choose one with --port."
            ) from None
        raise ConfigError(
            f"HOST {host}, PORT {port}: cannot listen there: {error.strerror or error}."
        ) from None
