"""Security headers of every response, one policy for all pages, with exceptions declared where the view is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flask import Flask, Response, current_app, request
from flask_login import current_user

View = TypeVar("View", bound=Callable[..., object])

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
    "object-src": "'none'",
    "manifest-src": "'self'",
    "worker-src": "'self'",
}
PLAIN_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    (
        "Permissions-Policy",
        "camera=(), microphone=(), geolocation=(), payment=(), usb=(), browsing-topics=()",
    ),
)


def content_policy(**directives: str) -> Callable[[View], View]:
    """Widen the policy for one view: `@content_policy(media_src="'self'")`."""

    def mark(view: View) -> View:
        view.content_policy = {name.replace("_", "-"): value for name, value in directives.items()}  # type: ignore[attr-defined]
        return view

    return mark


def _written(policy: dict[str, str]) -> str:
    return "; ".join(f"{name} {value}" for name, value in policy.items())


_PLAIN_POLICY = _written(POLICY)


def _policy() -> str:
    wider = getattr(current_app.view_functions.get(request.endpoint or ""), "content_policy", None)
    return _written(POLICY | wider) if wider else _PLAIN_POLICY


def add_headers(response: Response) -> Response:
    headers = response.headers
    present = {name.lower() for name in headers.keys()}  # noqa: SIM118 - iterating Headers gives pairs
    for name, value in (("Content-Security-Policy", _policy()), *PLAIN_HEADERS):
        if name.lower() not in present:
            headers.add(name, value)
    if current_app.config["BASE_URL"].startswith("https:"):
        headers.setdefault("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
    if "cache-control" not in present:
        private = request.path.startswith("/api/") or current_user.is_authenticated
        headers["Cache-Control"] = "no-store" if private or response.status_code >= 400 else "no-cache"
    return response


def init_app(app: Flask) -> None:
    app.after_request(add_headers)
