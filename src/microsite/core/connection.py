"""The connection behind a request, as far as `gunicorn_worker` tells of it; other servers tell nothing."""

from __future__ import annotations

from typing import Any

from flask import request


def _channel() -> Any:
    return request.environ.get("gunicorn.socket")


def body_waits() -> bool:
    """Whether the server has not collected the body of this request, so that reading it may hold a thread."""
    return "Transfer-Encoding" in request.headers or bool(getattr(_channel(), "body_waits", False))


def read_as_it_comes(idle_seconds: float) -> None:
    """Lift the deadline of the body as a whole; each piece of it may take so long."""
    channel = _channel()
    if channel is not None:
        channel.deadline = None
        channel.settimeout(idle_seconds)
