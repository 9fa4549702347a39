"""Under which names the site is reached; every other Host header is refused."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask, current_app, request

from microsite.config import is_loopback
from microsite.core.exceptions import BadRequest

ANY_HOST = ("/healthz", "/readyz")
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def hostname(netloc: str) -> str | None:
    """The host of a Host header, lower-case, without port and brackets; None when it is malformed."""
    try:
        parts = urlsplit(f"//{netloc}")
        _ = parts.port
    except ValueError:
        return None
    if parts.path or parts.query or parts.fragment or parts.username or not parts.hostname:
        return None
    return parts.hostname


def accepted(app: Flask) -> frozenset[str]:
    """The host of BASE_URL, and on loopback every name of this machine."""
    base = urlsplit(app.config["BASE_URL"]).hostname or ""
    return frozenset({base}) | (
        LOOPBACK if is_loopback(base) or is_loopback(app.config["HOST"]) else frozenset()
    )


def host_accepted(app: Flask, header: str) -> bool:
    return hostname(header) in app.config["ACCEPTED_HOSTS"]


def check_host() -> None:
    if request.path in ANY_HOST:
        return
    header = request.environ.get("HTTP_HOST", "")
    if not host_accepted(current_app, header):
        raise BadRequest("This site does not answer under that name. Check the address.")


def init_app(app: Flask) -> None:
    app.config["ACCEPTED_HOSTS"] = accepted(app)
    app.before_request(check_host)
