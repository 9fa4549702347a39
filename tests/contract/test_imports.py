"""Who may import whom, who commits, and how light a bare import is."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.imports import trespasses
from tests.contract.walk import SOURCE, called_name, calls, python_files, where

OWN_TRANSACTION = {"core/sessions.py", "core/realtime.py", "auth/credentials.py"}
"""Where `engine.begin()` writes the moment of a visit, outside the request's own transaction."""


def test_nobody_trespasses() -> None:
    found = trespasses(SOURCE)
    assert not found, "imports that break the rule of the house:\n" + "\n".join(found)


BAD = [
    ("core/exceptions.py", "import flask"),
    ("core/exceptions.py", "from microsite.core.clock import now"),
    ("core/clock.py", "from sqlalchemy import text"),
    ("config.py", "import flask"),
    ("config.py", "from microsite.core import clock"),
    ("extensions.py", "from microsite.core.db import Base"),
    ("extensions.py", "from .core import db"),
    ("core/db.py", "from microsite.files import models"),
    ("core/db.py", "from microsite import files"),
    ("core/db.py", "def f():\n    from ..files.models import StoredFile"),
    ("core/db.py", "from microsite.app import create_app"),
    ("core/db.py", "from importlib import import_module\nimport_module('microsite.files')"),
    ("files/views.py", "from microsite.links import services"),
    ("files/views.py", "import microsite.links.services"),
    ("files/views.py", "from microsite import links"),
    ("files/views.py", "from ..links import services"),
    ("files/views.py", "from .. import links"),
    ("files/views.py", "def f():\n    from ..links.services import claim"),
    ("files/views.py", "from ..core import db"),
    ("files/views.py", "from microsite.files import models"),
    ("files/views.py", "from microsite.app import create_app"),
    ("files/views.py", "from microsite.cli import main"),
    ("files/views.py", "import importlib\nimportlib.import_module('microsite.links')"),
    ("files/deep/more.py", "from ...links import services"),
    ("client/http.py", "from microsite.core.exceptions import human_size"),
    ("client/http.py", "import flask"),
    ("client/http.py", "from ..config import load"),
]
GOOD = [
    ("core/exceptions.py", "from __future__ import annotations\nfrom collections.abc import Mapping"),
    ("config.py", "import os\nfrom dotenv import dotenv_values"),
    ("extensions.py", "from flask_mail import Mail\nfrom sqlalchemy import MetaData"),
    (
        "core/db.py",
        "from flask import Flask\nfrom microsite.extensions import db\nfrom microsite.core.clock import now",
    ),
    ("core/db.py", "from microsite import __version__, config"),
    (
        "files/views.py",
        "from flask import Blueprint\nfrom microsite.core.db import atomic\nfrom . import services",
    ),
    (
        "files/views.py",
        "from .models import StoredFile\nfrom microsite.core import clock\nfrom microsite import config",
    ),
    (
        "files/deep/more.py",
        "from .. import services\nfrom ..models import StoredFile\nfrom .other import thing",
    ),
    ("app.py", "from microsite.files import feature\nfrom microsite.core import db"),
    ("cli/user.py", "from microsite.auth.services import create_user"),
    ("client/http.py", "import json\nfrom .errors import ClientError\nfrom microsite import __version__"),
]


def plant(root: Path, name: str, code: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code, encoding="utf-8")


@pytest.mark.parametrize(("name", "code"), BAD)
def test_the_checker_finds_a_trespass(tmp_path: Path, name: str, code: str) -> None:
    plant(tmp_path, name, code)
    found = trespasses(tmp_path)
    assert len(found) == 1, found
    assert found[0].startswith(f"{name}:")


@pytest.mark.parametrize(("name", "code"), GOOD)
def test_the_checker_lets_the_lawful_pass(tmp_path: Path, name: str, code: str) -> None:
    plant(tmp_path, name, code)
    assert trespasses(tmp_path) == []


def test_commit_stands_in_the_kernel_s_database_alone() -> None:
    for path in python_files():
        if path == SOURCE / "core" / "db.py":
            continue
        for call in calls(path):
            assert called_name(call) != "commit", (
                f"{where(path, call)}: let the edge commit; use `with atomic():`"
            )


def test_transactions_beside_the_request_s_are_the_known_ones() -> None:
    found = {
        path.relative_to(SOURCE).as_posix()
        for path in python_files()
        for call in calls(path)
        if called_name(call) == "begin" and "engine" in ast.unparse(call.func)
    }
    assert found == OWN_TRANSACTION, (
        "write inside `with atomic():`; engine.begin() is for the moment of a visit only"
    )


LIGHT = ["microsite"] + (["microsite.client"] if (SOURCE / "client").is_dir() else [])
LOADED = (
    "import importlib, json, sys; importlib.import_module(sys.argv[1]); print(json.dumps(list(sys.modules)))"
)


@pytest.mark.parametrize("module", LIGHT)
def test_a_bare_import_loads_no_server(module: str) -> None:
    done = subprocess.run([sys.executable, "-c", LOADED, module], check=True, capture_output=True, text=True)
    heavy = {name.partition(".")[0] for name in json.loads(done.stdout)} & {
        "flask",
        "sqlalchemy",
        "werkzeug",
        "socketio",
    }
    assert not heavy, (
        f"import {module} loads {sorted(heavy)}; import them inside the function that needs them"
    )
