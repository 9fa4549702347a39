"""Steps that the tests of accounts share: posting forms, reading the outbox, doing things at the same moment."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from microsite.auth.services import user_by_name
from microsite.core.identity import User
from microsite.core.jobs import run_due
from tests.conftest import PASSWORD, form_token, sign_in

THREADS = 8


def post_form(client: Any, address: str, *, page: str = "", **fields: Any) -> Any:
    """Post a form with the token of `page` (by default of the address itself)."""
    token = form_token(client.get(page or address))
    return client.post(address, data={"csrf_token": token} | fields)


def register(client: Any, username: str = "anna", password: str = PASSWORD, **fields: Any) -> Any:
    """Fill in the registration form."""
    given = {
        "username": username,
        "email": f"{username}@example.org",
        "password": password,
        "confirm": password,
    }
    return post_form(client, "/auth/register", **given | fields)


def get_token(client: Any, username: str, password: str = PASSWORD, **options: Any) -> Any:
    """Ask the API for an access token; gives the response."""
    return client.post("/api/v1/token", json={"username": username, "password": password}, **options)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def signed_in_client(app: Any, username: str, **fields: Any) -> Any:
    """A new browser that is signed in."""
    client = app.test_client()
    assert sign_in(client, username, **fields).status_code == 303
    return client


def plain_client(app: Any) -> FlaskClient:
    """A browser whose pages nobody reviews: a page gives back the NUL that was typed, which strict HTML does not know."""
    return FlaskClient(app, app.response_class)


def is_signed_in(client: Any) -> bool:
    status = client.get("/account/").status_code
    assert status in (200, 302)
    return bool(status == 200)


def session_cookie(client: Any) -> str | None:
    """The session id that a browser holds."""
    cookie = client.get_cookie(client.application.config["SESSION_COOKIE_NAME"])
    return cookie.value if cookie else None


def browser_with(app: Any, sid: str) -> Any:
    """A new browser that holds a given session id."""
    client = app.test_client()
    client.set_cookie(app.config["SESSION_COOKIE_NAME"], sid)
    return client


def work(app: Any) -> int:
    """Run the background jobs of an application that are due now; gives their number."""
    with app.app_context():
        return run_due()


def outbox(app: Any) -> list[EmailMessage]:
    """The mails that were written to the data folder, in no order."""
    files = sorted(Path(app.config["INSTANCE"], "outbox").glob("*.eml"))
    return [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]


def addresses_in(mails: list[EmailMessage], path: str) -> list[str]:
    """The addresses below `path` that stand in mails, as paths of the site."""
    return [found for mail in mails for found in re.findall(rf"http://\S+?({path}/\S+)", mail.get_content())]


def reset_addresses(app: Any) -> list[str]:
    return addresses_in(outbox(app), "/auth/reset")


def at_once(does: Callable[[int], Any], threads: int = THREADS) -> list[Any]:
    """Do something in several threads, all let go at the same moment; gives the results in order."""
    gate = threading.Barrier(threads)

    def wait_and_do(number: int) -> Any:
        gate.wait(20)
        return does(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(wait_and_do, range(threads)))


def member(username: str) -> User:
    """A member who is there, inside an application context."""
    found = user_by_name(username)
    assert found is not None
    return found
