"""What makers and administrators do with links that exist: being told, lists, several at once, reports; and erasing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from microsite.core.db import atomic, db
from microsite.core.jobs import run_due
from microsite.links.models import Link
from microsite.links.services import purge
from tests.conftest import sign_in
from tests.contract.walk import page_token
from tests.links.helpers import PAGE, events, make_link, open_link, path_of, put, state


def mails(app: Any) -> list[tuple[str, str, str]]:
    """(recipient, subject, body) of what was sent."""
    with app.app_context():
        run_due()
    found = []
    for file in sorted(Path(app.config["INSTANCE"], "outbox").glob("*.eml")):
        mail = message_from_bytes(file.read_bytes(), policy=policy.default)
        found.append((str(mail["To"]), str(mail["Subject"]), mail.get_body().get_content()))  # type: ignore[union-attr]
    return found


@pytest.fixture
def browser(app: Any, key: dict[str, str]) -> Any:
    """Anna's browser."""
    client = app.test_client()
    sign_in(client, "anna")
    return client


def post(browser: Any, path: str, **fields: Any) -> Any:
    return browser.post(path, data={"csrf_token": page_token(browser)} | fields, headers=PAGE)


# --- being told --------------------------------------------------------------------------------------------------


def test_the_maker_is_told_when_asked(
    app: Any, maker: Any, key: dict[str, str], visitor: Any, browser: Any
) -> None:
    quiet = make_link(maker, key, title="quiet")
    told = make_link(maker, key, title="The plan", notify=True)
    for link in (quiet, told):
        visitor.get(link["path"])
        assert open_link(visitor, link["path"]).status_code == 200
    (mail,) = mails(app)
    assert mail[:2] == ("anna@example.org", "[Microsite] Opened: The plan")
    assert f"/links/{told['id']}" in mail[2]
    assert told["path"] not in mail[2]
    home = browser.get("/").get_data(as_text=True)
    assert "Opened: The plan" in home
    assert "Opened: quiet" not in home


def test_arrived_files_are_told_by_name(app: Any, maker: Any, key: dict[str, str], visitor: Any) -> None:
    link = make_link(maker, key, upload={}, notify=True, title="Photos")
    target = path_of(open_link(visitor, link["path"]).json["url"])
    visitor.put(target + "one.jpg", data=b"x")
    (mail,) = mails(app)
    assert mail[1] == "[Microsite] Files arrived: Photos"
    assert "one.jpg" in mail[2]


def test_each_recipient_has_a_link(app: Any, browser: Any, visitor: Any) -> None:
    answer = post(
        browser,
        "/links/",
        text="a",
        expires_in="3600",
        max_uses="1",
        recipients="b@example.org, c@example.org",
    )
    assert answer.status_code == 201
    page = answer.get_data(as_text=True)
    urls = re.findall(r'value="([^"]+/l/[^"]+)"', page)
    assert len(set(urls)) == 2
    assert "mailto:b@example.org" in page, "without a mail server nothing is sent from here"
    assert mails(app) == []
    assert open_link(visitor, path_of(urls[1])).status_code == 200
    shown = browser.get("/links/").get_data(as_text=True)
    assert "for b@example.org" in shown
    assert "for c@example.org" in shown


@pytest.mark.parametrize(
    ("recipients", "words"),
    [("nobody", "nobody is not an e-mail address"), ("a@example.org\r\nBcc: x", "Bcc: is not"), (" ".join(f"a{n}@example.org" for n in range(21)), "21")],
)  # fmt: skip
def test_refused_recipients(browser: Any, recipients: str, words: str) -> None:
    answer = post(browser, "/links/", text="a", expires_in="3600", max_uses="1", recipients=recipients)
    assert answer.status_code == 422
    assert words in answer.get_data(as_text=True)


