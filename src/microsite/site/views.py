"""The home page. Panels come from the other features by the capability `home_panel`."""

from __future__ import annotations

from flask import Blueprint, current_app, render_template
from flask.typing import ResponseReturnValue
from flask_login import current_user

from microsite.core.access import public
from microsite.core.feature import registry

bp = Blueprint("site", __name__, template_folder="templates")


@bp.get("/home")
@public
def home() -> ResponseReturnValue:
    """Show what this site is, or the member's own panels."""
    if not current_user.is_authenticated:
        return render_template(
            "site/welcome.html", register_open=current_app.config.get("REGISTRATION") == "open"
        )
    panels = [panel(current_user) for panel in registry().capability("home_panel").values()]
    return render_template("site/home.html", panels=[panel for panel in panels if panel])
