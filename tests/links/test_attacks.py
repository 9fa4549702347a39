"""What readers with bad intentions, or bad luck, once found: each of these failed before it was mended."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, text, update

from microsite.core.clock import now
from microsite.core.db import atomic, db
from microsite.core.identity import User
from microsite.core.slots import Holder, slots
from microsite.links.models import Link
from tests.conftest import sign_in
from tests.links.helpers import JSON, PAGE, events, make_link, notes, open_link, path_of, put, state


def test_makers_do_not_burn_their_own_encrypted_note(app: Any, maker: Any, key: dict[str, str]) -> None:
    proof = "p" * 43
    note = {"ciphertext": "c" * 60, "proof_hash": hashlib.sha256(proof.encode()).hexdigest()}
    link = make_link(maker, key, encrypted=note)
    anna = app.test_client()
    sign_in(anna, "anna")
    assert open_link(anna, link["path"], proof=proof).json["ciphertext"] == "c" * 60
    assert state(maker, key, link) == ("open", 0)


def test_a_form_with_too_many_files_is_refused_at_the_first_too_many(
    maker: Any, key: dict[str, str], visitor: Any
) -> None:
    link = make_link(maker, key, upload={"max_files": 2})
    target = path_of(open_link(visitor, link["path"]).json["url"])
    form = {"file": [(io.BytesIO(b"x"), f"{number}.txt") for number in range(3)]}
    answer = visitor.post(target, data=form, headers=JSON)
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")
    assert maker.get("/api/v1/files", headers=key).json["items"] == []


def test_senders_say_how_much_they_send(maker: Any, key: dict[str, str], visitor: Any) -> None:
    target = path_of(open_link(visitor, make_link(maker, key, upload={})["path"]).json["url"])

    chunked = {"wsgi.input_terminated": True, "CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}
    answer = visitor.put(
        target + "a.txt", input_stream=io.BytesIO(b"x"), headers=JSON, environ_overrides=chunked
    )
    assert (answer.status_code, answer.json["code"]) == (400, "bad_request")


@pytest.mark.parametrize("asked", ["bytes=-999999999", "x=5-", "bytes=1-2,4-5", "bytes=0-"])
def test_no_whole_download_is_untold(maker: Any, key: dict[str, str], visitor: Any, asked: str) -> None:
    link = make_link(maker, key, files=[put(maker, key)["id"]])
    url = path_of(open_link(visitor, link["path"]).json["files"][0]["url"])
    assert visitor.get(url, headers={"Range": asked}, buffered=True).data == b"0123456789"
    assert events(maker, key, link) == ["created", "opened", "download_started", "downloaded"]


def test_what_the_page_cannot_show_is_a_download(maker: Any, key: dict[str, str], visitor: Any) -> None:
    link = make_link(maker, key, files=[put(maker, key, "tool.exe")["id"]])
    url = path_of(open_link(visitor, link["path"]).json["files"][0]["url"])
    assert "attachment" in visitor.get(f"{url}?inline", buffered=True).headers["Content-Disposition"]
    assert events(maker, key, link)[-1] == "downloaded"


def test_two_things_at_once_are_a_refusal(maker: Any, key: dict[str, str]) -> None:
    for things in (
        {"text": "a", "invitation": {"role": "member"}},
        {"upload": {}, "invitation": {"role": "guest"}},
        {},
    ):
        answer = maker.post("/api/v1/links", json=things, headers=key)
        assert answer.status_code == 422, things


def test_many_openings_do_not_fill_the_table(app: Any, maker: Any, key: dict[str, str], visitor: Any) -> None:
    link = make_link(maker, key, text="long", max_uses=None, notify=True)
    for _ in range(15):
        assert open_link(visitor, link["path"]).status_code == 200
        assert visitor.post(link["path"], headers=PAGE).status_code == 303
    assert notes(app) == ["long"]
    from microsite.core.jobs import Job

    with app.app_context():
        assert len(db.session.scalars(select(Job).where(Job.name == "mail")).all()) == 10


def test_a_deleted_name_rests(
    maker: Any, key: dict[str, str], make_key: Callable[..., Any], app: Any, later: Callable[[float], None]
) -> None:
    from microsite.links.services import delete_link

    ben, link = make_key("ben"), make_link(maker, key, text="a", name="price-list")
    with app.app_context(), atomic():
        delete_link(db.session.scalars(select(Link).where(Link.public_id == link["id"])).one())
    taken = maker.post("/api/v1/links", json={"text": "b", "name": "price-list"}, headers=ben)
    assert taken.status_code == 422
    later(31 * 86400)
    assert make_link(maker, ben, text="b", name="price-list")["path"] == "/l/price-list"


def test_a_zip_that_cannot_be_sent_now_spends_nothing(
    app: Any, maker: Any, key: dict[str, str], visitor: Any
) -> None:
    link = make_link(maker, key, files=[put(maker, key)["id"]])
    held = []
    with app.app_context():
        from microsite.core.exceptions import Unavailable

        for number in range(1000):
            with contextlib.suppress(Unavailable):
                held.append(slots().take(Holder("member", number)))
    zipped = {"Accept": "application/zip"}
    assert visitor.post(link["path"], headers=zipped).status_code == 503
    assert state(maker, key, link) == ("open", 0)
    for slot in held:
        slot.release()
    assert visitor.post(link["path"], headers=zipped, buffered=True).data.startswith(b"PK")


def test_a_reported_link_is_not_deleted_before_somebody_looked(
    app: Any, maker: Any, key: dict[str, str], visitor: Any
) -> None:
    from tests.contract.walk import page_token

    link = make_link(maker, key)
    visitor.post(
        "/l/report", data={"token": link["path"].removeprefix("/l/"), "reason": "Fraud"}, headers=PAGE
    )
    anna = app.test_client()
    sign_in(anna, "anna")
    headers = JSON | {"X-CSRFToken": page_token(anna)}
    assert anna.post(f"/links/{link['id']}/delete", headers=headers).status_code == 303
    assert "A reader reported this link" in anna.get(f"/links/{link['id']}").get_data(as_text=True)
    both = {"link": [link["id"], make_link(maker, key)["id"]], "action": "delete", "sure": "yes"}
    assert anna.post("/links/selected", data=both, headers=headers).status_code == 303
    page = anna.get("/links/").get_data(as_text=True)
    assert "Note: A reader reported this link" in page
    assert "1 link is deleted" in page
    assert anna.post(f"/links/{link['id']}/revoke", headers=headers).status_code == 303


def test_a_disabled_owner_gets_no_more_files(app: Any, maker: Any, key: dict[str, str], visitor: Any) -> None:
    target = path_of(open_link(visitor, make_link(maker, key, upload={})["path"]).json["url"])
    with app.app_context(), atomic():
        db.session.execute(update(User).values(disabled_at=now()))
    assert visitor.put(target + "a.txt", data=b"x", headers=JSON).status_code == 410


def test_a_missing_object_does_not_hide_the_others(
    app: Any, maker: Any, key: dict[str, str], visitor: Any
) -> None:
    from microsite.core.storage import storage

    lost, kept = put(maker, key, "lost.txt", b"lost"), put(maker, key, "kept.txt", b"kept here")
    link = make_link(maker, key, files=[lost["id"], kept["id"]])
    with app.app_context():
        from microsite.files.models import StoredFile

        file = db.session.scalars(select(StoredFile).where(StoredFile.public_id == lost["id"])).one()
        storage().delete(file.storage_key)
    page = visitor.get(visitor.post(link["path"], headers=PAGE).headers["Location"])
    assert page.status_code == 200
    assert "kept here" in page.get_data(as_text=True)


def test_a_zip_of_a_note_is_not_a_way_around_the_held_button(
    maker: Any, key: dict[str, str], visitor: Any
) -> None:
    link = make_link(maker, key, hold=True)
    assert visitor.post(link["path"], headers={"Accept": "application/zip"}).status_code == 422
    assert state(maker, key, link) == ("open", 0)


def test_what_was_checked_is_what_is_opened(app: Any, maker: Any, key: dict[str, str]) -> None:
    """A public name that gets another link while the password of the first is checked."""
    from microsite.links.exceptions import LinkGone
    from microsite.links.history import Visitor
    from microsite.links.opening import claim, find_open

    make_link(maker, key, text="old", name="price-list", max_uses=5)
    with app.test_request_context("/", method="POST"):
        checked = find_open("price-list").id
        with atomic():
            db.session.execute(update(Link).values(revoked_at=now()))
    make_link(maker, key, text="new", name="price-list", password="open sesame", max_uses=5)
    with app.test_request_context("/", method="POST"), pytest.raises(LinkGone), atomic():
        claim("price-list", checked, Visitor("", ""))


def test_no_link_lives_longer_than_the_ceiling(
    maker: Any, key: dict[str, str], later: Callable[[float], None]
) -> None:
    link = make_link(maker, key, expires_in=89 * 86400)
    later(86400 * 80)
    answer = maker.patch(f"/api/v1/links/{link['id']}", json={"expires_in": 11 * 86400}, headers=key)
    assert answer.status_code == 422
    assert "90 days" in str(answer.json["errors"])


def test_makers_try_their_own_request_without_a_trace(app: Any, maker: Any, key: dict[str, str]) -> None:
    link = make_link(maker, key, upload={})
    anna = app.test_client()
    sign_in(anna, "anna")
    where = anna.post(link["path"], headers=PAGE).headers["Location"]
    assert anna.get(where).status_code == 200
    answer = anna.put(f"{where}/send/a.txt", data=b"x", headers=JSON)
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")
    assert events(maker, key, link) == ["created"]


def test_what_cannot_be_remembered_is_not_delivered(
    app: Any, maker: Any, key: dict[str, str], visitor: Any
) -> None:
    """Without its event an opening does not happen at all."""
    link = make_link(maker, key, text="the secret")

    def rename(old: str, new: str) -> None:
        with app.app_context(), atomic():
            db.session.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    rename("link_events", "link_events_away")
    answer = open_link(visitor, link["path"])
    rename("link_events_away", "link_events")
    assert answer.status_code in (500, 503)
    assert "the secret" not in answer.get_data(as_text=True)
    assert state(maker, key, link) == ("open", 0)
    assert open_link(visitor, link["path"]).json["text"] == "the secret"
