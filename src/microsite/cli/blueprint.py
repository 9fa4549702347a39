"""`microsite new-blueprint NAME`: the skeleton of a feature with its tests, and the line in app.py."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

import click

from microsite.config import ConfigError

TAKEN = {"core", "cli", "client", "migrations", "templates", "static", "config", "app", "wsgi", "extensions"}


@click.command("new-blueprint")
@click.argument("name")
def new_blueprint(name: str) -> None:
    """Write the skeleton of a feature with its tests, and register it (in a checkout)."""
    root = Path.cwd()
    app_file = root / "src" / "microsite" / "app.py"
    if not app_file.is_file():
        raise ConfigError("Run this in a checkout of Microsite: there is no src/microsite/app.py here.")
    if not re.fullmatch(r"[a-z][a-z0-9]{1,29}", name) or keyword.iskeyword(name) or name in TAKEN:
        raise ConfigError(
            f"{name!r} cannot name a feature: 2 to 30 small letters and digits, starting with a letter, not a word of the house."
        )
    folder = root / "src" / "microsite" / name
    if folder.exists():
        raise ConfigError(f"{folder} is there already.")
    text = app_file.read_text()
    start = text.index("FEATURES = (\n")
    end = text.index("\n)\n", start)
    for path, content in skeleton(name).items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        click.echo(f"wrote {path}")
    app_file.write_text(f'{text[:end]}\n    "{name}",{text[end:]}')
    click.echo(f"added one line to {app_file.relative_to(root)}")
    click.echo(f"Try it: tests/{name}/ passes already. CONTRIBUTING.md leads on from here.")


def skeleton(name: str) -> dict[str, str]:
    """Paths and contents of the new files."""
    title = name.capitalize()
    files = {
        f"src/microsite/{name}/__init__.py": CARD,
        f"src/microsite/{name}/views.py": VIEWS,
        f"src/microsite/{name}/templates/{name}/index.html": PAGE,
        f"tests/{name}/__init__.py": "",
        f"tests/{name}/test_{name}.py": TESTS,
    }
    return {path: content.replace("NAME", name).replace("TITLE", title) for path, content in files.items()}


CARD = '''"""TITLE: say in one sentence what belongs here and what does not."""

from microsite.core.feature import Feature, NavEntry
from microsite.core.identity import Role

from .views import bp

feature = Feature(
    name="NAME",
    summary="TITLE",
    bp=bp,
    nav=(NavEntry(label="TITLE", endpoint="NAME.index", icon="info-circle", permission="NAME:use"),),
    permissions={"NAME:use": Role.MEMBER},
)
'''
VIEWS = '''"""Pages of NAME."""

from __future__ import annotations

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from microsite.core.access import requires

bp = Blueprint("NAME", __name__, template_folder="templates")


@bp.get("/NAME/")
@requires("NAME:use")
def index() -> ResponseReturnValue:
    """Show the first page."""
    return render_template("NAME/index.html")
'''
PAGE = """{% extends "base.html" %}
{% block title %}TITLE{% endblock %}
{% block main %}
<h1>TITLE</h1>
<div class="empty">{{ icon('info-circle', 40) }}<p class="mb-0">There is nothing here yet.</p></div>
{% endblock %}
"""
TESTS = '''"""NAME as its users meet it."""

from __future__ import annotations

from typing import Any


def test_a_member_sees_the_page_and_its_place_in_the_navigation(anna: Any) -> None:
    page = anna.get("/NAME/")
    assert page.status_code == 200
    assert 'href="/NAME/"' in page.get_data(as_text=True)


def test_a_stranger_is_asked_to_sign_in(client: Any) -> None:
    answer = client.get("/NAME/")
    assert answer.status_code == 302
    assert answer.location == "/auth/login?next=/NAME/"
'''
