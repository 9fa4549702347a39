"""`flask --app microsite run`: what `microsite serve` does before its server starts happens here with the first request."""

from __future__ import annotations

import threading
from typing import Any

from flask import Flask


class FirstRequest:
    """WSGI in front of the development server: migrates, greets and starts the job thread, once."""

    def __init__(self, app: Flask) -> None:
        self.app, self.wsgi_app = app, app.wsgi_app
        self.lock, self.started = threading.Lock(), False

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        with self.lock:
            if not self.started:
                self.start(environ)
                self.started = True
        return self.wsgi_app(environ, start_response)

    def start(self, environ: dict[str, Any]) -> None:
        from microsite.cli.database import make_ready
        from microsite.core.jobs import Runner

        if self.app.config["BASE_URL"] == f"http://127.0.0.1:{self.app.config['PORT']}":
            self.app.config["BASE_URL"] = f"http://127.0.0.1:{environ['SERVER_PORT']}"  # flask's own --port
        with self.app.app_context():
            make_ready(self.app)
        Runner(self.app).start()
