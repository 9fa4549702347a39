"""What stands in names that others are shown, and that no redirect repeats what a client calls this site."""

from __future__ import annotations

from typing import Any

import pytest

from microsite.core.downloads import _zip_name
from tests.auth.steps import post_form

HIDDEN = ["\u2028", "\u2029", "\u202e", "\u2066", "\u200f", "\u061c", "\ufeff", "\u00ad"]


@pytest.mark.parametrize("character", HIDDEN, ids=ascii)
def test_marks_that_reorder_or_break_lines_are_refused_by_page_and_api(
    anna: Any, make_key: Any, character: str
) -> None:
    name = f"moc{character}.exe"
    refused = post_form(anna, "/account/details", page="/account/", name=name, about="")
    assert refused.status_code == 422
    assert "cannot be shown" in refused.get_data(as_text=True)
    key = make_key("anna")
    for path, body in (("/api/v1/links", {"text": "x", "title": name}), ("/api/v1/keys", {"name": name})):
        answer = anna.application.test_client().post(path, json=body, headers=key)
        assert (answer.status_code, answer.json["code"]) == (422, "validation_failed"), path


@pytest.mark.parametrize("name", ["می\u200cخواهم", "👩\u200d💻 Anna", "Ünïcode 名前", "שלום"], ids=ascii)
def test_words_and_emoji_that_need_joiners_are_names(anna: Any, name: str) -> None:
    assert post_form(anna, "/account/details", page="/account/", name=name, about="").status_code == 303


def test_texts_of_several_lines_keep_their_marks(anna: Any) -> None:
    about = "one\u2028two\r\n\u200fשלום\u200e"
    assert post_form(anna, "/account/details", page="/account/", name="", about=about).status_code == 303


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Photographs", "Photographs.zip"),
        ("Photographs 1/2", "Photographs 1-2.zip"),
        ("..\\..\\x", "..-..-x.zip"),
        ("a\u202eb\r\nc", "abc.zip"),
        ("x" * 300, "x" * 251 + ".zip"),
    ],
    ids=ascii,
)
def test_a_zip_is_named_like_a_file(title: str, name: str) -> None:
    assert _zip_name(title) == name


@pytest.mark.parametrize("host", ["localhost:1", "localhost:8000", "127.0.0.1"])
def test_redirects_do_not_repeat_host_and_port(app: Any, anna: Any, host: str) -> None:
    where = {"base_url": f"http://{host}"}
    for path, location in (
        ("/files", "/files/"),
        ("/links?cursor=x", "/links/?cursor=x"),
        ("/links//new", "/links/new"),
        ("//evil.example//x", "/evil.example/x"),
    ):
        answer = app.test_client().get(path, **where)
        if answer.status_code == 404:
            continue
        assert (answer.status_code, answer.headers["Location"]) == (308, location), path
        assert host not in answer.get_data(as_text=True)
    signed_out = app.test_client().get("/files/", **where)
    assert signed_out.location == "/auth/login?next=/files/"
