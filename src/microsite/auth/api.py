"""JSON resources: access tokens, the signed-in member, API keys."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint
from flask import g
from flask.typing import ResponseReturnValue
from flask_login import current_user

from microsite.core import sessions
from microsite.core.access import by_credential, public, requires, signed_in, without_csrf
from microsite.core.db import atomic, db
from microsite.core.document import describe
from microsite.core.exceptions import (
    Forbidden,
    NotFound,
    RateLimited,
    RecentSignInNeeded,
    Unauthorized,
)
from microsite.core.paging import listed
from microsite.core.schemas import PageQuery
from microsite.core.sessions import SessionRow, client_address
from microsite.core.throttle import address_key

from . import access_tokens, credentials, services
from .models import ApiKey
from .schemas import ClaimsOutput, KeyInput, KeysOutput, MeOutput, NewKeyOutput, TokenInput, TokenOutput

TAG = {"name": "Who", "description": "Access tokens, API keys, and whose they are."}
api = APIBlueprint("auth", __name__, tag=TAG)


def key_json(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.public_id, "name": key.name, "hint": key.hint, "scopes": key.scope_list,
        "created_at": key.created_at, "expires_at": key.expires_at, "used_at": key.used_at,
    }  # fmt: skip


@api.post("/token")
@public
@without_csrf("it needs the password, and opens no browser session")
@describe(Unauthorized, Forbidden, RateLimited)
@api.input(TokenInput)
@api.output(TokenOutput)
def create_token(json_data: dict[str, Any]) -> Any:
    """Exchange name and password for an access token: of 15 minutes, or of as many seconds as asked for."""
    user = services.verify(json_data["username"], json_data["password"], address_key(client_address()))
    login_id = user.login_id
    with atomic():
        token = access_tokens.issue_token(user, login_id, json_data["expires_in"])
    return {"access_token": token, "token_type": "Bearer", "expires_in": json_data["expires_in"]}


@api.get("/token")
@signed_in
@describe(NotFound)
@api.output(ClaimsOutput)
def get_token() -> Any:
    """The claims of the access token that this is called with."""
    if g.get("credential") != "token":
        raise NotFound("This shows the access token that it is called with; it was called without one.")
    return g.token_claims


@api.delete("/token")
@signed_in
@describe(NotFound)
@api.output({}, status_code=204)
def delete_token() -> ResponseReturnValue:
    """End the access token that this is called with."""
    if g.get("credential") != "token":
        raise NotFound("This ends the access token that it is called with; it was called without one.")
    with atomic():
        row = db.session.get(SessionRow, g.token_row_id)
        if row is not None:
            db.session.delete(row)
    return ""


@api.get("/me")
@signed_in
@api.output(MeOutput)
def me() -> Any:
    """The member whose credential this is."""
    return {
        "username": current_user.username, "name": current_user.name, "about": current_user.about,
        "email": current_user.email, "role": current_user.role, "created_at": current_user.created_at,
    }  # fmt: skip


@api.get("/keys")
@requires("account:manage")
@api.input(PageQuery, location="query")
@api.output(KeysOutput)
def list_keys(query_data: dict[str, Any]) -> Any:
    """The member's API keys, newest first, without their secrets."""
    page = credentials.keys_page(current_user, query_data["limit"], query_data["cursor"])
    return listed(page, [key_json(key) for key in page.items], limit=query_data["limit"])


@api.post("/keys")
@requires("account:manage")
@api.input(KeyInput)
@api.output(NewKeyOutput, status_code=201)
def create_key(json_data: dict[str, Any]) -> Any:
    """Make an API key; `key` is shown this once. A browser session must be of a recent sign-in."""
    if not by_credential() and not sessions.is_recent():
        raise RecentSignInNeeded()
    with atomic():
        secret, key = credentials.create_key(
            current_user, json_data["name"], json_data["scopes"], json_data["expires_in"]
        )
        return key_json(key) | {"key": secret}


@api.delete("/keys/<key_id>")
@requires("account:manage")
@api.output({}, status_code=204)
def delete_key(key_id: str) -> ResponseReturnValue:
    """Delete an API key; it is refused from the next request on."""
    with atomic():
        credentials.delete_key(current_user, key_id)
    return ""
