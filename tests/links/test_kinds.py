"""Upload requests, invitations, public names, encrypted notes, and what their makers may ask for."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import PASSWORD, sign_in
from tests.links.helpers import JSON, PAGE, events, make_link, open_link, path_of, put, state


def refused(client: Any, key: dict[str, str], status: int = 422, **fields: Any) -> str:
    """The sentences of a refused link."""
    answer = client.post("/api/v1/links", json=fields, headers=key)
    assert answer.status_code == status, answer.json
    return str(answer.json.get("errors") or answer.json["detail"])


# --- upload requests ---------------------------------------------------------------------------------------------


def ask(client: Any, key: dict[str, str], **fields: Any) -> dict[str, Any]:
    upload = {"max_files": 3} | fields.pop("upload", {})
    return make_link(client, key, upload=upload, **fields)


def names(client: Any, key: dict[str, str]) -> list[str]:
    return [file["name"] for file in client.get("/api/v1/files", headers=key).json["items"]]


def test_files_arrive_with_the_maker(maker: Any, key: dict[str, str], visitor: Any) -> None:
    put(maker, key, "a.txt", b"the maker's own")
    link = ask(maker, key, upload={"max_size": 1000, "types": ["txt", ".PDF"]})
    opened = open_link(visitor, link["path"]).json
    assert {name: opened[name] for name in ("kind", "max_size", "types", "files_left")} == {
        "kind": "upload", "max_size": 1000, "types": ["txt", "pdf"], "files_left": 3,
    }  # fmt: skip
    target = path_of(opened["url"])
    one = visitor.put(target + "a.txt", data=b"from outside", headers=JSON)
    assert (one.status_code, one.json) == (201, {"received": 1})
    form = {"file": [(io.BytesIO(b"b"), "b.txt"), (io.BytesIO(b"c"), "c.pdf")]}
    assert visitor.post(target, data=form, headers=JSON).json == {"received": 2}
    assert sorted(names(maker, key)) == ["a.txt", "a.txt", "b.txt", "c.pdf"], "nothing is overwritten"
    shown = maker.get(f"/api/v1/links/{link['id']}", headers=key).json
    assert (shown["kind"], [item["name"] for item in shown["items"]]) == (
        "upload",
        ["a.txt", "b.txt", "c.pdf"],
    )
    assert events(maker, key, link) == ["created", "opened", "received", "received", "received"]
    full = visitor.put(target + "d.txt", data=b"d", headers=JSON)
    assert (full.status_code, full.json["code"]) == (409, "conflict")
    assert "3 files altogether" in full.json["detail"]


@pytest.mark.parametrize(
    ("name", "size", "status", "words"),
    [("a.exe", 5, 415, "end in txt"), ("a.txt", 1001, 413, "1 kB"), ("a", 5, 415, "end in txt")],
)
def test_what_was_not_asked_for_is_refused(
    maker: Any, key: dict[str, str], visitor: Any, name: str, size: int, status: int, words: str
) -> None:
    link = ask(maker, key, upload={"max_size": 1000, "types": ["txt"]})
    target = path_of(open_link(visitor, link["path"]).json["url"])
    for answer in (
        visitor.put(target + name, data=b"x" * size, headers=JSON),
        visitor.post(target, data={"file": (io.BytesIO(b"x" * size), name)}, headers=JSON),
    ):
        assert answer.status_code == status
        assert words in answer.json["detail"]
    assert names(maker, key) == []


def test_a_sender_sees_nothing_of_others(maker: Any, key: dict[str, str], app: Any) -> None:
    link = ask(maker, key, max_uses=2)
    first, second = app.test_client(), app.test_client()
    pages = []
    for sender in (first, second):
        where = sender.post(link["path"], headers=PAGE).headers["Location"]
        pages.append(where)
        form = {"file": (io.BytesIO(b"x"), f"secret-{len(pages)}.txt")}
        assert sender.post(f"{where}/send/", data=form, headers=PAGE).status_code == 303
    shown = second.get(pages[1]).get_data(as_text=True)
    assert "Thank you. Your file arrived" in shown
    assert "secret" not in shown
    item = maker.get(f"/api/v1/links/{link['id']}", headers=key).json["items"][0]["id"]
    for door in (f"{pages[1]}/i/{item}", f"{pages[1]}/all"):
        assert second.get(door).status_code == 410, "a ticket for sending opens nothing"


def test_the_makers_quota_holds_and_is_not_told(
    make_app: Callable[..., Any], make_key: Callable[..., dict[str, str]]
) -> None:
    app = make_app(USER_QUOTA="100", MAX_FILE_SIZE="1000")
    maker, key = app.test_client(), make_key("anna", application=app)
    target = path_of(open_link(app.test_client(), ask(maker, key)["path"]).json["url"])
    answer = app.test_client().put(target + "a.txt", data=b"x" * 500, headers=JSON)
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert "100" not in answer.json["detail"]


def test_withdrawn_while_sending(maker: Any, key: dict[str, str], visitor: Any) -> None:
    link = ask(maker, key)
    target = path_of(open_link(visitor, link["path"]).json["url"])
    maker.delete(f"/api/v1/links/{link['id']}", headers=key)
    assert visitor.put(target + "a.txt", data=b"x", headers=JSON).status_code == 410
    assert names(maker, key) == []


# --- invitations -------------------------------------------------------------------------------------------------


@pytest.fixture
def inviting(make_app: Callable[..., Any]) -> Any:
    """A site where only the invited register."""
    return make_app(REGISTRATION="invite")


def invite(app: Any, role: str = "member", of: str = "manager", **fields: Any) -> dict[str, Any]:
    from microsite.core.db import atomic
    from microsite.core.identity import Role
    from microsite.links.services import Terms, create_link
    from tests.conftest import add_member

    with app.app_context():
        user = add_member(f"of-{of}", of)
        with app.test_request_context("/", method="POST"), atomic():
            link, token = create_link(user, Terms(**fields), role=Role(role))
            return {"id": link.public_id, "path": f"/l/{token}", "token": token}


def join(app: Any, token: str | None, username: str = "newcomer") -> Any:
    client = app.test_client()
    address = "/auth/register" + (f"?invitation={token}" if token else "")
    page = client.get(address)
    if page.status_code != 200:
        return page
    csrf = page.get_data(as_text=True).split('name="csrf_token" type="hidden" value="')[1].split('"')[0]
    form = {
        "username": username,
        "email": f"{username}@example.org",
        "password": PASSWORD,
        "confirm": PASSWORD,
    }
    return client.post(address, data=form | {"csrf_token": csrf})


def test_an_invitation_is_used_by_registering(inviting: Any) -> None:
    link = invite(inviting, "guest", max_uses=2)
    visitor = inviting.test_client()
    assert "invites you" in visitor.get(link["path"]).get_data(as_text=True)
    to_form = visitor.post(link["path"], headers=PAGE)
    assert to_form.headers["Location"].endswith(f"/auth/register?invitation={link['token']}")
    assert open_link(visitor, link["path"]).json["kind"] == "invitation"
    assert join(inviting, None).status_code == 403
    assert join(inviting, "no-such-invitation").status_code == 410
    assert join(inviting, link["token"], "x").status_code == 422, "a refused form spends nothing"
    assert join(inviting, link["token"], "one-guest").status_code == 303
    assert join(inviting, link["token"], "two-guest").status_code == 303
    assert join(inviting, link["token"], "three-guest").status_code == 410
    from microsite.auth.services import user_by_name

    with inviting.app_context():
        assert [user.role for name in ("one-guest", "two-guest") if (user := user_by_name(name))] == [
            "guest"
        ] * 2
        assert user_by_name("three-guest") is None


def test_of_many_who_register_at_once_as_many_as_were_invited(inviting: Any) -> None:
    link = invite(inviting, max_uses=2)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda n: join(inviting, link["token"], f"guest-{n}").status_code, range(6)))
    assert sorted(found) == [303] * 2 + [410] * 4


def test_of_many_who_send_at_once_as_many_as_were_asked_for(
    app: Any, maker: Any, key: dict[str, str]
) -> None:
    link = ask(maker, key, max_uses=None)
    targets = [path_of(open_link(app.test_client(), link["path"]).json["url"]) for _ in range(8)]

    def send(target: str) -> int:
        status: int = app.test_client().put(target + "a.txt", data=b"x", headers=JSON).status_code
        return status

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(send, targets))
    assert sorted(found) == [201] * 3 + [409] * 5
    assert len(names(maker, key)) == 3


def test_nobody_invites_above_the_own_role(
    maker: Any, key: dict[str, str], make_key: Callable[..., Any]
) -> None:
    refused(maker, key, 403, invitation={"role": "guest"})
    manager = make_key("mona", role="manager")
    assert "cannot invite" in refused(maker, manager, invitation={"role": "admin"})
    assert "no password" in refused(maker, manager, invitation={"role": "guest"}, password="open sesame")
    assert "how many" in refused(maker, manager, invitation={"role": "guest"}, max_uses=None)
    assert make_link(maker, manager, invitation={"role": "manager"})["kind"] == "invitation"


def test_a_demoted_inviter_invites_nobody(inviting: Any) -> None:
    from sqlalchemy import update

    from microsite.core.db import atomic, db
    from microsite.core.identity import User

    link = invite(inviting)
    with inviting.app_context(), atomic():
        db.session.execute(update(User).values(role="member"))
    assert join(inviting, link["token"]).status_code == 410


# --- public names ------------------------------------------------------------------------------------------------


def test_a_public_name(maker: Any, key: dict[str, str], visitor: Any) -> None:
    link = make_link(maker, key, text="prices", name="Our-Price-List", max_uses=None)
    assert link["path"] == "/l/our-price-list"
    for _ in range(2):
        assert open_link(visitor, "/l/our-price-list").json["text"] == "prices"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a b", "letters a to z"), ("über", "letters a to z"), ("-prices", "letters a to z"), ("a--b", "letters a to z"),
        ("abc", "3 characters"), ("a" * 65, "64"), ("admin", "reserved"), ("report", "reserved"),
        ("log-in", "reserved"), ("microsite", "reserved"), ("official-site", "reserved"), ("a/b", "letters a to z"),
    ],
)  # fmt: skip
def test_refused_names(maker: Any, key: dict[str, str], name: str, words: str) -> None:
    assert words in refused(maker, key, text="a", name=name)


def test_a_name_belongs_to_whoever_was_first(
    maker: Any, key: dict[str, str], make_key: Callable[..., Any], later: Callable[[float], None]
) -> None:
    ben = make_key("ben")
    link = make_link(maker, key, text="a", name="price-list")
    assert "taken" in refused(maker, ben, text="b", name="price-list")
    assert "taken" in refused(maker, key, text="b", name="price-list")
    maker.delete(f"/api/v1/links/{link['id']}", headers=key)
    assert "taken" in refused(maker, ben, text="b", name="price-list"), "it rests with its last holder"
    assert make_link(maker, key, text="again", name="price-list", expires_in=60)["path"] == "/l/price-list"
    later(31 * 86400)
    assert make_link(maker, ben, text="b", name="price-list")["path"] == "/l/price-list"


def test_the_name_of_another_member_is_refused(
    maker: Any, key: dict[str, str], make_key: Callable[..., Any]
) -> None:
    make_key("bernard")
    assert "another member" in refused(maker, key, text="a", name="bernard")
    assert make_link(maker, key, text="a", name="anna")["path"] == "/l/anna"


def test_twenty_names_are_enough(maker: Any, key: dict[str, str]) -> None:
    for number in range(20):
        make_link(maker, key, text="a", name=f"list-{number}")
    assert "20 are possible" in refused(maker, key, text="a", name="list-20")


# --- encrypted notes ---------------------------------------------------------------------------------------------


def test_without_the_proof_nobody_reads_or_burns(maker: Any, key: dict[str, str], visitor: Any) -> None:
    proof = "p" * 43
    note = {"ciphertext": "c" * 60, "proof_hash": hashlib.sha256(proof.encode()).hexdigest()}
    link = make_link(maker, key, encrypted=note)
    assert visitor.get(link["path"], headers=JSON).json == {"has_password": False, "encrypted": True}
    for body in ({}, {"proof": "wrong"}, {"proof": note["proof_hash"]}):
        answer = open_link(visitor, link["path"], **body)
        assert (answer.status_code, answer.json["code"]) == (401, "unauthorized")
        assert "incomplete" in answer.json["detail"]
    assert visitor.post(link["path"], headers=PAGE).status_code == 401
    assert state(maker, key, link) == ("open", 0)
    assert open_link(visitor, link["path"], proof=proof).json == {"kind": "text", "ciphertext": "c" * 60}
    assert state(maker, key, link) == ("used", 1)
    assert open_link(visitor, link["path"], proof=proof).status_code == 410


@pytest.mark.parametrize(
    "note",
    [
        {}, {"ciphertext": "c" * 60}, {"ciphertext": "c" * 60, "proof_hash": "0" * 63}, {"ciphertext": "c", "proof_hash": "0" * 64},
        {"ciphertext": "c+/=" * 20, "proof_hash": "0" * 64}, {"ciphertext": "c" * 60, "proof_hash": "0" * 64, "key": "k"}, "text",
    ],
)  # fmt: skip
def test_malformed_encrypted_notes(maker: Any, key: dict[str, str], note: Any) -> None:
    refused(maker, key, encrypted=note)


# --- terms -------------------------------------------------------------------------------------------------------


def test_the_first_opening_may_shorten_the_life(
    maker: Any, key: dict[str, str], visitor: Any, later: Callable[[float], None]
) -> None:
    link = make_link(maker, key, max_uses=None, expires_in=9000, shorten_to=600)
    later(1000)
    assert open_link(visitor, link["path"]).status_code == 200
    later(500)
    assert open_link(visitor, link["path"]).status_code == 200
    later(200)
    assert open_link(visitor, link["path"]).status_code == 410
    assert state(maker, key, link) == ("expired", 2)


def test_another_end_and_more_uses(
    maker: Any, key: dict[str, str], visitor: Any, later: Callable[[float], None]
) -> None:
    link = make_link(maker, key, expires_in=60)
    change = lambda **fields: maker.patch(f"/api/v1/links/{link['id']}", json=fields, headers=key)  # noqa: E731
    assert change(expires_in=9000, max_uses=2).json["max_uses"] == 2
    later(120)
    assert open_link(visitor, link["path"]).status_code == 200
    assert change(max_uses=1).status_code == 422
    assert change(expires_in=10**9).status_code == 422
    assert open_link(visitor, link["path"]).status_code == 200
    assert (change(expires_in=60).status_code, change(expires_in=60).json["code"]) == (409, "conflict")


def test_all_as_a_zip_with_every_name_once(maker: Any, key: dict[str, str], visitor: Any) -> None:
    files = [
        put(maker, key, name, content)["id"]
        for name, content in (("a.txt", b"1"), ("a.txt", b"22"), ("A.TXT", b""))
    ]
    link = make_link(maker, key, files=files, title="Three")
    answer = visitor.post(link["path"], headers={"Accept": "application/zip"}, buffered=True)
    assert (answer.status_code, answer.mimetype) == (200, "application/zip")
    assert "Three.zip" in answer.headers["Content-Disposition"]
    assert answer.content_length == len(answer.data)
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "a.txt": b"1", "a (2).txt": b"22", "A (3).TXT": b"",
        }  # fmt: skip
    assert events(maker, key, link) == ["created", "opened", "download_started", "downloaded"]
    assert visitor.post(link["path"], headers={"Accept": "application/zip"}).status_code == 410


def test_the_maker_finds_what_arrived(app: Any, maker: Any, key: dict[str, str]) -> None:
    browser = app.test_client()
    sign_in(browser, "anna")
    link = make_link(maker, key, upload={"max_files": 1}, max_uses=5)
    target = path_of(open_link(app.test_client(), link["path"]).json["url"])
    app.test_client().put(f"{target}plan.txt", data=b"x", headers=JSON)
    page = browser.get(f"/links/{link['id']}").get_data(as_text=True)
    found = re.search(r'href="(/files/[^"]+)">plan\.txt', page)
    assert found
    assert browser.get(found[1]).status_code == 200
    assert ">open<" in page
    assert "full" in page
    first = app.test_client().get(link["path"], headers=PAGE).get_data(as_text=True)
    assert "All the files that were asked for have arrived" in first
    assert "<button" not in first.partition("Report this link")[0]


def test_who_is_invited_reads_as_what(inviting: Any) -> None:
    link = invite(inviting)
    page = inviting.test_client().get(f"/auth/register?invitation={link['token']}").get_data(as_text=True)
    assert "You are invited, and become a member here." in page
