"""API keys and access tokens: made once, listed without their secret, refused as soon as they are over."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine

from microsite.auth.services import disable
from microsite.core.clock import now
from microsite.core.db import atomic, db
from tests.conftest import PASSWORD, form_token

from .steps import bearer, get_token, member, post_form

KEYS = "/api/v1/keys"


@pytest.fixture
def token(app: Any, make_user: Callable[..., str]) -> dict[str, str]:
    """Headers with an access token of anna."""
    make_user("anna")
    return bearer(get_token(app.test_client(), "anna").json["access_token"])


def basic(username: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}


def status_of(app: Any, headers: dict[str, str], path: str = "/api/v1/me") -> int:
    return int(app.test_client().get(path, headers=headers).status_code)


def test_key_is_shown_once_and_listed_without_its_secret(app: Any, token: dict[str, str]) -> None:
    client = app.test_client()
    made = client.post(KEYS, json={"name": "backup"}, headers=token)
    assert made.status_code == 201
    key = made.json["key"]
    assert len(key) >= 43
    assert made.json["expires_at"] is None
    listed = client.get(KEYS, headers=token)
    assert listed.json["next_cursor"] is None
    (item,) = listed.json["items"]
    assert item == {name: value for name, value in made.json.items() if name != "key"}
    assert key not in listed.get_data(as_text=True)
    assert client.get("/api/v1/me", headers=bearer(key)).json["username"] == "anna"
    used = client.get(KEYS, headers=token).json["items"][0]["used_at"]
    assert used.endswith("Z")


def test_secret_of_a_key_stands_nowhere(app: Any, token: dict[str, str], instance: Any) -> None:
    from microsite.auth.models import ApiKey

    key = app.test_client().post(KEYS, json={"name": "backup"}, headers=token).json["key"]
    assert status_of(app, bearer(key)) == 200
    with app.app_context():
        assert all(key not in str(vars(row)) for row in db.session.query(ApiKey))
    for file in instance.rglob("*"):
        assert not file.is_file() or key.encode() not in file.read_bytes(), file


def test_deleted_key_is_refused_on_the_next_request(app: Any, token: dict[str, str]) -> None:
    client = app.test_client()
    made = client.post(KEYS, json={"name": "backup"}, headers=token).json
    assert status_of(app, bearer(made["key"])) == 200
    assert client.delete(f"{KEYS}/{made['id']}", headers=token).status_code == 204
    assert status_of(app, bearer(made["key"])) == 401
    assert client.delete(f"{KEYS}/{made['id']}", headers=token).status_code == 404


def test_nobody_deletes_or_sees_the_key_of_somebody_else(
    app: Any, token: dict[str, str], make_key: Callable[..., dict[str, str]]
) -> None:
    client, bob = app.test_client(), make_key("bob")
    made = client.post(KEYS, json={"name": "backup"}, headers=token).json
    assert client.delete(f"{KEYS}/{made['id']}", headers=bob).status_code == 404
    assert made["id"] not in client.get(KEYS, headers=bob).get_data(as_text=True)
    assert status_of(app, bearer(made["key"])) == 200


def test_key_is_made_and_deleted_on_the_page(app: Any, anna: Any) -> None:
    made = post_form(anna, "/account/keys", page="/account/", name="my <telephone>", expires_in="2592000")
    assert made.status_code == 201
    page = made.get_data(as_text=True)
    (key,) = re.findall(r'id="key" value="([^"]+)"', page)
    assert "my &lt;telephone&gt;" in page
    assert status_of(app, bearer(key)) == 200
    again = anna.get("/account/").get_data(as_text=True)
    assert key not in again
    (delete,) = set(re.findall(r'action="(/account/keys/[^"]+/delete)"', again))
    assert post_form(anna, delete, page="/account/").status_code == 303
    assert status_of(app, bearer(key)) == 401
    assert post_form(anna, "/account/keys", page="/account/", name="", expires_in="").status_code == 422
    assert post_form(anna, "/account/keys", page="/account/", name="x", expires_in="1").status_code == 422


def test_a_key_needs_the_password_where_the_sign_in_is_not_recent(app: Any, anna: Any) -> None:
    with time_machine.travel(now()) as clock:
        assert "Asked for once more" not in anna.get("/account/").get_data(as_text=True)
        clock.shift(timedelta(minutes=16))
        page = anna.get("/account/")
        assert "Asked for once more" in page.get_data(as_text=True)
        proof = {"X-CSRFToken": form_token(page)}
        answer = anna.post(KEYS, json={"name": "x"}, headers=proof)
        assert (answer.status_code, answer.json["code"]) == (403, "recent_sign_in")
        for current in ("", "a wrong password"):
            fields = {"name": "x", "expires_in": "", "current": current}
            refused = post_form(anna, "/account/keys", page="/account/", **fields)
            assert refused.status_code == 422
            assert "This is not your present password." in refused.get_data(as_text=True)
        assert anna.get(KEYS).json["items"] == []
        made = post_form(anna, "/account/keys", page="/account/", name="x", expires_in="", current=PASSWORD)
        assert made.status_code == 201
        token = bearer(get_token(app.test_client(), "anna").json["access_token"])
        assert app.test_client().post(KEYS, json={"name": "y"}, headers=token).status_code == 201


@pytest.mark.parametrize("name", ["anna", "ANNA"])
def test_key_works_as_password_of_basic_auth(
    app: Any, make_key: Callable[..., dict[str, str]], name: str
) -> None:
    key = make_key("anna")["Authorization"].removeprefix("Bearer ")
    assert status_of(app, basic(name, key)) == 200


@pytest.mark.parametrize(
    "headers",
    [
        basic("anna", PASSWORD), basic("bob", "KEY"), basic("", "KEY"), basic("anna", ""), basic("anna", "mst_" + "x" * 43),
        bearer("mst_" + "x" * 43), bearer("x.y.z"), bearer("mst_ü"), {"Authorization": "Bearer"}, {"Authorization": "Basic !"},
        {"Authorization": "Digest KEY"}, {"Authorization": "KEY"}, {"X-API-Key": "KEY"},
    ],
    ids=str,
)  # fmt: skip
def test_other_credentials_are_refused(
    app: Any, make_key: Callable[..., dict[str, str]], headers: dict[str, str]
) -> None:
    key = make_key("anna")["Authorization"].removeprefix("Bearer ")
    make_key("bob")
    if headers in (basic("bob", "KEY"), basic("", "KEY")):
        headers = basic("bob" if headers == basic("bob", "KEY") else "", key)
    headers = {name: value.replace("KEY", key).encode().decode("latin-1") for name, value in headers.items()}
    answer = app.test_client().get("/api/v1/me", headers=headers)
    assert answer.status_code == 401
    assert answer.mimetype == "application/problem+json"


def test_key_in_the_address_is_refused(app: Any, make_key: Callable[..., dict[str, str]]) -> None:
    key = make_key("anna")["Authorization"].removeprefix("Bearer ")
    for name in ("key", "api_key", "token", "access_token"):
        assert status_of(app, {}, f"/api/v1/me?{name}={key}") in (401, 422)


def test_key_opens_no_pages_and_makes_no_session(app: Any, make_key: Callable[..., dict[str, str]]) -> None:
    headers = make_key("anna")
    assert status_of(app, headers, "/account/") == 302
    assert "Set-Cookie" not in app.test_client().get("/api/v1/me", headers=headers).headers


# --- scopes and ends -------------------------------------------------------------------------------------------------


def test_scopes_restrict_a_key(app: Any, token: dict[str, str]) -> None:
    client = app.test_client()
    made = client.post(KEYS, json={"name": "reader", "scopes": ["account:manage"]}, headers=token)
    assert made.status_code == 201
    headers = bearer(made.json["key"])
    assert status_of(app, headers) == 200
    assert status_of(app, headers, KEYS) == 200
    refused = client.get("/api/v1/files", headers=headers)
    assert (refused.status_code, refused.json["code"]) == (403, "forbidden")
    assert status_of(app, token, "/api/v1/files") == 200
    for body in ({"name": "more"}, {"name": "more", "scopes": ["account:manage"]}):
        assert client.post(KEYS, json=body, headers=headers).status_code == 403


def test_key_with_other_scopes_does_not_manage_the_account(
    app: Any, make_key: Callable[..., dict[str, str]]
) -> None:
    with app.app_context():
        others = sorted(set(app.extensions["microsite"].permissions) - {"account:manage"})
    headers = make_key("anna", scopes=others)
    assert status_of(app, headers) == 200
    assert status_of(app, headers, "/api/v1/files") == 200
    assert status_of(app, headers, KEYS) == 403
    assert app.test_client().post(KEYS, json={"name": "more"}, headers=headers).status_code == 403
    assert app.test_client().delete(f"{KEYS}/x", headers=headers).status_code == 403


def test_scopes_never_give_more_than_the_role(app: Any, make_key: Callable[..., dict[str, str]]) -> None:
    headers = make_key("gast", role="guest", scopes=["files:use", "account:manage"])
    answer = app.test_client().put("/api/v1/upload/x.txt", data=b"x", headers=headers)
    assert answer.status_code == 403


def test_key_ends_when_it_said(app: Any, token: dict[str, str]) -> None:
    made = app.test_client().post(KEYS, json={"name": "brief", "expires_in": 60}, headers=token).json
    with time_machine.travel(now()) as clock:
        assert status_of(app, bearer(made["key"])) == 200
        clock.shift(timedelta(seconds=61))
        assert status_of(app, bearer(made["key"])) == 401


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"), ({"name": ""}, "name"), ({"name": "x" * 81}, "name"), ({"name": "a\nb"}, "name"), ({"name": "\ud800"}, "name"), ({"name": 5}, "name"),
        ({"name": "x", "scopes": ["nothing:such"]}, "scopes"), ({"name": "x", "scopes": []}, "scopes"), ({"name": "x", "scopes": "files:read"}, "scopes"),
        ({"name": "x", "expires_in": 0}, "expires_in"), ({"name": "x", "expires_in": -5}, "expires_in"), ({"name": "x", "expires_in": 10**12}, "expires_in"),
        ({"name": "x", "expires_in": "60"}, "expires_in"), ({"name": "x", "expires_in": 60.5}, "expires_in"),
        ({"name": "x", "role": "admin"}, "role"), ({"name": "x", "user_id": 1}, "user_id"),
    ],
    ids=ascii,
)  # fmt: skip
def test_wrong_and_unknown_fields_are_named(
    app: Any, token: dict[str, str], body: dict[str, Any], field: str
) -> None:
    answer = app.test_client().post(KEYS, json=body, headers=token)
    assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")
    assert any(name.partition(".")[0] == field for name in answer.json["errors"])
    assert app.test_client().get(KEYS, headers=token).json["items"] == []


def test_unknown_query_parameters_are_refused(app: Any, token: dict[str, str]) -> None:
    answer = app.test_client().get(f"{KEYS}?admin=1", headers=token)
    assert (answer.status_code, list(answer.json["errors"])) == (422, ["admin"])


def test_other_bodies_are_refused(app: Any, token: dict[str, str]) -> None:
    client = app.test_client()
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
    ):
        for address in (KEYS, "/api/v1/token"):
            answer = client.post(address, data=b'{"name": "x"}', content_type=kind, headers=token)
            assert (answer.status_code, answer.json["code"]) == (415, "type_not_allowed"), (kind, address)
    for body in (b"{", b"[", b'{"name": "x"', b"\xff"):
        answer = client.post(KEYS, data=body, content_type="application/json", headers=token)
        assert (answer.status_code, answer.json["code"]) == (400, "bad_request"), body
    for body in (b"", b"[]", b"null", b'"x"', b"5"):
        answer = client.post(KEYS, data=body, content_type="application/json", headers=token)
        assert answer.status_code in (400, 422), body
    assert client.get(KEYS, headers=token).json["items"] == []


# --- access tokens ---------------------------------------------------------------------------------------------------


def test_token_says_what_it_is_and_ends_after_a_quarter_of_an_hour(
    app: Any, make_user: Callable[..., str]
) -> None:
    make_user("anna")
    with time_machine.travel(now()) as clock:
        answer = get_token(app.test_client(), "anna")
        assert answer.status_code == 200
        assert {"token_type": "Bearer", "expires_in": 900}.items() <= answer.json.items()
        assert "Set-Cookie" not in answer.headers
        headers = bearer(answer.json["access_token"])
        clock.shift(timedelta(minutes=14))
        assert status_of(app, headers) == 200
        clock.shift(timedelta(minutes=2))
        assert status_of(app, headers) == 401


def test_token_dies_by_delete_and_no_other_does(app: Any, token: dict[str, str]) -> None:
    client = app.test_client()
    other = bearer(get_token(client, "anna").json["access_token"])
    assert client.delete("/api/v1/token", headers=token).status_code == 204
    assert status_of(app, token) == 401
    assert client.delete("/api/v1/token", headers=token).status_code == 401
    assert status_of(app, other) == 200


def test_deleting_a_token_needs_one(app: Any, make_key: Callable[..., dict[str, str]]) -> None:
    assert app.test_client().delete("/api/v1/token", headers=make_key("anna")).status_code == 404


def test_disabling_refuses_keys_and_tokens_and_enabling_revives_keys_only(
    app: Any, token: dict[str, str], make_key: Callable[..., dict[str, str]]
) -> None:
    from microsite.auth.services import enable

    key = make_key("anna")
    with app.app_context(), atomic():
        disable(member("anna"))
    assert [status_of(app, key), status_of(app, token)] == [401, 401]
    with app.app_context(), atomic():
        enable(member("anna"))
    assert [status_of(app, key), status_of(app, token)] == [200, 401]


def test_tampered_tokens_are_refused(app: Any, token: dict[str, str]) -> None:
    import jwt

    good = token["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(good, options={"verify_signature": False})
    none = jwt.encode(claims, None, algorithm="none")
    other = jwt.encode(claims, b"x" * 32, algorithm="HS256")
    secret = jwt.encode(claims, app.config["SECRET_KEY"].encode(), algorithm="HS256")
    head, body, tail = good.split(".")
    for bad in (none, other, secret, f"{head}.{body}.", f"{head}.{body}.{tail[::-1]}", good + "x", good[:-4]):
        assert status_of(app, bearer(bad)) == 401
    assert status_of(app, token) == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": "anna"},
        {"username": "anna", "password": ""},
        {"username": "anna", "password": 5},
        {"username": "anna", "password": "x" * 1025},
        {"username": "anna", "password": PASSWORD, "role": "admin"},
    ],
    ids=str,
)
def test_token_request_is_checked(app: Any, make_user: Callable[..., str], body: dict[str, Any]) -> None:
    make_user("anna")
    answer = app.test_client().post("/api/v1/token", json=body)
    assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")


# --- the browser's session at the API --------------------------------------------------------------------------------


def test_session_reads_freely_and_writes_with_the_form_token(anna: Any) -> None:
    page = anna.get("/account/")
    assert anna.get("/api/v1/me").json["username"] == "anna"
    refused = anna.post(KEYS, json={"name": "x"})
    assert (refused.status_code, refused.json["code"]) == (400, "csrf_failed")
    assert anna.post(KEYS, json={"name": "x"}, headers={"X-CSRFToken": "made up"}).status_code == 400
    assert anna.get(KEYS).json["items"] == []
    (meta,) = re.findall(r'<meta name="csrf-token" content="([^"]+)"', page.get_data(as_text=True))
    for proof in (meta, form_token(page)):
        assert anna.post(KEYS, json={"name": "x"}, headers={"X-CSRFToken": proof}).status_code == 201


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
    ids=str,
)
def test_session_does_not_write_for_another_site(anna: Any, headers: dict[str, str]) -> None:
    proof = form_token(anna.get("/account/"))
    assert anna.post(KEYS, json={"name": "x"}, headers={"X-CSRFToken": proof} | headers).status_code == 400
    assert anna.get(KEYS).json["items"] == []


def test_form_token_of_somebody_else_is_refused(app: Any, anna: Any, make_user: Callable[..., str]) -> None:
    from .steps import signed_in_client

    make_user("bob")
    foreign = form_token(signed_in_client(app, "bob").get("/account/"))
    assert anna.post(KEYS, json={"name": "x"}, headers={"X-CSRFToken": foreign}).status_code == 400
    fields = {"csrf_token": foreign, "name": "eve", "about": ""}
    assert anna.post("/account/details", data=fields).status_code == 400
    assert anna.post("/account/details", data={"name": "eve", "about": ""}).status_code == 400
