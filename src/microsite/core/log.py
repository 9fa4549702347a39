"""Structured log: JSON lines on stderr and, with one worker, in a rotating file of the data folder."""

from __future__ import annotations

import logging
import logging.config
import os
import secrets
import time
from pathlib import Path

from flask import Flask, Response, g, has_request_context, request
from flask_login import current_user

from microsite.core.sessions import client_address

LOGGER = "microsite"


class RequestFilter(logging.Filter):
    """Adds who and what to each line. Paths are given as rules, so that no token of an address is ever logged."""

    def filter(self, record: logging.LogRecord) -> bool:
        if has_request_context():
            record.request_id = request_id()
            record.method = request.method
            record.rule = request.url_rule.rule if request.url_rule else "(none)"
            record.address = client_address()
        return True


def request_id() -> str:
    """Reference of this request, made when first asked for."""
    if "request_id" not in g:
        g.request_id = secrets.token_hex(6)
    found: str = g.request_id
    return found


def _handlers(app: Flask) -> dict[str, dict[str, object]]:
    shared = {"formatter": "json", "filters": ["request"]}
    handlers: dict[str, dict[str, object]] = {"stderr": {"class": "logging.StreamHandler", **shared}}
    if app.config["WORKERS"] == 1:
        folder = Path(app.config["INSTANCE"], "logs")
        folder.mkdir(mode=0o700, exist_ok=True)
        handlers["file"] = {
            "class": "logging.handlers.RotatingFileHandler", "filename": os.fspath(folder / "microsite.log"),
            "maxBytes": app.config["LOG_FILE_SIZE"], "backupCount": app.config["LOG_FILE_COUNT"],
            "encoding": "utf-8", "delay": True, **shared,
        }  # fmt: skip
    return handlers


def _log_request(response: Response) -> Response:
    if not (request.endpoint or "").endswith("static"):
        milliseconds = round((time.perf_counter() - g.get("started", time.perf_counter())) * 1000, 1)
        who = current_user.username if current_user else ""
        logging.getLogger(LOGGER).debug(
            "request", extra={"status": response.status_code, "ms": milliseconds, "user": who}
        )
    return response


def _start_clock() -> None:
    g.started = time.perf_counter()


def init_app(app: Flask) -> None:
    handlers = _handlers(app)
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"request": {"()": RequestFilter}},
            "formatters": {
                "json": {
                    "()": "pythonjsonlogger.json.JsonFormatter",
                    "format": "%(levelname)s %(name)s %(message)s %(pathname)s %(lineno)d",
                    "rename_fields": {
                        "levelname": "level",
                        "name": "logger",
                        "pathname": "file",
                        "lineno": "line",
                    },
                    "timestamp": "time",
                }
            },
            "handlers": handlers,
            "loggers": {
                LOGGER: {"level": app.config["LOG_LEVEL"], "handlers": list(handlers), "propagate": False}
            },
        }
    )
    app.logger = logging.getLogger(LOGGER)
    if app.logger.isEnabledFor(logging.DEBUG):
        app.before_request(_start_clock)
        app.after_request(_log_request)
