"""Words and pages of the workbench's pictures."""

from __future__ import annotations

from xml.etree import ElementTree

from changeover.workbench import drawing


def test_words_are_text_whatever_they_hold() -> None:
    """Names of operators and files come from models."""
    element = ElementTree.fromstring(drawing.said(1, 2.5, "<a> & b", 12, bold=True, anchor="end"))  # noqa: S314 - our own
    assert element.text == "<a> & b"
    assert element.attrib == {
        "x": "1", "y": "2.5", "font-size": "12", "fill": drawing.TEXT, "text-anchor": "end", "font-weight": "600"
    }  # fmt: skip


def test_long_words_end_in_an_ellipsis() -> None:
    """Those that fit stay as they are."""
    assert [drawing.cut(text, 4) for text in ("abcd", "abcde")] == ["abcd", "abc…"]


def test_a_title_is_text() -> None:
    """In the head and above the body, which is HTML already."""
    told = drawing.page("<x>", "<p>y</p>")
    assert told.count("&lt;x&gt;") == 2
    assert told.endswith("<p>y</p></html>")
