"""Outgoing mail: queued in the transaction that needs it, sent by the job `mail`, or written to outbox/ without a server."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import os
import re
import smtplib
import ssl
from email.policy import SMTP
from email.utils import make_msgid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from flask import current_app, render_template
from flask_mail import Connection, Message

from microsite.core.exceptions import ValidationFailed
from microsite.core.jobs import enqueue

TIMEOUT_SECONDS = 15.0


class VerifiedConnection(Connection):
    """Flask-Mail's connection with a time-out and a verified certificate, which it does not have by itself."""

    def configure_host(self) -> smtplib.SMTP:
        settings = self.mail
        context = ssl.create_default_context()
        server = (settings.server, settings.port, mail_host())
        host: smtplib.SMTP
        if settings.use_ssl:
            host = smtplib.SMTP_SSL(*server, timeout=TIMEOUT_SECONDS, context=context)
        else:
            host = smtplib.SMTP(*server, timeout=TIMEOUT_SECONDS)
        host.set_debuglevel(int(settings.debug))
        if settings.use_tls:
            host.starttls(context=context)
        if settings.username and settings.password:
            host.login(settings.username, settings.password)
        return host


def send_mail(to: str, subject: str, template: str, *, reply_to: str = "", **values: Any) -> None:
    """Queue one mail in the present transaction. Raises ValidationFailed for a line break in address or subject."""
    if re.search(r"[\r\n]", to + subject + reply_to):
        raise ValidationFailed({"email": ["An address or a subject has no line breaks."]})
    body = render_template(template, subject=subject, **values)
    enqueue("mail", to=to, subject=subject, sealed=_seal().encrypt(body.encode()).decode(), reply_to=reply_to)


def _seal() -> Fernet:
    """Mails wait encrypted: the addresses in them open accounts and links, and must not stand in the database."""
    key = hashlib.sha256(b"mail:" + str(current_app.config["SECRET_KEY"]).encode()).digest()
    return Fernet(base64.urlsafe_b64encode(key))


def mail_host() -> str:
    """The host of BASE_URL as mail writes it: ASCII, a number in brackets (RFC 5321, section 4.1.3)."""
    host = urlsplit(current_app.config["BASE_URL"]).hostname or "localhost"
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        return host.encode("idna").decode()
    return f"[{number}]" if number.version == 4 else f"[IPv6:{number}]"


def sender() -> str:
    configured: str | None = current_app.config["MAIL_DEFAULT_SENDER"]
    return configured or f"noreply@{urlsplit(current_app.config['BASE_URL']).hostname}"


def deliver(to: str, subject: str, sealed: str, reply_to: str = "") -> None:
    """Task: send one waiting mail. Raises OSError when the server does not take it."""
    transmit(to, subject, _seal().decrypt(sealed.encode()).decode(), reply_to)


def transmit(to: str, subject: str, body: str, reply_to: str = "") -> None:
    """Hand one mail to the server now, or write it to the outbox folder.

    The subject begins with the site's name; `Auto-Submitted` (RFC 3834) keeps automatic replies
    away. Raises OSError when the server does not take it.
    """
    site = current_app.config["SITE_NAME"]
    message = Message(
        subject=f"[{site}] {subject}",
        recipients=[to],
        body=body,
        sender=(site, sender()),
        reply_to=reply_to or None,
        extra_headers={"Auto-Submitted": "auto-generated"},
    )
    message.msgId = make_msgid(domain=mail_host())
    if current_app.config["MAIL_SERVER"] is None:
        _write(message)
        return
    with VerifiedConnection(current_app.extensions["mail"]) as connection:
        connection.send(message)


def _write(message: Message) -> None:
    folder = Path(current_app.config["INSTANCE"], "outbox")
    folder.mkdir(mode=0o700, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9.@-]", "", message.msgId or "")[:80]
    partial = folder / f".{name}"
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(message._message().as_bytes(policy=SMTP))
    partial.rename(folder / f"{name}.eml")
