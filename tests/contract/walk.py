"""What the contract tests share: the sources, the addresses of all routes, and a site with something in it."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import microsite
from microsite.app import known_features
from microsite.core.feature import Feature
from microsite.core.identity import Role

SOURCE = Path(microsite.__file__).parent
UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}
JSON = {"Accept": "application/json"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
MARKER = "the bytes of this very file 7d1f0c"
DUMMY = "0"
"""Fits every converter, and names nothing."""


# --- sources ------------------------------------------------------------------------------------------------


def python_files(root: Path = SOURCE) -> list[Path]:
    return sorted(path for path in root.rglob("*.py") if "__pycache__" not in path.parts)


def where(path: Path, node: ast.AST, root: Path = SOURCE) -> str:
    return f"{path.relative_to(root).as_posix()}:{getattr(node, 'lineno', 0)}"


def calls(path: Path) -> Iterator[ast.Call]:
    tree = ast.parse(path.read_text("utf-8"), str(path))
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def called_name(call: ast.Call) -> str:
    """The last name of what is called: `commit` for `db.session.commit()`."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def feature_folders() -> list[Path]:
    """The folder of every feature that is registered."""
    return [SOURCE / feature.name for feature in known_features()]


# --- routes -------------------------------------------------------------------------------------------------


def address(rule: Any, values: dict[str, str] | None = None) -> str:
    """The path of a rule, with a dummy for every name that has no value."""

    def value(match: re.Match[str]) -> str:
        return (values or {}).get(match[1], DUMMY)

    return re.sub(r"<(?:[^<>:]*:)?(\w+)>", value, rule.rule)


def rules(app: Any, *methods: str) -> list[tuple[str, Any]]:
    """(method, rule) of every route that answers one of these methods, in a settled order."""
    found = [
        (method, rule) for rule in app.url_map.iter_rules() for method in methods if method in rule.methods
    ]
    return sorted(found, key=lambda pair: (pair[1].rule, pair[0]))


OF_TOKENS = {"api.auth.get_token"}
"""What is there only for an access token, not for a session."""


def lists(app: Any, role: Role = Role.MEMBER) -> list[str]:
    """Paths of the GET routes that take no value and are open to members of this role."""
    permissions = app.extensions["microsite"].permissions

    def open_to_role(endpoint: str) -> bool:
        access = getattr(app.view_functions[endpoint], "access", None)
        return access is None or not access.permission or permissions[access.permission].rank <= role.rank

    return [
        rule.rule
        for _, rule in rules(app, "GET")
        if not rule.arguments and rule.endpoint not in OF_TOKENS and open_to_role(rule.endpoint)
    ]


def belongs_to(feature: Feature, endpoint: str) -> bool:
    own = [f"{feature.bp.name}."] + ([f"api.{feature.api.name}."] if feature.api else [])
    return endpoint.startswith(tuple(own))


# --- a site with something in it ----------------------------------------------------------------------------


def page_token(client: Any) -> str:
    """The form token of a signed-in member, from the head of a page."""
    found = re.search(
        r'<meta name="csrf-token" content="([^"]+)"', client.get("/account/").get_data(as_text=True)
    )
    assert found, "the base page of a signed-in member must carry <meta name=csrf-token>"
    return found[1]


def populate(client: Any, make_user: Callable[..., str]) -> dict[str, str]:
    """Give the member a file, a link, an open ticket, a room and a key; real values for names in the rules."""
    make_user("bob")
    headers = {"X-CSRFToken": page_token(client)}

    def post(path: str, status: int, **body: Any) -> Any:
        answer = client.post(path, headers=headers, **body)
        assert answer.status_code == status, (
            f"POST {path}: {answer.status_code} {answer.get_data(as_text=True)}"
        )
        return answer.get_json()

    upload = {"file": (io.BytesIO(MARKER.encode()), "note.txt")}
    file = post("/api/v1/files", 201, data=upload)["items"][0]
    link = post("/api/v1/links", 201, json={"files": [file["id"]], "max_uses": None})
    post("/api/v1/links", 201, json={"text": "a note"})
    room = post("/api/v1/rooms", 201, json={"kind": "direct", "with": "bob"})
    key = post("/api/v1/keys", 201, json={"name": "a key"})
    recipient = client.application.test_client()
    token = urlsplit(link["url"]).path.removeprefix("/l/")
    opened = recipient.post(f"/l/{token}", headers=JSON).get_json()
    ticket, item_id = urlsplit(opened["files"][0]["url"]).path.removeprefix("/l/t/").split("/i/")
    return {
        "file_id": file["id"], "link_id": link["id"], "room_id": room["id"], "key_id": key["id"],
        "token": token, "ticket": ticket, "item_id": item_id, "username": "bob", "filename": "base.css", "stamp": "0", "name": "new.txt",
    }  # fmt: skip


def crawl(client: Any, *starts: str, skip: Callable[[str], bool] = lambda path: False) -> dict[str, Any]:
    """Follow every address of this site that a page links to, by GET and HEAD; the GET answers by path."""
    found: dict[str, Any] = {}
    waiting = list(starts)
    while waiting:
        path = waiting.pop()
        if path in found or skip(path):
            continue
        head = client.head(path, buffered=True)
        found[path] = answer = client.get(path, buffered=True)
        assert head.status_code == answer.status_code, (
            f"HEAD {path} is {head.status_code}, GET {answer.status_code}"
        )
        if answer.mimetype == "text/html":
            hrefs = re.findall(r'(?:href|src)="(/[^"#]*)', answer.get_data(as_text=True))
            waiting += [href.replace("&amp;", "&") for href in hrefs]
    return found
