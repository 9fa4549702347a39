"""The OpenAPI document describes the API as it is: every address, every answer, in forms that tools take."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Server, need

METHODS = ("get", "post", "put", "patch", "delete")


def program(name: str) -> str:
    """A program of the test requirements, beside the Python that runs."""
    return need(str(Path(sys.executable).with_name(name)))


@pytest.fixture
def document(app: Any) -> dict[str, Any]:
    found: dict[str, Any] = app.test_client().get("/api/v1/openapi.json").json
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_a_validator_takes_it(document: dict[str, Any], tmp_path: Path) -> None:
    place = tmp_path / "openapi.json"
    place.write_text(json.dumps(document))
    done = subprocess.run(
        [program("openapi-spec-validator"), str(place)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_application_of_a_process_says_the_same(make_app: Callable[..., Any]) -> None:
    first, second = (make_app().test_client().get("/api/v1/openapi.json").json for _ in range(2))
    assert first == second


def test_every_address_of_the_api_is_listed_and_no_page(app: Any, document: dict[str, Any]) -> None:
    listed = {(path, method) for path, method, _ in operations(document)}
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)
        if rule.endpoint.startswith("api.") and not path.endswith("/"):
            for method in {name.lower() for name in rule.methods} & set(METHODS):
                assert (path, method) in listed
    assert {path for path, _ in listed if not path.startswith("/api/v1/")} == {
        "/l/{token}",
        "/l/t/{ticket}/all",
        "/l/t/{ticket}/i/{item_id}",
        "/l/t/{ticket}/send",
        "/l/t/{ticket}/send/{name}",
    }


def test_every_operation_says_who_may_call_it_and_how_it_refuses(app: Any, document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    assert document["servers"] == [{"url": app.config["BASE_URL"]}]
    assert set(document["components"]["securitySchemes"]) == {"bearer", "basic"}
    for path, method, operation in operations(document):
        answers, where = operation["responses"], f"{method} {path}"
        public = path.startswith("/l/") or (path == "/api/v1/token" and method == "post")
        assert operation["security"] == ([] if public else [{"bearer": []}, {"basic": []}]), where
        expected = {"400", "414", "500", "503"}
        expected |= set() if public else {"401"}
        expected |= {"413", "415"} if "requestBody" in operation else set()
        expected |= {"422"} if path.startswith("/api/") else {"410"}
        assert expected <= set(answers), where
        for status in answers:
            if int(status) >= 400:
                name = answers[status]["$ref"].rpartition("/")[2]
                content = document["components"]["responses"][name]["content"]
                assert content["application/problem+json"]["schema"] == {
                    "$ref": "#/components/schemas/Problem"
                }, where


def test_its_forms_are_those_of_openapi_3_1(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    assert '"nullable"' not in text
    assert "\\\\A" not in text
    assert "\\\\Z" not in text
    schemas = document["components"]["schemas"]
    assert schemas["KeyOutput"]["properties"]["used_at"]["type"] == ["string", "null"]
    assert set(schemas["FileOutput"]["required"]) == set(schemas["FileOutput"]["properties"])
    assert "webhook_secret" not in schemas["NewLinkOutput"]["required"]
    body = schemas["MessageInput"]["properties"]["body"]
    assert (body["minLength"], body["maxLength"]) == (1, 10_000)
    assert schemas["MessageInput"]["properties"]["client_id"]["format"] == "uuid"


@pytest.mark.parametrize("refused", ["a\n", "a\x00", "\x85"])
def test_a_pattern_in_the_document_loosens_no_check(app: Any, make_key: Any, refused: str) -> None:
    answer = app.test_client().post("/api/v1/keys", json={"name": refused}, headers=make_key("anna"))
    assert answer.status_code == 422


@pytest.mark.parametrize(("given", "status"), [(60.0, 201), (60.5, 422), ("60", 422), (True, 422)])
def test_a_whole_number_is_one_however_json_writes_it(
    app: Any, make_key: Any, given: object, status: int
) -> None:
    body = {"name": "key", "expires_in": given}
    assert app.test_client().post("/api/v1/keys", json=body, headers=make_key("anna")).status_code == status


@pytest.mark.parametrize("looks_like_it", [0, 1, "true", None])
def test_only_true_and_false_are_flags(app: Any, make_key: Any, looks_like_it: object) -> None:
    body = {"text": "x", "notify": looks_like_it}
    assert app.test_client().post("/api/v1/links", json=body, headers=make_key("anna")).status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/l/t/x/all", 405),
        ("GET", "/l/t/x/send", 405),
        ("GET", "/l/t/x/y", 410),
        ("GET", "/l/t/x/i/", 410),
        ("GET", "/l/t//all", 410),
        ("PUT", "/l/x", 405),
    ],
)
def test_an_address_below_a_ticket_says_which_methods_it_has(
    app: Any, method: str, path: str, status: int
) -> None:
    answer = app.test_client().open(path, method=method, headers={"Accept": "application/json"})
    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"


CASES = os.environ.get("SCHEMATHESIS_CASES", "2")
"""For each operation and phase. CONTRIBUTING says how many are tried before a release."""


def schemathesis(server: Server, *arguments: str) -> str:
    """Run every check against a server; gives what it printed."""
    settings = Path(__file__).with_name("schemathesis.toml")
    done = subprocess.run(
        [
            program("schemathesis"), "--config-file", str(settings), "run", f"{server.url}/api/v1/openapi.json",
            "--checks", "all", "--seed", "1", "--generation-database", "none", "--no-color",
            "--continue-on-failure", *arguments,
        ],
        capture_output=True, text=True, check=False, cwd=server.folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    return done.stdout


@pytest.mark.timeout(3600)
def test_nothing_but_what_the_document_says_comes_back(serve: Any) -> None:
    server = serve()
    headers = server.add("anna")
    made = requests.post(f"{server.url}/api/v1/keys", json={"name": "tests"}, headers=headers, timeout=10)
    key = f"Authorization: Bearer {made.json()['key']}"
    # the key must not delete itself on the way
    print(schemathesis(server, "--header", key, "-n", CASES, "--exclude-operation-id", "auth_delete_key"))
    print(schemathesis(server, "--phases", "fuzzing", "-n", CASES))
    after = requests.get(
        f"{server.url}/api/v1/files", headers={"Authorization": key.partition(" ")[2]}, timeout=10
    )
    assert after.status_code == 200
    assert after.json()["items"], "files were uploaded"
