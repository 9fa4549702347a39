"""The reviewing client: whatever page a test visits is read by a strict parser and checked against the house rules."""

from __future__ import annotations

import gzip
import re
from typing import Any
from urllib.parse import urlsplit

import html5lib
from flask.testing import FlaskClient

XHTML = "{http://www.w3.org/1999/xhtml}"
LABELLED = {"input", "select", "textarea"}
NAMELESS = {"div", "p", "pre", "span"}
NO_LABEL = {"hidden", "submit", "button"}


def review(html: str, where: str) -> None:
    """Raise AssertionError, with a sentence that says what to do, for a page that breaks a rule of the house."""
    try:
        document = html5lib.HTMLParser(strict=True).parse(html)
    except html5lib.html5parser.ParseError as error:
        raise AssertionError(f"{where}: the page is not strict HTML: {error}") from error
    elements = [(e.tag.removeprefix(XHTML), e) for e in document.iter() if isinstance(e.tag, str)]
    by_tag: dict[str, list[Any]] = {}
    for tag, element in elements:
        by_tag.setdefault(tag, []).append(element)

    titles = ["".join(t.itertext()).strip() for t in by_tag.get("title", []) if t.tag.startswith(XHTML)]
    assert [bool(title) for title in titles] == [True], f"{where}: give the page one title; it has {titles}"
    assert len(by_tag.get("h1", [])) == 1, (
        f"{where}: give the page exactly one h1; it has {len(by_tag.get('h1', []))}"
    )

    ids = [e.get("id") for _, e in elements if e.get("id")]
    doubled = sorted({i for i in ids if ids.count(i) > 1})
    assert not doubled, f"{where}: these ids stand twice, rename one of each: {doubled}"

    labels = {label.get("for") for label in by_tag.get("label", [])}
    inside = {id(child) for label in by_tag.get("label", []) for child in label.iter()}
    for tag, element in elements:
        if tag in LABELLED and element.get("type") not in NO_LABEL and element.get("hidden") is None:
            named = (
                element.get("id") in labels
                or id(element) in inside
                or element.get("aria-label")
                or element.get("aria-labelledby")
            )
            assert named, f"{where}: give <{tag} name={element.get('name')!r}> a label"
        assert element.get("style") is None, (
            f"{where}: move the style attribute of <{tag}> into a style sheet"
        )
        handlers = [name for name in element.attrib if name.startswith("on")]
        assert not handlers, f"{where}: move {handlers} of <{tag}> into a module"
        for attribute in ("src", "href", "action"):
            address = element.get(attribute) or ""
            foreign = urlsplit(address).netloc
            assert not foreign or tag == "a", (
                f"{where}: <{tag}> names the foreign origin {foreign}; serve it from here"
            )
    _review_meaning(elements, by_tag, where)
    assert "style" not in by_tag, f"{where}: move <style> into a style sheet"
    for script in by_tag.get("script", []):
        assert script.get("src"), f"{where}: move the inline script into a module"
    for form in by_tag.get("form", []):
        if (form.get("method") or "get").lower() == "post" and not where.split(" ")[1].startswith("/l/"):
            names = {e.get("name") for e in form.iter() if isinstance(e.tag, str)}
            assert "csrf_token" in names, (
                f"{where}: add {{{{ csrf() }}}} to the form that posts to {form.get('action')!r}"
            )


def _review_meaning(elements: list[tuple[str, Any]], by_tag: dict[str, list[Any]], where: str) -> None:
    """What readers of a page by voice and by program rely on."""
    for time in by_tag.get("time", []):
        exact = time.get("datetime") or ""
        told = bool(exact) and bool("".join(time.itertext()).strip())
        assert told, f"{where}: give <time> a moment and words, or leave it"
        assert "." not in exact, f"{where}: seconds are exact enough in <time datetime={exact!r}>"
    for tag, element in elements:
        if tag in NAMELESS and element.get("role") is None:
            assert element.get("aria-label") is None, f"{where}: give <{tag} aria-label> a role"
    for section in by_tag.get("section", []):
        headings = [
            e for e in section.iter() if isinstance(e.tag, str) and re.fullmatch(XHTML + "h[1-6]", e.tag)
        ]
        assert headings or section.get("aria-label"), (
            f"{where}: give <section class={section.get('class')!r}> a heading, or make it a <div>"
        )


class ReviewingClient(FlaskClient):
    """A test client that reviews every page it gets."""

    def open(self, *args: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("buffered", True)  # closes the files that answers are sent from
        response = super().open(*args, **kwargs)
        page = response.mimetype == "text/html" and response.status_code not in range(300, 400)
        download = "attachment" in response.headers.get("Content-Disposition", "")
        if page and not download and response.request.method not in ("HEAD", "OPTIONS"):
            data = response.get_data()
            if response.headers.get("Content-Encoding") == "gzip":
                data = gzip.decompress(data)
            review(data.decode(), f"{response.request.method} {response.request.path}")
        return response
