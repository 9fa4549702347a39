"""Handing the address of a link on: the ready message, and mail to recipients."""

from __future__ import annotations

import re
from collections.abc import Sequence

from email_validator import EmailNotValidError, validate_email
from flask import current_app

from microsite.core.db import db
from microsite.core.exceptions import ValidationFailed
from microsite.core.identity import User
from microsite.core.mailer import send_mail
from microsite.core.pages import for_seconds
from microsite.core.throttle import Throttle

from .forms import RECIPIENTS_MAX
from .models import Kind, Link

BY_MEMBER = Throttle("link mails", "100 per hour", "You have sent many mails within the hour.")
TO_ADDRESS = Throttle(
    "link mails to", "10 per hour", "One of these addresses got many mails within the hour."
)
HEADINGS = {
    Kind.FILES: "Files for you", Kind.TEXT: "A note for you", Kind.UPLOAD: "Send me files",
    Kind.INVITATION: "An invitation",
}  # fmt: skip


def can_send() -> bool:
    """Whether mail leaves this site. Otherwise the address of a link would lie in a file of it."""
    return current_app.config["MAIL_SERVER"] is not None


def checked_addresses(text: str) -> list[str]:
    """The addresses of a field, each once. Raises ValidationFailed."""
    found: list[str] = []
    named = re.sub(
        r"[^,;\r\n<>]*<([^<>]*)>", r" \1 ", text
    )  # as mail programs copy them: Dora <dora@example.org>
    for word in re.split(r"[\s,;]+", named.strip()) if named.strip() else []:
        try:
            address = validate_email(
                word, check_deliverability=False, test_environment=True, allow_smtputf8=False
            ).normalized
        except EmailNotValidError:
            raise ValidationFailed({"recipients": [f"{word[:80]} is not an e-mail address."]}) from None
        if address not in found:
            found.append(address)
    if len(found) > RECIPIENTS_MAX:
        sentence = f"A link goes to up to {RECIPIENTS_MAX} recipients at once; these are {len(found)}."
        raise ValidationFailed({"recipients": [sentence]})
    return found


def spend(maker: User, addresses: Sequence[str]) -> None:
    """Count mails that are about to be sent. Raises RateLimited: a member's account is no way to flood others."""
    for address in addresses:
        BY_MEMBER.spend(maker.id)
        TO_ADDRESS.spend(address.casefold())


def heading(link: Link) -> str:
    """What the recipient reads first."""
    return link.title or HEADINGS[Kind(link.kind)]


def message(link: Link, url: str) -> str:
    """The words that the maker sends with the address, with the absolute end and its zone."""
    often = (
        "as often as you like"
        if link.max_uses is None
        else "once"
        if link.max_uses == 1
        else f"{link.max_uses} times"
    )
    lines = [f"{heading(link)}: {url}", ""]
    end = f"until {link.expires_at:%d %B %Y %H:%M} UTC"
    if link.kind == Kind.INVITATION:
        people = "one person" if link.max_uses == 1 else f"{link.max_uses} people"
        lines.append(f"It is for {people}, {end}.")
    else:
        sooner = f", or {for_seconds(link.shorten_to)} after the first opening" if link.shorten_to else ""
        lines.append(f"It works {often}, {end}{sooner}.")
    if link.password_hash:
        lines.append("You get the password from me by another way.")
    if link.proof_hash:
        lines.append("Copy the whole link: the part after # is its key.")
    lines.append("If it does not open, it was used, has ended, or was withdrawn: ask me for a new one.")
    return "\n".join(lines)


def send(link: Link, url: str, address: str) -> None:
    """Queue the mail to one recipient, in the present transaction."""
    maker = db.session.get(User, link.owner_id)
    assert maker is not None
    subject = f"{maker.display_name}: {heading(link)}"
    send_mail(
        address,
        subject,
        "links/mail/link.txt",
        reply_to=maker.email,
        link=link,
        sender=maker,
        message=message(link, url),
    )
