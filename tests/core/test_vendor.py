"""What the build makes of the browser libraries: the kept components of Bootstrap, and the icons."""

from __future__ import annotations

import re

import pytest

from microsite.core.pages import ICONS, icon
from tests.contract.walk import SOURCE

STYLES = (SOURCE / "static" / "vendor" / "bootstrap.min.css").read_text("utf-8")
PROMISED = (
    "lead img-fluid container row col-md-6 table form-control form-select form-check form-text input-group "
    "invalid-feedback btn btn-primary btn-outline-secondary btn-lg card pagination badge alert alert-danger "
    "progress list-group visually-hidden d-flex flex-column gap-2 mb-3 mx-auto p-2 w-100 text-center fw-bold"
).split()


@pytest.mark.parametrize("name", PROMISED)
def test_what_contributing_promises_is_there(name: str) -> None:
    assert re.search(rf"\.{name}\b(?!-)", STYLES), f"bootstrap.scss no longer brings .{name}"


def test_it_is_bootstrap_by_component() -> None:
    for name in ("modal", "carousel", "offcanvas", "navbar", "tooltip"):
        assert f".{name}" not in STYLES, f"leave {name} out of bootstrap.scss, or use it"
    assert len(STYLES) < 140_000


def test_every_icon_is_drawn(app: object) -> None:
    with app.app_context():  # type: ignore[attr-defined]
        assert all("<path" in icon(name) for name in ICONS)
