"""With a mail server: confirming an address, looking the same for known and unknown, and a verified connection."""

from __future__ import annotations

import re
import ssl
import subprocess
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from microsite.auth.services import user_by_name
from microsite.core.db import db
from microsite.core.jobs import Job
from tests.conftest import PASSWORD, free_port, need, sign_in

from .steps import addresses_in, at_once, get_token, is_signed_in, post_form, register, work


class Mailbox:
    """Keeps whatever a mail server takes."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        assert isinstance(envelope.content, bytes)
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"


class Sink(Controller):
    """A real SMTP server on a free port."""

    def __init__(self, **options: Any) -> None:
        self.mailbox = Mailbox()
        super().__init__(self.mailbox, hostname="127.0.0.1", port=free_port(), **options)

    @property
    def mails(self) -> list[EmailMessage]:
        return self.mailbox.mails

    def settings(self, **more: Any) -> dict[str, Any]:
        return {
            "MAIL_SERVER": "127.0.0.1",
            "MAIL_PORT": self.port,
            "MAIL_DEFAULT_SENDER": "site@example.org",
        } | more


@pytest.fixture
def sink() -> Iterator[Sink]:
    server = Sink()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def site(make_app: Callable[..., Any], sink: Sink) -> Any:
    """An application that sends its mail to the sink."""
    return make_app(**sink.settings())


def test_address_is_confirmed_before_one_can_sign_in(site: Any, sink: Sink) -> None:
    client = site.test_client()
    assert (answer := register(client, "anna")).status_code == 303
    assert answer.location == "/auth/login"
    assert not is_signed_in(client)
    refused = sign_in(client, "anna")
    assert refused.status_code == 401
    assert "Confirm your address first" in refused.get_data(as_text=True)
    assert get_token(client, "anna").status_code == 403
    assert "not right" in sign_in(client, "anna", "a wrong password").get_data(as_text=True)
    work(site)
    latest = sink.mails[-1]
    assert (latest["To"], latest["Subject"], latest["From"]) == (
        "anna@example.org",
        "[Microsite] Confirm your address",
        "Microsite <site@example.org>",
    )
    (address,) = addresses_in([latest], "/auth/confirm")
    for _ in range(2):
        assert client.get(address).status_code == 200
    assert get_token(client, "anna").status_code == 403, "GET spends nothing"
    assert post_form(client, address).location == "/auth/login"
    assert not is_signed_in(client)
    assert client.get(address).status_code == 410
    assert sign_in(site.test_client(), "anna").status_code == 303


def test_newer_confirmation_withdraws_the_older(site: Any, sink: Sink) -> None:
    register(site.test_client(), "anna")
    work(site)
    sign_in(site.test_client(), "anna")
    work(site)
    older, newer = addresses_in(sink.mails, "/auth/confirm")
    assert site.test_client().get(older).status_code == 410
    assert post_form(site.test_client(), newer).status_code == 303


def test_of_several_confirmations_at_once_one_wins(site: Any, sink: Sink) -> None:
    register(site.test_client(), "anna")
    work(site)
    (address,) = addresses_in(sink.mails, "/auth/confirm")
    clients = [site.test_client() for _ in range(8)]
    tokens = [
        re.findall(r'name="csrf_token"[^>]*value="([^"]+)"', client.get(address).get_data(as_text=True))[0]
        for client in clients
    ]
    answers = at_once(lambda n: clients[n].post(address, data={"csrf_token": tokens[n]}).status_code)
    assert sorted(answers) == [303] + [410] * 7


def test_known_and_unknown_addresses_look_the_same_at_registration(
    site: Any, sink: Sink, make_user: Callable[..., str]
) -> None:
    make_user("anna", application=site)
    seen = []
    for name, email in (("bob", "bob@example.org"), ("carl", "Anna@Example.org")):
        client = site.test_client()
        answer = register(client, name, email=email)
        seen.append(
            (
                answer.status_code,
                answer.location,
                "Open the mail that we sent you" in client.get(answer.location).get_data(as_text=True),
            )
        )
    assert seen == [(303, "/auth/login", True)] * 2
    work(site)
    assert [(mail["To"], mail["Subject"]) for mail in sink.mails] == [
        ("bob@example.org", "[Microsite] Confirm your address"),
        ("anna@example.org", "[Microsite] You have an account already"),
    ]
    with site.app_context():
        assert user_by_name("carl") is None


def test_registrations_do_not_flood_a_known_address(
    site: Any, sink: Sink, make_user: Callable[..., str]
) -> None:
    make_user("anna", application=site)
    for number in range(7):
        assert register(site.test_client(), f"carl{number}", email="anna@example.org").status_code in (
            303,
            429,
        )
    work(site)
    assert len(sink.mails) == 5


def test_mail_that_the_server_does_not_take_is_tried_again(
    make_app: Callable[..., Any], make_user: Callable[..., str]
) -> None:
    nobody_there = free_port()
    app = make_app(MAIL_SERVER="127.0.0.1", MAIL_PORT=nobody_there)
    register(app.test_client(), "anna")
    assert work(app) == 1
    (job,) = jobs(app)
    assert (job.name, job.attempts, job.failed_at) == ("mail", 1, None)
    assert "ConnectionRefusedError" in job.error
    assert job.run_at > job.created_at
    assert work(app) == 0, "the next try has to wait"


def jobs(app: Any) -> list[Job]:
    with app.app_context():
        return list(db.session.query(Job).order_by(Job.id))


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    """The server side of TLS, with a certificate that nobody vouches for."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command = [
        need("openssl"),
        "req",
        "-x509",
        *kind,
        "-keyout",
        str(key),
        "-out",
        str(certificate),
        *subject,
    ]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def test_certificate_of_the_mail_server_is_verified(
    make_app: Callable[..., Any], self_signed: ssl.SSLContext
) -> None:
    server = Sink(tls_context=self_signed, require_starttls=True)
    server.start()
    try:
        app = make_app(**server.settings(MAIL_USE_TLS=True))
        register(app.test_client(), "anna")
        work(app)
    finally:
        server.stop()
    assert server.mails == []
    (job,) = jobs(app)
    assert (job.name, job.attempts, job.done_at, job.failed_at) == ("mail", 1, None, None)
    assert "CERTIFICATE_VERIFY_FAILED" in job.error


def test_known_certificate_is_taken(
    make_app: Callable[..., Any], self_signed: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    server = Sink(tls_context=self_signed, require_starttls=True)
    server.start()
    try:
        app = make_app(**server.settings(MAIL_USE_TLS=True))
        register(app.test_client(), "anna", PASSWORD)
        work(app)
    finally:
        server.stop()
    assert [mail["To"] for mail in server.mails] == ["anna@example.org"]
    assert jobs(app) == []
