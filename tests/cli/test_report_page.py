"""The page of a rollout: everything that was measured, and nothing from elsewhere."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from changeover.cli.report_page import page
from tests.cli.fake import CERTIFICATE
from tests.cli.statuses import FINDINGS, PAUSED, PROGRESSING, ROLLED_BACK, SUCCEEDED, VALIDATING, Status

NOW = datetime(2026, 1, 31, 13, 0, tzinfo=UTC)
STEP = {
    "name": "5%",
    "started": "2026-01-31T12:00:04Z",
    "verdict": "failed",
    "numbers": {
        "held_s": 12.0, "requests": {"active": 14253, "candidate": 745}, "failures": {"active": 0, "candidate": 31},
        "detail": "31 of 745 failed", "findings": FINDINGS,
    },
}  # fmt: skip


class Words(HTMLParser):
    """The text of a page, and whether its elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, _: object) -> None:
        if tag not in ("meta", "line", "path", "rect", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


def words(text: str) -> str:
    """What people read."""
    parser = Words()
    parser.feed(text)
    assert parser.open == [], "elements that were not closed"
    return " ".join(" ".join(parser.text).split())


def test_a_changeover_that_went_well() -> None:
    """What changed, gates, the share over time, latency and memory, the certificate, the history."""
    made = page(SUCCEEDED, CERTIFICATE, NOW)
    told = words(made)
    for part in ("✔ succeeded", "e278" + "0" * 60, "every byte has the digest", "0 of 12,345 failed", "p99 before",
                 "2.20 ms", "99.0 MB", "epoch 7", "shadow is clear", "as of 2026-01-31 13:00:00 UTC"):  # fmt: skip
        assert part in told, part
    assert made.count("<svg") == 3


def test_a_rollout_that_was_taken_back() -> None:
    """The reason stands at the top, and the judge's findings with their limits."""
    certificate = CERTIFICATE | {"outcome": "rolled_back", "decided_by": "judge", "switch": None, "steps": [STEP]}
    made = page(ROLLED_BACK, certificate, NOW)
    told = words(made)
    assert "✖ rolled back 31 of 745 requests failed on version 2" in told
    assert "31 of 745" in told.partition("Steps and verdicts")[2]
    assert "rolled back, decided by judge" in told


@pytest.mark.parametrize("status", [PROGRESSING, PAUSED, VALIDATING], ids=lambda s: s["phase"])
def test_what_is_under_way_has_a_page(status: Status) -> None:
    """Whatever is missing is left out."""
    told = words(page(status, None, NOW))
    assert "There is none (yet)" in told
    assert status["phase"] in told


def test_the_page_needs_nothing_else() -> None:
    """No script, no address to load anything from, and what comes from a model's author is escaped."""
    odd = SUCCEEDED | {"model": "<script>alert(1)</script>", "detail": "<img src=x onerror=alert(1)>"}
    made = page(odd, CERTIFICATE, NOW)
    assert "<script" not in made
    assert "<img" not in made
    assert not re.search(r"(src|href|url)\s*[=(]", re.sub(r"&lt;.*?&gt;", "", made))
    assert not re.search(r"https?://", made)


def test_a_version_that_had_no_traffic_has_no_chart_of_its_share() -> None:
    """A sentence says so; the charts of latency and memory stay."""
    refused = {"phase": "failed", "detail": "it is refused", "step": None, "weight": None}
    moments = [{"at": f"2026-01-31T12:00:0{n}Z", "phase": p} for n, p in enumerate(("validating", "failed"))]
    made = page(SUCCEEDED | refused | {"history": moments}, CERTIFICATE, NOW)
    assert f"None of it went to version {SUCCEEDED['to']['version']}." in words(made)
    assert made.count("<svg") == 2


def test_the_share_is_a_staircase() -> None:
    """It stays as it is between two moments, and goes to all of the traffic at the promotion."""
    path = re.search(r'class="line"[^>]* d="([^"]+)"', page(SUCCEEDED, CERTIFICATE, NOW))
    assert path is not None
    places = [tuple(map(float, p[1:].split())) for p in re.findall(r"[ML][\d.]+ [\d.]+", path[1])]
    assert all(a[0] == b[0] or a[1] == b[1] for a, b in itertools.pairwise(places))
