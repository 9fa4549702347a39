"""Flask's own commands: `flask run` does with its first request what `serve` does before it starts."""

from __future__ import annotations

import os
import threading
from typing import Any

import click
from flask import Flask

from microsite.config import Configuration

EVERY_HOST = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


def in_flask() -> bool:
    """Whether the application is built for one of Flask's own commands."""
    return os.environ.get("FLASK_RUN_FROM_CLI") == "true"


def take_options(found: Configuration) -> None:
    """Take over where `flask run` listens: its port, and in the development preset its host."""
    context = click.get_current_context(silent=True)
    if context is None or context.info_name != "run":
        return
    values, host = found.values, context.params["host"]
    values["PORT"] = context.params["port"]
    shown = "127.0.0.1"
    if values["ENV"] == "development" and host not in EVERY_HOST:
        shown = f"[{host}]" if ":" in host else host
    if found.sources["BASE_URL"] == "default":
        values["BASE_URL"] = f"http://{shown}:{values['PORT']}"
    values["FLASK_RUN_HOST"] = host


class FirstRequest:
    """WSGI in front of the development server: migrates, greets and starts the job thread, once."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.wsgi_app = app.wsgi_app
        self.lock = threading.Lock()
        self.started = False
        self.host = None
        if app.config["ENV"] == "development":
            self.host = app.config.get("FLASK_RUN_HOST")
        if self.host and self.host not in EVERY_HOST:
            self.accept(self.host)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        with self.lock:
            if not self.started:
                self.start()
                self.started = True
        connection = environ.get("werkzeug.socket")
        if self.host in EVERY_HOST and connection is not None:
            self.accept(connection.getsockname()[0].removeprefix("::ffff:"))
        return self.wsgi_app(environ, start_response)

    def accept(self, host: str) -> None:
        """Answer under this name of the machine too."""
        self.app.config["ACCEPTED_HOSTS"] |= {host.lower()}

    def start(self) -> None:
        from microsite.cli.database import make_ready
        from microsite.core.jobs import Runner

        with self.app.app_context():
            make_ready(self.app)
        Runner(self.app).start()