def test_waiting_mails_hold_no_address_of_a_link(
    make_app: Callable[..., Any], make_user: Callable[..., str]
) -> None:
    from tests.conftest import add_member

    app = make_app(MAIL_SERVER="127.0.0.1", MAIL_PORT="9")
    with app.app_context():
        add_member("anna")
    browser = app.test_client()
    sign_in(browser, "anna")
    answer = post(browser, "/links/", text="a", expires_in="3600", max_uses="1", recipients="b@example.org")
    token = re.findall(r"/l/([\w-]{32})", answer.get_data(as_text=True))[0]
    assert "The mails are on their way" in answer.get_data(as_text=True)
    with app.app_context():
        db.session.rollback()
        db.engine.dispose()
    for file in Path(app.config["INSTANCE"]).rglob("*"):
        if file.is_file():
            assert token.encode() not in file.read_bytes(), file


# --- several at once, other ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "left"), [("revoke", "revoked"), ("delete", None)])
def test_several_at_once_after_asking(
    maker: Any, key: dict[str, str], browser: Any, action: str, left: str | None
) -> None:
    links = [make_link(maker, key) for _ in range(3)]
    chosen = [link["id"] for link in links[:2]]
    asked = post(browser, "/links/selected", action=action, link=chosen)
    assert asked.status_code == 200
    assert "these 2 links?" in asked.get_data(as_text=True)
    assert {state(maker, key, link)[0] for link in links} == {"open"}
    assert post(browser, "/links/selected", action=action, link=chosen, sure="yes").status_code == 303
    found = {link["id"]: link["state"] for link in maker.get("/api/v1/links", headers=key).json["items"]}
    expected = {links[2]["id"]: "open"} | ({link: left for link in chosen} if left else {})
    assert found == expected


def test_of_several_with_a_foreign_one_none_is_touched(
    maker: Any, key: dict[str, str], make_key: Callable[..., dict[str, str]], browser: Any
) -> None:
    own, foreign = make_link(maker, key), make_link(maker, make_key("ben"))
    answer = post(browser, "/links/selected", action="delete", link=[own["id"], foreign["id"]], sure="yes")
    assert answer.status_code == 404
    assert state(maker, key, own) == ("open", 0)


def test_another_end_by_page(
    maker: Any, key: dict[str, str], browser: Any, later: Callable[[float], None]
) -> None:
    link = make_link(maker, key, expires_in=600)
    assert post(browser, f"/links/{link['id']}/extend", expires_in="86400").status_code == 303
    assert post(browser, f"/links/{link['id']}/extend", expires_in="7").status_code == 422
    assert events(maker, key, link) == ["created", "extended"]
    maker.delete(f"/api/v1/links/{link['id']}", headers=key)
    assert post(browser, f"/links/{link['id']}/extend", expires_in="86400").status_code == 409


# --- reports -----------------------------------------------------------------------------------------------------


def test_a_reader_reports_and_an_administrator_takes_down(
    app: Any, maker: Any, key: dict[str, str], visitor: Any, make_user: Callable[..., str], browser: Any
) -> None:
    link = make_link(maker, key, title="A prize", max_uses=5)
    token = link["path"].removeprefix("/l/")
    opened = visitor.post(link["path"], headers=PAGE).headers["Location"]
    for door, fields in (("/l/report", {"token": token}), (f"{opened}/report", {})):
        answer = visitor.post(door, data=fields | {"reason": "This is a fraud."}, headers=PAGE)
        assert answer.status_code == 200
        assert "Thank you" in answer.get_data(as_text=True)
    blank = visitor.post("/l/report", data={"token": token, "reason": ""}, headers=PAGE)
    assert blank.status_code == 422
    assert (
        visitor.post("/l/report", data={"token": "nothing", "reason": "Fraud"}, headers=PAGE).status_code
        == 410
    )
    assert browser.get("/links/reported").status_code == 403
    root = app.test_client()
    sign_in(root, make_user("root", "admin"))
    page = root.get("/links/reported").get_data(as_text=True)
    assert page.count("This is a fraud.") == 2
    assert "A prize" in page
    assert token not in page
    assert "reported" in root.get("/links/").get_data(as_text=True)
    assert post(root, f"/links/reported/{link['id']}", action="down").status_code == 303
    assert state(maker, key, link)[0] == "revoked"
    assert events(maker, key, link)[-1] == "taken_down"
    assert visitor.get(link["path"]).status_code == 410
    assert visitor.get(opened).status_code == 410
    assert "taken down" in browser.get("/links/").get_data(as_text=True)
    assert "Nothing is reported" in root.get("/links/reported").get_data(as_text=True)


