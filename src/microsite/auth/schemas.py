"""Shapes of the account API."""

from __future__ import annotations

from marshmallow import validate
from marshmallow.fields import Integer, List, Nested, String

from microsite.core.schemas import Input, ListOutput, Output, Whole, line, utc

from .access_tokens import LIFE_MAX, LIFE_MIN, LIFE_SECONDS


class TokenInput(Input):
    username = String(required=True, validate=line(1, 254))
    password = String(required=True, validate=validate.Length(1, 1024))
    expires_in = Whole(
        load_default=LIFE_SECONDS,
        validate=validate.Range(LIFE_MIN, LIFE_MAX),
        metadata={"description": "Seconds"},
    )


class TokenOutput(Output):
    access_token = String()
    token_type = String()
    expires_in = Integer(metadata={"description": "Seconds"})


class ClaimsOutput(Output):
    """What an access token says (RFC 7519)."""

    iss = String()
    aud = String()
    sub = String()
    jti = String()
    iat = Integer(metadata={"description": "Seconds since 1970"})
    exp = Integer(metadata={"description": "Seconds since 1970"})
    username = String()


class MeOutput(Output):
    username = String()
    name = String()
    about = String()
    email = String()
    role = String(validate=validate.OneOf(["guest", "member", "manager", "admin"]))
    created_at = utc()


class KeyInput(Input):
    name = String(required=True, validate=line(1, 80))
    scopes = List(
        String(validate=validate.Length(1, 64)),
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, 50),
    )
    expires_in = Whole(
        load_default=None,
        allow_none=True,
        validate=validate.Range(60, 315_360_000),
        metadata={"description": "Seconds"},
    )


class KeyOutput(Output):
    id = String()
    name = String()
    hint = String(metadata={"description": "The last four characters of the key"})
    scopes = List(String(), allow_none=True)
    created_at = utc()
    expires_at = utc(allow_none=True)
    used_at = utc(allow_none=True)


class NewKeyOutput(KeyOutput):
    key = String(metadata={"description": "The key itself, shown this once"})


class KeysOutput(ListOutput):
    items = List(Nested(KeyOutput))
