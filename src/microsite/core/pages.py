"""What every template may use: navigation, icons, times and sizes."""

from __future__ import annotations

import re
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from flask import Flask, current_app, request
from flask_login import current_user
from markupsafe import Markup

from microsite import __version__
from microsite.core.exceptions import human_size
from microsite.core.feature import registry


@cache
def _icon_paths() -> dict[str, str]:
    """Name to drawing of every icon of Bootstrap's own set."""
    sprite = files("microsite").joinpath("static/vendor/bootstrap-icons.svg").read_text("utf-8")
    found = re.findall(r'<symbol[^>]*?id="([a-z0-9-]+)"[^>]*>(.*?)</symbol>', sprite, re.DOTALL)
    wanted = current_app.config["ICONS"]
    return {name: drawing.strip() for name, drawing in found if name in wanted}


ICONS = frozenset(
    "arrow-left box-arrow-right chat-dots check2 clipboard clock cloud-upload download envelope exclamation-triangle "
    "eye file-earmark file-earmark-code file-earmark-image file-earmark-music file-earmark-pdf file-earmark-play "
    "file-earmark-text file-earmark-zip folder2 gear hdd info-circle key link-45deg lock moon pencil people person "
    "plus-lg qr-code send shield-lock sticky sun trash3 upload x-lg circle-half house three-dots files".split()
)


@cache
def icon(name: str, size: int = 16) -> Markup:
    """An inline drawing without a name of its own: it always stands beside a word.

    `{{ 'gear' | icon }}` is drawn once, when the template is compiled.
    """
    drawing = _icon_paths()[name]
    return Markup(  # noqa: S704 - the drawing comes from our own package, name and size from our templates
        f'<svg class="icon" width="{size}" height="{size}" viewBox="0 0 16 16" fill="currentColor" aria-hidden="true" focusable="false">{drawing}</svg>'
    )


def when(moment: datetime | None) -> Markup | str:
    """A time that the page's script shows in the reader's zone; exact in UTC without it."""
    if moment is None:
        return "never"
    written = moment.isoformat(timespec="seconds")
    exact = f"{written[:10]} {written[11:16]} UTC"
    return Markup(f'<time datetime="{written}" title="{exact}">{exact}</time>')  # noqa: S704 - digits only


def clock_time(moment: datetime) -> Markup:
    """A time that stays a time of day and never becomes "in 42 min": for sentences with "until"."""
    return Markup(str(when(moment)).replace("<time ", "<time data-clock ", 1))  # noqa: S704 - made by `when`


def for_seconds(seconds: float) -> str:
    """A length of time in words: 30 minutes, 12 hours, 30 days."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if (seconds >= length and seconds % length == 0) or seconds >= 2 * length:
            count = round(seconds / length)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{round(seconds)} seconds"


BROWSERS = {"Edg/": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
SYSTEMS = {
    "Android": "Android", "iPhone": "iPhone", "iPad": "iPad", "Windows": "Windows", "Mac OS X": "Mac", "Linux": "Linux",
}  # fmt: skip


def browser(agent: str) -> str:
    """What a visitor's program calls itself, in short: Chrome on Linux, or its first word. Anything may be claimed there."""
    name = next((name for mark, name in BROWSERS.items() if mark in agent), None)
    system = next((system for mark, system in SYSTEMS.items() if mark in agent), None)
    if name is None:
        return agent.split(" ", maxsplit=1)[0][:40]
    return f"{name} on {system}" if system else name


def navigation() -> list[dict[str, Any]]:
    """Entries that this visitor may use."""
    user = current_user._get_current_object()
    if not user.is_authenticated:
        return []
    address: Any = current_app.jinja_env.globals["url_for"]
    return [
        {"label": entry.label, "endpoint": entry.endpoint, "icon": entry.icon, "url": address(entry.endpoint)}
        for entry in registry().nav
        if entry.permission is None or user.may(entry.permission)
    ]


def _fixed_once(app: Flask) -> None:
    """Let templates work out an address only once where it stays while the site runs: static files, plain endpoints."""
    known: dict[tuple[str, str | None, str], str] = {}

    def address(endpoint: str, **values: Any) -> str:
        fixed = not values or (values.keys() == {"filename"} and endpoint.endswith("static"))
        if app.debug or not fixed or endpoint.startswith("."):
            return app.url_for(endpoint, **values)
        key = (endpoint, values.get("filename"), request.script_root)
        if key not in known:
            known[key] = app.url_for(endpoint, **values)
        return known[key]

    app.jinja_env.globals["url_for"] = address


def init_app(app: Flask) -> None:
    app.config.setdefault("ICONS", ICONS)
    _fixed_once(app)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(
        icon=icon,
        human_size=human_size,
        when=when,
        clock_time=clock_time,
        for_seconds=for_seconds,
        browser=browser,
    )
    app.jinja_env.globals.update(icon=icon, navigation=navigation, version=__version__)
    app.context_processor(lambda: {"site_name": app.config["SITE_NAME"]})


def absolute(path: str) -> str:
    """The public address of a path of this site; never taken from the request's Host header."""
    return f"{current_app.config['BASE_URL']}{path}"
