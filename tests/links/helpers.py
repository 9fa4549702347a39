"""Small things that the tests of links share."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select

from microsite.core.db import db
from microsite.links.models import Link, LinkEvent, LinkTicket

JSON = {"Accept": "application/json"}
PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def put(
    client: Any, key: dict[str, str], name: str = "report.pdf", content: bytes = b"0123456789"
) -> dict[str, Any]:
    answer = client.put(f"/api/v1/upload/{name}", data=content, headers=key)
    assert answer.status_code == 201, answer.json
    found: dict[str, Any] = answer.json
    return found


def make_link(client: Any, key: dict[str, str], **fields: Any) -> dict[str, Any]:
    """Make a link by the API; a note where nothing else is said. Gives the Link with its path."""
    given = (
        fields
        if {"files", "text", "encrypted", "upload", "invitation"} & set(fields)
        else {"text": "the secret"} | fields
    )
    answer = client.post("/api/v1/links", json=given, headers=key)
    assert answer.status_code == 201, answer.json
    found: dict[str, Any] = answer.json
    return found | {"path": path_of(found["url"])}


def path_of(url: str) -> str:
    return urlsplit(url).path


def open_link(client: Any, path: str, **body: Any) -> Any:
    """POST the JSON form of opening."""
    return client.post(path, json=body, headers=JSON)


def token_of(page: Any) -> str:
    """The token in the page that shows a new link."""
    found = re.search(r'id="url" value="[^"]*/l/([^"]+)"', page.get_data(as_text=True))
    assert found
    return found[1]


def state(client: Any, key: dict[str, str], link: dict[str, Any]) -> tuple[str, int]:
    """State and uses of a link, as its maker sees them."""
    found = client.get(f"/api/v1/links/{link['id']}", headers=key).json
    return found["state"], found["uses"]


def events(client: Any, key: dict[str, str], link: dict[str, Any]) -> list[str]:
    """Types of a link's events, oldest first."""
    found = client.get(f"/api/v1/links/{link['id']}/events?limit=100", headers=key).json["items"]
    return [event["type"] for event in reversed(found)]


def notes(app: Any) -> list[str]:
    """Every note that the database still holds, in a link or a ticket."""
    with app.app_context():
        found = [*db.session.scalars(select(Link.text)), *db.session.scalars(select(LinkTicket.text))]
        return [text for text in found if text is not None]


def opened_events(app: Any) -> int:
    with app.app_context():
        return len(db.session.scalars(select(LinkEvent).where(LinkEvent.type == "opened")).all())
