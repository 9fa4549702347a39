"""Mail as it leaves the site: the raw bytes that a real SMTP server takes, and those in the outbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from microsite.core.mailer import transmit
from microsite.errors.services import report_failure
from tests.conftest import free_port


class Taken:
    """Keeps what a mail server was sent, with the name that the sender gave."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.greetings: list[str | None] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        assert isinstance(envelope.content, bytes)
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        self.greetings.append(session.host_name)
        return "250 OK"


@pytest.fixture
def server() -> Iterator[Controller]:
    controller = Controller(Taken(), hostname="127.0.0.1", port=free_port())
    controller.start()
    yield controller
    controller.stop()


def outbox(app: Any) -> list[EmailMessage]:
    files = Path(app.config["INSTANCE"], "outbox").glob("*.eml")
    return [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]


@pytest.mark.parametrize(
    ("base_url", "greeting"),
    [
        ("https://files.example.org", "files.example.org"),
        ("http://127.0.0.1:8000", "[127.0.0.1]"),
        ("http://[::1]:8000", "[IPv6:::1]"),
        ("https://dateien.ödland.example", "dateien.xn--dland-iua.example"),
    ],
)
def test_mail_says_who_sends_it_and_that_nobody_wrote_it(
    make_app: Callable[..., Any], server: Controller, base_url: str, greeting: str
) -> None:
    app = make_app(
        BASE_URL=base_url,
        SITE_NAME="Our files",
        MAIL_SERVER="127.0.0.1",
        MAIL_PORT=server.port,
        MAIL_DEFAULT_SENDER="files@example.org",
    )
    with app.app_context():
        transmit("anna@example.org", "Confirm your address", "Here it is.\n")
    taken = server.handler
    (mail,) = taken.mails
    assert taken.greetings == [greeting]
    assert mail["Message-ID"].endswith(f"@{greeting}>")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Subject"] == "[Our files] Confirm your address"


def test_mail_in_the_outbox_is_the_same(make_app: Callable[..., Any]) -> None:
    app = make_app(BASE_URL="https://files.example.org")
    with app.app_context():
        transmit("anna@example.org", "Confirm your address", "Here it is.\n")
    (mail,) = outbox(app)
    assert mail["Message-ID"].endswith("@files.example.org>")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Subject"] == "[Microsite] Confirm your address"


def test_a_report_of_a_failure_names_the_site_once(
    make_app: Callable[..., Any], run_jobs: Callable[[], int]
) -> None:
    app = make_app(ADMINS=["anna@example.org"])
    with app.app_context():
        report_failure("abc", RuntimeError("broken"))
    run_jobs()
    (mail,) = outbox(app)
    assert mail["Subject"] == "[Microsite] Failure abc"
