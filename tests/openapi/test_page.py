"""The page at `/docs`: complete, readable without a script, and nothing from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from changeover.openapi.page import POLICY, page
from tests.openapi.test_document import DOCUMENT

PAGE = page(DOCUMENT)
_VOID = {"meta", "br"}


class Reader(HTMLParser):
    """The tags that are open, the identifiers, the links."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in _VOID:
            self.open.append(tag)
        found = dict(attrs)
        if "id" in found:
            self.ids.append(found["id"] or "")
        if "href" in found or "src" in found:
            self.links.add(found.get("href") or found.get("src") or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader


def test_every_tag_is_closed_and_every_link_leads_somewhere() -> None:
    """To a place of the page, or to the document beside it; an identifier comes once."""
    reader = read(PAGE)
    assert reader.open == []
    assert len(set(reader.ids)) == len(reader.ids)
    assert {link.removeprefix("#") for link in reader.links} <= {*reader.ids, "openapi.json"}


def test_nothing_comes_from_elsewhere() -> None:
    """It is read where there is no network; the policy says so to the browser too."""
    assert read(PAGE).tags.isdisjoint({"script", "link", "img", "iframe", "object"})
    assert not re.search(r"url\(|@import|https?://", PAGE)
    assert POLICY.startswith("default-src 'none'")


def test_the_page_has_what_the_document_has() -> None:
    """Paths, statuses, reasons, parameters, headers, bodies."""
    for word in ("/things/{name}", "Make a thing.", "<b>503</b>", "<code>worse</code>", "many", "Retry-After", "admin"):
        assert word in PAGE
    assert {"make", "all", "Thing", "Failure"} <= set(read(PAGE).ids)


def test_texts_are_escaped() -> None:
    """Whoever wrote them."""
    crooked = {**DOCUMENT, "info": {**DOCUMENT["info"], "title": "<script>x", "description": "a & b"}}
    assert "<script>" not in page(crooked)
    assert "a &amp; b" in page(crooked)
