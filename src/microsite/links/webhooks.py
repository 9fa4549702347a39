"""Telling a maker's program what happened to a link: signed JSON by POST, in the manner of Standard Webhooks.

The addresses are any member's choice, so a request never goes to an address inside the operator's network, follows no
redirect, waits for seconds only, and its answer is not read.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import ipaddress
import json
import re
import secrets
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from flask import current_app
from sqlalchemy import select

from microsite.core.clock import now
from microsite.core.db import atomic, db, release
from microsite.core.exceptions import RateLimited, Unavailable, ValidationFailed
from microsite.core.jobs import enqueue
from microsite.core.throttle import Throttle

from .models import Link, LinkEvent

TOLD = frozenset(
    {"opened", "downloaded", "received", "ended", "expired", "reported", "revoked", "taken_down"}
)
WEBHOOKS = Throttle("link webhooks", "100 per hour")
TIMEOUT = 5
DEADLINE = 8
"""Seconds for a whole request: a server that sends a byte now and then must not hold the thread."""
GIVE_UP = timedelta(hours=1)
ANYWHERE = "any"
UNICAST = ipaddress.ip_network("2000::/3")
SPECIAL = tuple(
    map(
        ipaddress.ip_network,
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 "
        "192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 "
        "2001::/23 2001:db8::/32 2002::/16 3fff::/20".split(),
    )
)
"""What is not the public internet by IANA's registries of special-purpose addresses (RFC 6890), tunnels to IPv4 included.
Our own list: that of Python's `ipaddress` differs from version to version."""
HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")


class Unfit(Exception):
    """An address that no request goes to, now or later; or an answer that no second try would change."""


def checked(url: str) -> str:
    """The address, when it can be one. Raises ValidationFailed."""
    allowed = current_app.config["LINK_WEBHOOKS"]
    if allowed == "off":
        raise ValidationFailed({"webhook": ["Webhooks are switched off on this site."]})
    try:
        _target(url)
    except Unfit as error:
        raise ValidationFailed({"webhook": [str(error)]}) from None
    return url


def _target(url: str) -> tuple[str, str, int, str]:
    """Scheme, host, port and path of an address. Raises Unfit."""
    schemes = ("https", "http") if current_app.config["LINK_WEBHOOKS"] == ANYWHERE else ("https",)
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except (ValueError, UnicodeError):
        raise Unfit("This is no address of a webhook.") from None
    if parts.scheme not in schemes or not HOST.fullmatch(host) or parts.username is not None:
        raise Unfit(f"A webhook is an address that begins with {schemes[0]}://, without a name and password.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not all("!" <= character <= "~" for character in path):
        raise Unfit("The address of a webhook has ASCII characters only, without spaces.")
    return parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path


def secret_of(link: Link) -> str:
    """What the requests about a link are signed with; made of SECRET_KEY, so stored nowhere."""
    key = current_app.config["SECRET_KEY"].encode()
    digest = hmac.new(key, f"webhook:{link.public_id}".encode(), hashlib.sha256).digest()
    return "whsec_" + base64.b64encode(digest).decode()


def tell(link: Link, event: str, **facts: str) -> None:
    """Queue a request about an event, in the present transaction; of one maker no more than a hundred an hour."""
    if link.webhook is None or event not in TOLD or current_app.config["LINK_WEBHOOKS"] == "off":
        return
    try:
        WEBHOOKS.spend(link.owner_id)
    except (RateLimited, Unavailable):
        return
    of_link = {
        "id": link.public_id,
        "kind": link.kind,
        "title": link.title,
        "uses": link.uses,
        "max_uses": link.max_uses,
    }
    moment = now().isoformat().replace("+00:00", "Z")
    body = {"type": f"link.{event}", "timestamp": moment, "data": {"link": of_link, **facts}}
    enqueue(
        "links.webhook",
        link_id=link.public_id,
        message_id=f"msg_{secrets.token_urlsafe(12)}",
        body=json.dumps(body),
    )


def deliver(link_id: str, message_id: str, body: str) -> None:
    """Task: send one waiting request. Raises OSError to be tried again, within the hour; its end without success is told
    to the maker."""
    link = db.session.scalar(select(Link).where(Link.public_id == link_id))
    if link is None or link.webhook is None or current_app.config["LINK_WEBHOOKS"] == "off":
        return
    number, url, secret = link.id, link.webhook, secret_of(link)
    release()
    try:
        _post(url, message_id, body.encode(), secret)
    except (Unfit, OSError) as error:
        if (
            isinstance(error, OSError)
            and now() - datetime.fromisoformat(json.loads(body)["timestamp"]) < GIVE_UP
        ):
            raise
        with atomic():
            db.session.add(LinkEvent(link_id=number, type="webhook_failed", detail=str(error)[:255]))


def signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """The value of `webhook-signature`: version 1 of Standard Webhooks, HMAC-SHA-256 in base64."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(signed.digest()).decode()


def _post(url: str, message_id: str, body: bytes, secret: str) -> None:
    scheme, host, port, path = _target(url)
    timestamp = str(int(now().timestamp()))
    headers = {
        "Content-Type": "application/json", "User-Agent": "Microsite", "webhook-id": message_id,
        "webhook-timestamp": timestamp, "webhook-signature": signature(secret, message_id, timestamp, body),
    }  # fmt: skip
    kind: Any = http.client.HTTPConnection
    options: dict[str, Any] = {"timeout": TIMEOUT}
    if scheme == "https":
        kind, options["context"] = http.client.HTTPSConnection, ssl.create_default_context()
    made = socket.create_connection((_resolved(host, port), port), TIMEOUT)
    with made, _deadline(made):
        connection = kind(host, port, **options)
        # the address that was checked, and no second look-up, which might give another
        connection._create_connection = lambda *_: made
        try:
            connection.request("POST", path, body, headers)
            status = connection.getresponse().status
        except http.client.HTTPException as error:
            raise OSError(f"{host}: {error}") from error
        finally:
            connection.close()
    if status in (408, 429) or status >= 500:
        raise OSError(f"{host} answered {status}")
    if not 200 <= status < 300:
        raise Unfit(f"{host} answered {status}.")


@contextmanager
def _deadline(connection: socket.socket) -> Iterator[None]:
    """End a connection that lasts longer than the block may."""
    twin = connection.dup()  # TLS takes the other over

    def cut() -> None:
        with suppress(OSError):  # it may be over already
            twin.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(DEADLINE, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        twin.close()


def _resolved(host: str, port: int) -> str:
    """One address of a host, all of which must be public ones. Raises Unfit, OSError."""
    found = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if current_app.config["LINK_WEBHOOKS"] != ANYWHERE:
        for address in found:
            if not _is_public(address):
                raise Unfit(f"{host} is not on the public internet.")
    return found[0]


def _is_public(address: str) -> bool:
    """Not so of what leads to an IPv4 address by way of IPv6: mapped ones are judged as such, tunnels are refused."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if parsed.version == 6:
        if parsed.ipv4_mapped is not None:
            return _is_public(str(parsed.ipv4_mapped))
        if parsed not in UNICAST:
            return False
    return not any(parsed in network for network in SPECIAL)
