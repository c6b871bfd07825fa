"""A rehearsal as people see it."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

from changeover.bench.check import Outcome as Answer
from changeover.bench.records import Records, Timing
from changeover.cli.rehearse_view import outcome_line, rehearsal_table
from changeover.rehearsal.cases import Case
from changeover.rehearsal.outcome import Moments, Outcome, outcome, summary

BACK = [
    {"phase": "rolling_back", "by": "judge", "at": "2026-01-01T00:00:07.500000Z"},
    {"phase": "rolled_back", "by": "judge", "at": "2026-01-01T00:00:07.512000Z"},
]
TAKEN = {"phase": "rolled_back", "reason": "error_rate", "arms": {"candidate": {"shielded": 4}}, "history": BACK}


def made(kind: str, rollout: dict[str, Any]) -> Outcome:
    """A candidate without any traffic."""
    return outcome(Case(kind), 1, Moments(0.0, 10.0, 12.5), rollout, (Records(), "2", 2.0))


def shown(*outcomes: Outcome) -> str:
    """The table of these candidates."""
    screen = StringIO()
    rows = {"summary": summary(outcomes), "passed": all(o.right for o in outcomes), "rate": 300.0}
    Console(width=200, file=screen).print(rehearsal_table(rows))
    return " ".join(screen.getvalue().split())


def test_a_candidate_in_one_line() -> None:
    """Who caught it, why, when, and what the clients had of it."""
    line = outcome_line(made("error", TAKEN))
    assert line.startswith("right: rolled_back, caught by judge (error_rate) after 2.5 s; 0 requests, 4 exposed, 4 sh")
    assert line.endswith("; last answer 0 ms and acknowledged 12 ms after the verdict")
    assert outcome_line(made("error", {"phase": "watching"})).startswith("WRONG: watching; ")


def test_a_row_a_kind_and_a_verdict() -> None:
    """What the plan does not do is named."""
    text = shown(made("healthy", {"phase": "succeeded"}), made("error", TAKEN), made("error", TAKEN))
    assert "error@canary 2 of 2 judge x2 error_rate 2.5 s" in text
    assert "0 0 0 0 ms 12 ms" in text
    assert "every bad candidate was taken back, every healthy one promoted" in text
    assert "the plan does not do: slow@canary" in shown(made("error", TAKEN), made("slow", {"phase": "succeeded"}))


def test_who_was_turned_away_is_told_apart() -> None:
    """It is an error all the same, and the machine's rather than the candidate's; without any nothing is said."""
    seen = Records()
    for reason, answer in (("queue_delay", Answer.SHED), ("run_failed", Answer.FAILED)):
        seen.add_failure(Timing(1.0, 1.0, 1.1, fresh=False), 503, reason, answer)
    crowded = outcome(Case("error"), 1, Moments(0.0, 10.0, 12.5), TAKEN, (seen, "2", 2.0))
    assert "2 errors (1 turned away), 0 wrong" in outcome_line(crowded)
    assert "note 1 of the errors are requests that were turned away" in shown(crowded)
    assert "cannot keep up with 300 requests a second" in shown(crowded)
    assert "turned away" not in outcome_line(made("error", TAKEN)) + shown(made("error", TAKEN))
