"""What a feature shows lies below its own name, and names nothing of another feature."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from microsite.app import known_features
from tests.contract.walk import SOURCE, called_name, calls, feature_folders, where

FOLDERS = feature_folders()
SHELL = {
    path.relative_to(SOURCE / "templates").as_posix()
    for path in (SOURCE / "templates").rglob("*")
    if path.is_file()
}
OPEN_ENDPOINTS = ("home", "static")
NAMES = [feature.name for feature in known_features()]


def files_below(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
@pytest.mark.parametrize("kind", ["templates", "static"])
def test_files_lie_below_the_feature_s_own_name(folder: Path, kind: str) -> None:
    strays = [
        p.relative_to(SOURCE).as_posix()
        for p in files_below(folder / kind)
        if folder.name not in p.relative_to(folder / kind).parts[:-1][:1]
    ]
    assert not strays, (
        f"move these below {folder.name}/{kind}/{folder.name}/, or another feature may hide them: {strays}"
    )


def test_the_shell_holds_nothing_of_a_feature() -> None:
    taken = {name.partition("/")[0] for name in SHELL} & set(NAMES)
    assert not taken, f"src/microsite/templates/ is the shell only; move {sorted(taken)} into their features"


def named_templates(folder: Path) -> list[tuple[str, str]]:
    """(place, template) for every template that a feature names by a constant."""
    found = []
    for path in files_below(folder):
        if path.suffix == ".py":
            for call in calls(path):
                first = call.args[0] if call.args else None
                if called_name(call) in ("render_template", "get_template") and isinstance(
                    first, ast.Constant
                ):
                    found.append((where(path, call), str(first.value)))
        elif "templates" in path.parts:
            text = path.read_text("utf-8")
            names = re.findall(r"{%-?\s*(?:extends|include|import|from)\s+[\"']([^\"']+)", text)
            found += [(path.relative_to(SOURCE).as_posix(), name) for name in names]
    return found


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_feature_names_its_own_templates_and_the_shell_s(folder: Path) -> None:
    for place, name in named_templates(folder):
        assert name.startswith(f"{folder.name}/") or name in SHELL, (
            f"{place}: {name} belongs to neither {folder.name} nor the shell"
        )
        assert name in SHELL or (folder / "templates" / name).is_file(), (
            f"{place}: there is no template {name}"
        )


def named_endpoints(path: Path) -> list[str]:
    return re.findall(r"url_for\(\s*[\"']([^\"']+)[\"']", path.read_text("utf-8"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_feature_names_no_endpoint_of_a_sibling(folder: Path) -> None:
    own = (f"{folder.name}.", f"api.{folder.name}.", ".")
    for path in files_below(folder):
        if path.suffix not in (".py", ".html", ".txt"):
            continue
        for endpoint in named_endpoints(path):
            assert endpoint.startswith(own) or endpoint in OPEN_ENDPOINTS, (
                f"{path.relative_to(SOURCE)}: {endpoint} is a sibling's and fails without it; use a capability"
            )


def test_the_shell_and_the_kernel_name_no_endpoint_of_a_feature() -> None:
    for path in [*files_below(SOURCE / "templates"), *sorted((SOURCE / "core").rglob("*.py"))]:
        strays = [endpoint for endpoint in named_endpoints(path) if endpoint not in OPEN_ENDPOINTS]
        assert not strays, (
            f"{path.relative_to(SOURCE)}: {strays} belong to features; take them from the configuration"
        )
