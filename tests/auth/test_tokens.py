"""Access tokens: what they say, how long they live, and the words with which they are refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
import time_machine

from microsite.core.clock import now
from tests.conftest import PASSWORD

from .steps import bearer, get_token

BASE = "http://127.0.0.1:8000"


@pytest.fixture
def token(app: Any, make_user: Callable[..., str]) -> str:
    make_user("anna")
    return str(get_token(app.test_client(), "anna").json["access_token"])


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def signed(app: Any, claims: dict[str, Any]) -> dict[str, str]:
    """Whatever claims, signed with the site's key; `jwt.encode` would refuse some of them."""
    from microsite.auth.access_tokens import _signing_key

    with app.app_context():
        return bearer(jwt.PyJWS().encode(json.dumps(claims).encode(), _signing_key(), "HS256"))


def challenge(app: Any, headers: dict[str, str]) -> str:
    answer = app.test_client().get("/api/v1/me", headers=headers)
    assert (answer.status_code, answer.json["code"]) == (401, "unauthorized")
    return str(answer.headers["WWW-Authenticate"])


def test_its_claims(app: Any, token: str) -> None:
    claims = claims_of(token)
    assert claims["iss"] == BASE
    assert claims["aud"] == f"{BASE}/api"
    assert claims["exp"] == claims["iat"] + 900
    assert claims["username"] == "anna"
    assert set(claims) == {"iss", "aud", "sub", "jti", "iat", "exp", "username"}
    shown = app.test_client().get("/api/v1/token", headers=bearer(token))
    assert (shown.status_code, shown.json) == (200, claims)


def test_a_key_has_no_claims(app: Any, make_key: Callable[..., dict[str, str]]) -> None:
    assert app.test_client().get("/api/v1/token", headers=make_key("anna")).status_code == 404


@pytest.mark.parametrize("life", [60, 86_400])
def test_it_lives_as_long_as_asked_for(app: Any, make_user: Callable[..., str], life: int) -> None:
    make_user("anna")
    body = {"username": "anna", "password": PASSWORD, "expires_in": life}
    with time_machine.travel(now().replace(microsecond=0), tick=False) as clock:
        made = app.test_client().post("/api/v1/token", json=body)
        assert made.json["expires_in"] == life
        headers = bearer(made.json["access_token"])
        clock.shift(timedelta(seconds=life - 1))
        assert app.test_client().get("/api/v1/me", headers=headers).status_code == 200
        clock.shift(timedelta(seconds=1))
        assert challenge(app, headers) == 'Bearer error="invalid_token", error_description="expired"'


@pytest.mark.parametrize("life", [59, 86_401, 0, -1, 60.5, "900", True, None])
def test_no_other_life_can_be_asked_for(app: Any, make_user: Callable[..., str], life: object) -> None:
    make_user("anna")
    body = {"username": "anna", "password": PASSWORD, "expires_in": life}
    assert app.test_client().post("/api/v1/token", json=body).status_code == 422


PAST = 1_000_000_000
REFUSED = [
    ({"exp": PAST}, "expired"),
    ({"exp": PAST, "iss": "x", "aud": "x", "jti": "x"}, "expired"),
    ({"iss": "https://other.example"}, "issuer"),
    ({"iss": None, "aud": "x"}, "issuer"),
    ({"iss": [BASE]}, "issuer"),
    ({"aud": f"{BASE}/"}, "audience"),
    ({"aud": [f"{BASE}/api"]}, "audience"),
    ({"aud": None, "jti": "x"}, "audience"),
    ({"jti": "made-up"}, "revoked"),
    ({"sub": "made-up"}, "revoked"),
    ({"exp": 9e9}, ""),
    ({"exp": 9_000_000_000.5}, ""),
    ({"exp": "9000000000"}, ""),
    ({"exp": True}, ""),
    ({"exp": None}, ""),
    ({"iat": float(PAST)}, ""),
    ({"iat": 9_000_000_000}, ""),
    ({"iat": None}, ""),
    ({"sub": 1}, ""),
    ({"jti": ["x"]}, ""),
    ({"jti": None}, ""),
]


@pytest.mark.parametrize(("changed", "reason"), REFUSED, ids=str)
def test_every_claim_is_checked_by_type_and_value(
    app: Any, token: str, changed: dict[str, Any], reason: str
) -> None:
    claims = {name: value for name, value in (claims_of(token) | changed).items() if value is not None}
    description = f', error_description="{reason}"' if reason else ""
    assert challenge(app, signed(app, claims)) == f'Bearer error="invalid_token"{description}'


def test_an_unchanged_token_signed_here_is_good(app: Any, token: str) -> None:
    assert app.test_client().get("/api/v1/me", headers=signed(app, claims_of(token))).status_code == 200


def test_nothing_is_told_before_the_signature_holds(app: Any, token: str) -> None:
    claims = claims_of(token) | {"exp": PAST}
    for headers in (
        bearer(jwt.encode(claims, b"x" * 32, "HS256")),
        bearer(jwt.encode(claims, None, "none")),
        bearer("x.y.z"),
        bearer("nonsense"),
    ):
        assert challenge(app, headers) == 'Bearer error="invalid_token"'


def test_an_ended_token_says_so(app: Any, token: str) -> None:
    assert app.test_client().delete("/api/v1/token", headers=bearer(token)).status_code == 204
    assert challenge(app, bearer(token)) == 'Bearer error="invalid_token", error_description="revoked"'


def test_without_a_credential_the_challenge_names_no_error(app: Any) -> None:
    assert challenge(app, {}) == 'Bearer realm="microsite"'


@pytest.mark.parametrize("scheme", ["bearer", "basic"])
def test_a_wrong_key_says_so(app: Any, make_user: Callable[..., str], scheme: str) -> None:
    make_user("anna")
    basic = base64.b64encode(b"anna:mst_wrong").decode()
    headers = bearer("mst_wrong") if scheme == "bearer" else {"Authorization": f"Basic {basic}"}
    answer = app.test_client().get("/api/v1/me", headers=headers)
    assert (answer.status_code, answer.json["code"]) == (401, "unauthorized")
    assert answer.json["detail"].startswith("This key is not valid")


def test_a_wrong_credential_closes_no_public_address(app: Any, make_user: Callable[..., str]) -> None:
    make_user("anna")
    body = {"username": "anna", "password": PASSWORD}
    client = app.test_client()
    assert client.post("/api/v1/token", json=body, headers=bearer("mst_wrong")).status_code == 200
    assert client.get("/api/v1/openapi.json", headers=bearer("x")).status_code == 200
    assert client.get("/api/v1/nowhere", headers=bearer("x")).status_code == 404
