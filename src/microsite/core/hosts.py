"""Under which names the site is reached; every other Host header is refused, and none is repeated."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask, Response, current_app, redirect, request
from werkzeug.routing import RequestRedirect

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


def make_relative(response: Response) -> Response:
    """Redirect within the site by path: host, port and scheme of the request are the client's words."""
    location = response.headers.get("Location", "")
    if response.status_code in range(300, 400) and location.startswith(request.host_url):
        # one slash: two would make the next part of the path a host
        path = "/" + location[len(request.host_url) :].lstrip("/\\")
        response.headers["Location"] = path
        if isinstance(request.routing_exception, RequestRedirect):
            response.set_data(redirect(path).get_data())
    return response


def init_app(app: Flask) -> None:
    app.config["ACCEPTED_HOSTS"] = accepted(app)
    app.before_request(check_host)
    app.after_request(make_relative)
