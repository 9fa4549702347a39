"""The reviewing client is itself reviewed: it refuses planted faults, and accepts a good page."""

from __future__ import annotations

import pytest

from tests.reviewer import ReviewingClient, review

GOOD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>A page</title>
<link rel="stylesheet" href="/static/base.css">
<script src="/static/theme.js"></script>
</head>
<body>
<h1>A page</h1>
<p><a href="https://example.org/">elsewhere</a></p>
<form method="post" action="/files/">
<input type="hidden" name="csrf_token" value="t">
<label for="name">Name</label><input id="name" name="name">
<label>Size <input name="size"></label>
<input name="q" aria-label="Search">
<button type="submit">Save</button>
</form>
<form action="/search"><button type="submit">Search</button></form>
</body>
</html>
"""
PLANTED = {
    "an inline script": ("<h1>", "<script>alert(1)</script><h1>", "inline script"),
    "a style element": ("<meta ", "<style>p{}</style><meta ", "style sheet"),
    "a style attribute": ("<p>", '<p style="color:red">', "style attribute"),
    "a handler": ("<p>", '<p onclick="go()">', "module"),
    "a field without label": ('<label for="name">', '<label for="other">', "label"),
    "an id that stands twice": ("<p>", '<p id="name">', "twice"),
    "a foreign script": ('src="/static/theme.js"', 'src="https://cdn.example/theme.js"', "foreign origin"),
    "a foreign style sheet": ('href="/static/base.css"', 'href="//cdn.example/base.css"', "foreign origin"),
    "a foreign form": ('action="/files/"', 'action="https://evil.example/"', "foreign origin"),
    "a foreign picture": ("<p>", '<p><img src="http://evil.example/a.png" alt="">', "foreign origin"),
    "two h1": ("<p>", "<h1>Again</h1><p>", "exactly one h1"),
    "no h1": ("<h1>A page</h1>", "", "exactly one h1"),
    "no title": ("<title>A page</title>", "", "title"),
    "an empty title": ("<title>A page</title>", "<title> </title>", "title"),
    "a form without token": ('<input type="hidden" name="csrf_token" value="t">', "", "csrf"),
    "an empty time": ("<p>", '<p><time datetime="2030-01-01"></time>', "moment and words"),
    "a time of no moment": ("<p>", "<p><time>soon</time>", "moment and words"),
    "a time with a fraction": (
        "<p>",
        '<p><time datetime="2030-01-01T00:00:00.123456Z">then</time>',
        "seconds",
    ),
    "a name of what has no role": ("<p>", '<p aria-label="Words">', "a role"),
    "a section without a heading": ("<p>", "<section><b>Words</b></section><p>", "a heading"),
    "HTML that is not strict": ("</h1>", "</h2>", "strict"),
}


def test_a_good_page_passes() -> None:
    review(GOOD, "GET /page")


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str) -> None:
    old, new, words = PLANTED[fault]
    assert old in GOOD
    with pytest.raises(AssertionError, match=words) as refused:
        review(GOOD.replace(old, new, 1), "GET /page")
    assert "GET /page" in str(refused.value), "the sentence must say which page it is about"


def test_the_recipient_s_page_needs_no_token() -> None:
    page = GOOD.replace('<input type="hidden" name="csrf_token" value="t">', "").replace("/files/", "/l/abc")
    review(page, "GET /l/abc")


def test_every_test_client_of_an_application_reviews(app: object) -> None:
    assert isinstance(app.test_client(), ReviewingClient)  # type: ignore[attr-defined]