def test_a_report_may_be_settled(
    app: Any, maker: Any, key: dict[str, str], visitor: Any, make_user: Callable[..., str]
) -> None:
    link = make_link(maker, key)
    visitor.post(
        "/l/report", data={"token": link["path"].removeprefix("/l/"), "reason": "Mine"}, headers=PAGE
    )
    root = app.test_client()
    sign_in(root, make_user("root", "admin"))
    assert post(root, f"/links/reported/{link['id']}", action="leave").status_code == 303
    assert state(maker, key, link) == ("open", 0)
    unreported = make_link(maker, key)
    assert post(root, f"/links/reported/{unreported['id']}", action="down").status_code == 404


def test_reports_are_limited(maker: Any, key: dict[str, str], visitor: Any) -> None:
    link = make_link(maker, key)
    fields = {"token": link["path"].removeprefix("/l/"), "reason": "Mine"}
    found = [visitor.post("/l/report", data=fields, headers=PAGE).status_code for _ in range(11)]
    assert found == [200] * 10 + [429]


# --- erasing -----------------------------------------------------------------------------------------------------


def test_check_proves_that_texts_are_erased(
    app: Any, maker: Any, key: dict[str, str], visitor: Any, later: Callable[[float], None]
) -> None:
    from microsite.links.queries import findings

    def found() -> list[str]:
        with app.app_context():
            return list(findings())

    make_link(maker, key, expires_in=60)
    used = make_link(maker, key, expires_in=90_000)
    visitor.post(used["path"], headers=PAGE)
    assert found() == []
    later(2000)
    sentences = " ".join(found())
    assert "1 links that are over still hold their text" in sentences
    assert "1 tickets that have ended still hold their text" in sentences
    with app.app_context():
        purge()
    assert found() == []
    with app.app_context(), atomic():
        db.session.execute(update(Link).where(Link.uses == 1).values(text="left"))
    assert "used up or withdrawn" in found()[0]


def test_check_says_it(app: Any, maker: Any, key: dict[str, str]) -> None:
    make_link(maker, key)
    with app.app_context(), atomic():
        db.session.execute(update(Link).values(uses=1))
    own = {f"MICROSITE_{name}": str(app.config[name]) for name in ("INSTANCE", "DATABASE_URL")}
    command = [sys.executable, "-m", "microsite", "check", "--json"]
    done = subprocess.run(
        command,
        check=False,
        env=os.environ | own | {"MICROSITE_ENV": "testing"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    findings = [one for one in json.loads(done.stdout)["findings"] if one["what"] == "links"]
    assert [one["level"] for one in findings] == ["error"]


def test_a_deleted_link_leaves_nothing(
    app: Any, maker: Any, key: dict[str, str], visitor: Any, browser: Any
) -> None:
    from microsite.core.db import Base

    file = put(maker, key)
    link = make_link(maker, key, files=[file["id"]], password="open sesame")
    open_link(visitor, link["path"], password="open sesame")
    visitor.post(
        "/l/report", data={"token": link["path"].removeprefix("/l/"), "reason": "Mine"}, headers=PAGE
    )
    assert post(browser, f"/links/{link['id']}/delete").status_code == 303
    with app.app_context():
        for table in Base.metadata.sorted_tables:
            if table.name.startswith("link"):
                assert db.session.execute(table.select()).all() == [], table.name
    assert maker.get(f"/api/v1/files/{file['id']}", headers=key).status_code == 200
