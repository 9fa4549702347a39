"""One door to an object's bytes: every route that gives them is known, and all of them use it."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from tests.conftest import sign_in
from tests.contract.walk import (
    MARKER,
    SOURCE,
    address,
    called_name,
    calls,
    populate,
    python_files,
    rules,
    where,
)

BY_TICKET = {"links.download", "links.download_all", "links.opened"}
GIVE_BYTES = {"files.show", "files.download", "files.raw", "api.files.content"} | BY_TICKET
"""Endpoints that a file's bytes leave by (some as a preview of text); a new one is a new door: mind its policy."""


def endpoints_with_the_bytes(client: Any, values: dict[str, str]) -> set[str]:
    app, found = client.application, set()
    for _, rule in rules(app, "GET"):
        unknown = rule.arguments - set(values)
        assert not unknown - {"row_id"}, (
            f"give populate() in walk.py a real value for {unknown}, which {rule.rule} takes"
        )
        for headers in ({"Accept": "text/html"}, {"Accept": "*/*", "Range": "bytes=0-"}):
            answer = client.get(address(rule, values), headers=headers, buffered=True)
            if MARKER.encode() in answer.get_data():
                found.add(rule.endpoint)
    return found


def test_routes_that_give_bytes(app: Any, anna: Any, make_user: Callable[..., str]) -> None:
    values = populate(anna, make_user)
    assert endpoints_with_the_bytes(anna, values) == GIVE_BYTES, (
        "the set of routes that give a file's bytes has changed"
    )
    make_user("eve", "admin")
    eve = app.test_client()
    assert sign_in(eve, "eve").status_code == 303
    assert endpoints_with_the_bytes(eve, values) == BY_TICKET, (
        "somebody else, an administrator too, got a member's bytes"
    )
    visitor = app.test_client()
    assert endpoints_with_the_bytes(visitor, values) == BY_TICKET, (
        "a visitor got a member's bytes without a ticket"
    )


def callers(name: str) -> set[str]:
    return {
        path.relative_to(SOURCE).as_posix()
        for path in python_files()
        for call in calls(path)
        if called_name(call) == name
    }


def test_the_door_is_used_by_the_files_alone() -> None:
    assert callers("send_object") == {"files/services.py"}, "send bytes by send_file() of files/services.py"
    assert callers("first_bytes") == {"files/views.py", "files/services.py"}, (
        "previews of bytes are the business of files"
    )
    assert callers("_Sending") == {"core/downloads.py"}


def imports(tree: ast.AST, module: str, *names: str) -> bool:
    found = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == module)
    return any(alias.name in names for node in found for alias in node.names)


def test_objects_are_opened_by_the_kernel_alone() -> None:
    for path in python_files():
        if path.relative_to(SOURCE).parts[0] == "core":
            continue
        tree = ast.parse(path.read_text("utf-8"))
        assert not imports(tree, "flask", "send_file", "send_from_directory"), (
            f"{path.relative_to(SOURCE)}: flask's send_file is a second door to bytes; use core.downloads"
        )
        if not imports(tree, "microsite.core.storage", "storage", "LocalStorage"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and called_name(node) in ("open", "path", "read_bytes"):
                raise AssertionError(
                    f"{where(path, node)}: only core opens stored objects; use core.downloads"
                )
