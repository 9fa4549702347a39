"""Previews, and neighbouring doors: whoever has not won a use gets neither bytes nor names, by any route."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.conftest import sign_in
from tests.links.helpers import JSON, PAGE, events, make_link, open_link, path_of, put, state

SECRETS = ("zebra", "dismissal", "31415")
PREVIEW_AGENTS = [
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "Slackbot 1.0", "facebookexternalhit/1.1", "WhatsApp/2.23.20.0 A",
    "TelegramBot (like TwitterBot)", "Twitterbot/1.0", "LinkedInBot/1.0", "Mozilla/5.0 (compatible; Discordbot/2.0)", "SkypeUriPreview Preview/0.5",
    "Mozilla/5.0 (Windows NT 10.0) SafeLinks", "Go-http-client/2.0", "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 Version/17.0 Safari/605.1.15",
    "BarracudaCentral/1.0", "Mozilla/5.0 (compatible; Googlebot/2.1)", "Signal-Android/6", "Iframely/1.3.1",
]  # fmt: skip
LOOKS: list[tuple[str, dict[str, str]]] = [
    ("HEAD", {}), ("GET", {}), ("OPTIONS", {}), ("GET", {"Range": "bytes=0-"}), ("GET", {"Range": "bytes=-1"}),
    ("GET", {"Sec-Purpose": "prefetch"}), ("GET", {"Sec-Purpose": "prefetch;prerender"}), ("GET", {"Purpose": "prefetch"}),
    ("POST", {"Sec-Purpose": "prefetch"}), ("POST", {"Sec-Purpose": "prefetch;prerender"}),
    ("POST", {"Sec-Fetch-Site": "cross-site"}),
]  # fmt: skip


def make(client: Any, key: dict[str, str], kind: str, **fields: Any) -> dict[str, Any]:
    if kind == "files":
        fields["files"] = [put(client, key, "dismissal-of-zebra.txt", b"31415")["id"]]
    elif kind == "upload":
        fields["upload"] = {"max_files": 3}
    elif kind == "encrypted":
        fields["encrypted"] = {"ciphertext": "A" * 40 + "zebra", "proof_hash": "0" * 64}
    else:
        fields["text"] = "zebra"
    return make_link(client, key, **fields)


@pytest.mark.parametrize("kind", ["text", "files", "upload", "encrypted"])
@pytest.mark.parametrize(("method", "headers"), LOOKS, ids=[f"{m} {h}" for m, h in LOOKS])
def test_no_look_spends_a_use_or_learns_a_name(
    app: Any, maker: Any, key: dict[str, str], kind: str, method: str, headers: dict[str, str]
) -> None:
    visitor = FlaskClient(app, app.response_class)  # the answer to OPTIONS is no page to review
    link = make(maker, key, kind)
    for accept in (PAGE, JSON, {"Accept": "application/zip"}, {"Accept": "*/*"}):
        for agent in PREVIEW_AGENTS:
            sent = accept | headers | {"User-Agent": agent}
            answer = visitor.open(link["path"], method=method, headers=sent)
            assert answer.status_code == (403 if method == "POST" else 200)
            shown = answer.get_data(as_text=True) + str(answer.headers)
            assert not [word for word in SECRETS if word in shown]
            assert "Set-Cookie" not in answer.headers
    assert state(maker, key, link) == ("open", 0)
    assert "opened" not in events(maker, key, link)


def test_names_show_before_only_where_the_maker_chose_it(
    maker: Any, key: dict[str, str], visitor: Any
) -> None:
    hidden, shown = make(maker, key, "files"), make(maker, key, "files", show_items=True)
    assert "dismissal" not in visitor.get(hidden["path"]).get_data(as_text=True)
    assert "dismissal-of-zebra.txt" in visitor.get(shown["path"]).get_data(as_text=True)


def every_door(app: Any, values: dict[str, str]) -> list[tuple[str, str]]:
    """(method, path) of every route below /l/, with these values in it."""
    found = []
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/l/"):
            path = re.sub(r"<(?:[^<>:]*:)?(\w+)>", lambda match: values.get(match[1], "x"), rule.rule)
            found += [
                (method, path)
                for method in sorted(rule.methods or set())
                if method in ("GET", "HEAD", "POST", "PUT")
            ]
    return found


@pytest.mark.parametrize("kind", ["text", "files", "upload"])
@pytest.mark.parametrize(
    "end", ["expired", "used", "revoked", "no password", "wrong password", "another browser"]
)
def test_every_neighbouring_door_gives_the_one_refusal(
    app: Any,
    maker: Any,
    key: dict[str, str],
    visitor: Any,
    later: Callable[[float], None],
    kind: str,
    end: str,
) -> None:
    """With the token, with a ticket that was good, and with the id of the thing: nothing but the refusal."""
    guarded = end.endswith("password")
    link = make(
        maker, key, kind, max_uses=1, expires_in=9000, **({"password": "open sesame"} if guarded else {})
    )
    token, item = link["path"].removeprefix("/l/"), link["items"][0]["id"] if link["items"] else "x"
    ticket = "no-such-ticket"
    if not guarded:
        opened = visitor.post(link["path"], headers=PAGE)
        ticket = opened.headers["Location"].rpartition("/")[2]
    if end == "expired":
        later(9001)
    elif end == "revoked":
        maker.delete(f"/api/v1/links/{link['id']}", headers=key)
    elif end == "used":
        later(7201)  # the ticket is over too
    stranger = FlaskClient(app, app.response_class)
    values = {"token": token, "ticket": ticket, "item_id": item, "name": "x.txt"}
    doors = every_door(app, values)
    assert len(doors) >= 10
    sent: dict[str, Any] = {"password": "wrong"} if end == "wrong password" else {}
    for method, path in doors:
        for accept in (PAGE, JSON, {"Accept": "application/zip"}):
            body: dict[str, Any] = {"json": sent} if accept is JSON else {"data": sent}
            if "/send" in path:
                body = {"data": b"x"} if method == "PUT" else {"data": {"file": (io.BytesIO(b"x"), "x.txt")}}
            answer = stranger.open(
                path, method=method, headers=accept, **({} if method in ("GET", "HEAD") else body)
            )
            shown = answer.get_data(as_text=True)
            assert not [word for word in SECRETS if word in shown], (method, path)
            if path == link["path"] and guarded:
                assert answer.status_code in (200, 401, 429)
            else:
                assert answer.status_code in (405, 410), (method, path, answer.status_code)
    assert state(maker, key, link)[1] == (0 if guarded else 1)


def test_the_ids_of_things_open_nothing_without_a_ticket(
    maker: Any, key: dict[str, str], visitor: Any
) -> None:
    mine, other = make(maker, key, "files"), put(maker, key, "other.txt", b"31415")
    url = path_of(open_link(visitor, mine["path"]).json["files"][0]["url"])
    assert visitor.get(url, buffered=True).data == b"31415"
    assert visitor.get(url.replace(mine["items"][0]["id"], other["id"])).status_code == 410
    assert visitor.get(f"/files/{other['id']}/raw").status_code == 302


def test_a_deleted_thing_leaves_a_ticket(maker: Any, key: dict[str, str], visitor: Any) -> None:
    link = make(maker, key, "files")
    url = path_of(open_link(visitor, link["path"]).json["files"][0]["url"])
    maker.delete(f"/api/v1/files/{link['items'][0]['id']}", headers=key)
    for door in (url, url.partition("/i/")[0], url.partition("/i/")[0] + "/all"):
        assert visitor.get(door).status_code == 410


def test_the_maker_looks_without_spending(maker: Any, key: dict[str, str], app: Any) -> None:
    link = make(maker, key, "files")
    anna = app.test_client()
    sign_in(anna, "anna")
    opened = anna.post(link["path"], headers=PAGE)
    page = anna.get(opened.headers["Location"]).get_data(as_text=True)
    assert "This is your own link" in page
    assert "dismissal-of-zebra.txt" in page
    thing = f"{opened.headers['Location']}/i/{link['items'][0]['id']}"
    assert anna.get(thing, buffered=True).data == b"31415"
    assert state(maker, key, link) == ("open", 0)
    assert events(maker, key, link) == ["created"]
    assert app.test_client().get(thing).status_code == 410


def test_another_member_is_a_recipient_like_any(
    app: Any, maker: Any, key: dict[str, str], make_user: Callable[..., str]
) -> None:
    link = make(maker, key, "text")
    ben = app.test_client()
    sign_in(ben, make_user("ben"))
    assert ben.post(link["path"], headers=PAGE).status_code == 303
    assert state(maker, key, link) == ("used", 1)
