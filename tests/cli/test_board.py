"""The picture of a rollout, at the widths of real terminals."""

from __future__ import annotations

import io
from datetime import datetime
from typing import Any

import pytest
from rich.console import Console

from changeover.cli.board import board, fitted, line
from tests.cli.statuses import ALL, FIRST, PROGRESSING, ROLLED_BACK, VALIDATING, WATCHING, Status

NOW = datetime.fromisoformat("2026-01-31T12:01:24+00:00")


def drawn(status: Status, width: int = 80, **more: Any) -> str:
    """The picture as text, without spaces at the ends of lines."""
    screen = Console(width=width, file=io.StringIO(), highlight=False, color_system=None)
    screen.print(board(status, NOW, width, **more))
    return "\n".join(row.rstrip() for row in screen.file.getvalue().splitlines())  # type: ignore[attr-defined]


def test_a_rollout_at_eighty_columns() -> None:
    """All there is to know of a step, on a terminal of the usual size."""
    assert (
        drawn(PROGRESSING, moments=2).replace("\N{NO-BREAK SPACE}", " ")
        == """\
digits  1@f2b1 → 2@e278  r-000004                          ● progressing  1m 24s

✔ gates ─ ✔ shadow ─ ✔ 1% ─ ● 5% ─ ○ 25% ─ ○ 50% ─ ○ 100% ─ ○ undo window

step      5%, 3 of 6, held 12 s of 30 s, 745 of 1,000 requests
weight    5% set, 4.96% actual  █░░░░░░░░░░░░░░░░░░░░░░░░░░░░░
verdict   ● waiting: 18 s and 255 requests are missing at this step

version role      req/s requests p50 ms p95 ms p99 ms failed shielded
1@f2b1  active    475.1   14,253   0.41   0.98   2.23      0        0
2@e278  candidate  24.9      745   0.41   0.98   1.33      0        0

test       verdict    found                                              needs
errors     ● waiting  0 of 745 failed, 0 of 14,253 on the active         -
                      version: at most 0.41 points more
work p50   ✔ clear    1.02 times the active version's, at most 1.19      -
                      times
work p95   ● waiting  1.10 times the active version's, at most 1.61      57 more
                      times
agreement  ✔ clear    3 of 1,204 compared answers differ, at most 0.87%  -

12:00:40  progressing 1%  judge  shadow is clear
12:01:12  progressing 5%  judge  1% is clear: no regression above 1.2 points was
                                 left possible"""
    )


@pytest.mark.parametrize("width", [40, 80, 120, 200])
@pytest.mark.parametrize("situation", ALL)
def test_every_situation_fits_every_terminal(situation: str, width: int) -> None:
    """No line is wider than the terminal, and the phase is always told."""
    picture = drawn(ALL[situation], width)
    assert max(len(row) for row in picture.splitlines()) <= width
    assert ALL[situation]["phase"] in picture


@pytest.mark.parametrize(
    ("situation", "track"),
    [
        ("validating", "●gates ○shadow ○1% ○5% ○25% ○50% ○100% ○undo window"),
        ("progressing", "✔gates ✔shadow ✔1% ●5% ○25% ○50% ○100% ○undo window"),
        ("paused", "✔gates ✔shadow ✔1% ‖5% ○25% ○50% ○100% ○undo window"),
        ("rolled_back", "✔gates ✔shadow ✔1% ✖5% ○25% ○50% ○100% ○undo window"),
        ("watching", "✔gates ✔shadow ✔1% ✔5% ✔25% ✔50% ✔100% ●undo window"),
        ("succeeded", "✔gates ✔shadow ✔1% ✔5% ✔25% ✔50% ✔100% ✔undo window"),
        ("failed", "✖gates ○shadow ○1% ○5% ○25% ○50% ○100% ○undo window"),
        ("first", "✔gates ✔shadow ✔1% ✔5% ✔25% ✔50% ✔100%"),
    ],
)
def test_the_track_shows_where_it_is(situation: str, track: str) -> None:
    """Signs say what lies behind, where the rollout is and what lies ahead, without any colour."""
    row = drawn(ALL[situation], 120).splitlines()[2]
    assert row.replace(" ─ ", " ").replace("\N{NO-BREAK SPACE}", "").replace("undowindow", "undo window") == track


def test_after_the_promotion_the_roles_are_exchanged() -> None:
    """The new version is the active one, the old one stands by, and the way back has a deadline and a command."""
    words = " ".join(drawn(WATCHING, 120).split())
    assert "1@f2b1 standby" in words
    assert "2@e278 active" in words
    assert "12m 36s left: changeover undo digits" in words


def test_what_was_taken_back_says_why() -> None:
    """The reason with its numbers, the failures, and that no client saw them."""
    words = " ".join(drawn(ROLLED_BACK, 120).split())
    assert "error_rate: 31 of 745 requests failed" in words
    assert "31 31" in words
    assert "✖ failed" in words


def test_a_silent_server_is_told() -> None:
    """After two seconds without an answer the picture says that it is old."""
    assert "no answer from the server for 4 s" in drawn(PROGRESSING, silent_s=4.2)
    assert "no answer" not in drawn(PROGRESSING, silent_s=1.0)


@pytest.mark.parametrize("height", [18, 24, 40])
def test_a_low_screen_shows_less_of_the_past(height: int) -> None:
    """The picture stays within the screen as long as only the past has to be left out."""
    screen = Console(width=120, height=height, file=io.StringIO())
    rows = screen.render_lines(fitted(PROGRESSING, NOW, screen), pad=False)
    assert len(rows) < height
    assert any("12:01:12" in segment.text for row in rows for segment in row) is (height > 18)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (
            PROGRESSING,
            "r-000004 digits 1@f2b1 → 2@e278 progressing 5% (3/6) weight 5% set, 4.96% actual "
            "745 requests, 0 failed: 18 s and 255 requests are missing at this step",
        ),
        (VALIDATING, "r-000004 digits 1@f2b1 → 2@e278 validating"),
        (FIRST, "r-000004 digits nothing → 2@e278 succeeded"),
        (
            ROLLED_BACK,
            "r-000004 digits 1@f2b1 → 2@e278 rolled_back 745 requests, 31 failed: "
            "31 of 745 requests failed on version 2 and none of 14,253 on version 1: at least 1.9 points more",
        ),
    ],
)
def test_one_line(status: Status, words: str) -> None:
    """Where there is no terminal a line says the same."""
    assert line(status) == words
