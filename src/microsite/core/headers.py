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
UNUSED_POWERS = "camera=(), microphone=(), geolocation=(), payment=(), usb=(), browsing-topics=()"


def content_policy(**directives: str) -> Callable[[View], View]:
    """Widen the policy for one view: `@content_policy(media_src="'self'")`."""

    def mark(view: View) -> View:
        view.content_policy = {name.replace("_", "-"): value for name, value in directives.items()}  # type: ignore[attr-defined]
        return view

    return mark


def _policy() -> str:
    view = current_app.view_functions.get(request.endpoint or "")
    return "; ".join(
        f"{name} {value}" for name, value in (POLICY | getattr(view, "content_policy", {})).items()
    )


def add_headers(response: Response) -> Response:
    headers = response.headers
    headers.setdefault("Content-Security-Policy", _policy())
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("X-Frame-Options", "DENY")
    headers.setdefault("Referrer-Policy", "same-origin")
    headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    headers.setdefault("Permissions-Policy", UNUSED_POWERS)
    if current_app.config["BASE_URL"].startswith("https:"):
        headers.setdefault("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
    if "Cache-Control" not in headers and not (request.endpoint or "").endswith("static"):
        private = request.path.startswith("/api/") or current_user.is_authenticated
        headers["Cache-Control"] = "no-store" if private or response.status_code >= 400 else "no-cache"
    return response


def init_app(app: Flask) -> None:
    app.after_request(add_headers)
