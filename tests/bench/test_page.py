"""The page of a report."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from changeover.bench.charts import Chart
from changeover.bench.page import Report, page

FIGURES = [
    {"figure": "old_worker_gone", "met": True, "worst_s": 0.25, "reach": "<= 1 s"},
    {"figure": "requests", "met": False, "requests": 1234567, "by_role_mb": {"gateway": 1.5}, "reach": "0 <failed>"},
]


def report() -> str:
    charts = [Chart("Requests & answers", "per second", {"answers": [(0, 1), (1, 2)]})]
    return page(Report("Soak", "All <well>.", FIGURES, charts, {"cores": 2, "clean": True, "commit": None}, ["Note."]))


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "line", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "line", "path"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


def test_figures_are_shown_with_verdict_unit_and_limit() -> None:
    """Every figure says met or missed in a word, its values with their units, and what was to be reached."""
    text = _Text()
    text.feed(report())
    assert text.open == []
    words = text.words
    for shown in ("✓ met", "✗ missed", "old worker gone", "0.25 s", "<= 1 s", "1,234,567", "gateway 1.5 MB", "by role"):
        assert shown in words, shown
    assert {"All <well>.", "0 <failed>", "Requests & answers", "yes", "-", "Note."} <= set(words)


def test_the_file_needs_nothing_else() -> None:
    """No address, no script, no picture from elsewhere; both colour schemes are in it."""
    assert not re.search(r"https?:|<script|<link|@import|url\(|src=", report())
    assert "prefers-color-scheme: dark" in report()
