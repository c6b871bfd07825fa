"""What became of a candidate, from records that a test wrote."""

from __future__ import annotations

from typing import Any

import pytest

from changeover.bench.check import Outcome as Answer
from changeover.bench.records import Records, Timing
from changeover.rehearsal.cases import Case
from changeover.rehearsal.outcome import Moments, caught_by, outcome, summary, verdict_at

ROLLED_BACK: dict[str, Any] = {
    "phase": "rolled_back",
    "reason": "error_rate",
    "detail": "too many",
    "arms": {"candidate": {"shielded": 4}},
    "history": [
        {"phase": "progressing", "step": "5%", "at": "2026-01-01T00:00:00.000000Z"},
        {"phase": "rolling_back", "step": "", "at": "2026-01-01T00:00:07.500000Z"},
        {"phase": "rolled_back", "step": "", "at": "2026-01-01T00:00:07.512500Z"},
    ],
}


def records(*rows: tuple[float, str, float, Answer]) -> Records:
    """Requests: when sent, by whom answered ("" for nobody), seconds it took, how."""
    made = Records()
    for sent, version, took, answer in rows:
        timing = Timing(sent, sent, sent + took, fresh=False)
        if version:
            made.add_answer(timing, made.version_index(version), answer, 1)
        else:
            made.add_failure(timing, 500, "run_failed", answer)
    return made


SEEN = records(
    (1.0, "1", 0.1, Answer.OK),
    (2.0, "2", 0.1, Answer.OK),
    (11.0, "2", 0.1, Answer.WRONG),
    (12.0, "2", 3.0, Answer.OK),
    (12.0, "", 0.1, Answer.FAILED),
    (15.25, "2", 0.1, Answer.OK),
    (16.0, "1", 0.1, Answer.OK),
)


def test_a_bad_candidate_that_was_taken_back() -> None:
    """Exposed is who came to it after its fault had begun, the shielded ones included."""
    made = outcome(Case("error"), 3, Moments(0.5, 10.0, 15.0), ROLLED_BACK, (SEEN, "2", 2.0))
    assert made.right
    assert (made.kind, made.run, made.caught_by, made.reason, made.step) == (
        "error@canary",
        3,
        "judge",
        "error_rate",
        "5%",
    )
    assert made.detection_s == 5.0
    assert (made.requests, made.exposed, made.shielded) == (7, 3 + 4, 4)
    assert (made.errors, made.wrong, made.late) == (1, 1, 1)
    assert (made.back_ms, made.acknowledged_ms) == (350.0, 12.5)
    assert made.failures == {"500 run_failed": 1}


def test_a_healthy_candidate_that_was_taken_back() -> None:
    """Is a false alarm."""
    made = outcome(Case("healthy"), 1, Moments(0.5, None, 15.0), ROLLED_BACK, (SEEN, "2", 2.0))
    assert not made.right
    assert made.detection_s == 14.5


@pytest.mark.parametrize("kind", ["healthy", "error"])
def test_a_candidate_that_was_promoted(kind: str) -> None:
    """Right for a healthy one only; nothing was detected."""
    made = outcome(Case(kind), 1, Moments(0.5, 10.0, 15.0), {"phase": "watching"}, (SEEN, "2", 2.0))
    assert made.right == (kind == "healthy")
    assert (made.caught_by, made.detection_s, made.back_ms) == ("nobody", None, None)


@pytest.mark.parametrize("kind", ["healthy", "error"])
def test_a_candidate_without_an_end(kind: str) -> None:
    """Is right for neither: a plan has to come to a decision."""
    made = outcome(Case(kind), 1, Moments(0.5, None, 15.0), {"phase": "paused"}, (SEEN, "2", 2.0))
    assert not made.right


def test_a_candidate_that_answered_nobody() -> None:
    """All traffic was back before it had left."""
    made = outcome(Case("nan", "load"), 1, Moments(0.5, 0.5, 3.0), {"phase": "failed"}, (SEEN, "9", 2.0))
    assert (made.exposed, made.back_ms, made.acknowledged_ms, made.detection_s) == (0, 0.0, None, 2.5)


@pytest.mark.parametrize(
    ("phase", "reason", "gates", "who"),
    [
        ("failed", "output_not_finite", [("structure", "passed"), ("warmup", "failed")], "gate warmup"),
        ("rolled_back", "error_rate", [("warmup", "passed")], "judge"),
        ("rolled_back", "latency_increase", [], "judge"),
        ("rolled_back", "shield_budget_spent", [], "shield"),
        ("rolled_back", "worker_crash_loop", [], "death"),
        ("rolled_back", "memory_limit", [], "death"),
        ("succeeded", None, [], "nobody"),
    ],
)
def test_who_caught_it(phase: str, reason: str | None, gates: list[tuple[str, str]], who: str) -> None:
    """A gate by its name; else by the reason of the rollout."""
    rollout = {"phase": phase, "reason": reason, "gates": [{"gate": g, "result": r} for g, r in gates]}
    assert caught_by(rollout) == who


@pytest.mark.parametrize(("by", "who"), [("judge", "judge"), ("worker", "death"), ("operator", "operator")])
def test_who_decided_is_in_the_history(by: str, who: str) -> None:
    """Of the moment at which the way back began."""
    history = [{"phase": "progressing", "by": "plan"}, {"phase": "rolling_back", "by": by}, {"phase": "rolled_back"}]
    assert caught_by({"phase": "rolled_back", "reason": "strange", "history": history}) == who


def test_the_verdict_is_the_beginning_of_the_way_back() -> None:
    """Its wall time is brought to the clock of the records."""
    history = [
        {"phase": "progressing", "at": "2026-01-01T00:00:00.000000Z"},
        {"phase": "rolling_back", "at": "2026-01-01T00:00:07.500000Z"},
        {"phase": "rolled_back", "at": "2026-01-01T00:00:08.000000Z"},
    ]
    assert verdict_at({"history": history}, 1767225610.0, 100.0) == pytest.approx(97.5)
    assert verdict_at({"history": history[:1]}, 1767225610.0, 100.0) is None
    assert verdict_at({}, 0.0, 0.0) is None


def test_a_row_a_kind() -> None:
    """Sums, the largest way back, the median of the detection times."""
    made = [
        outcome(Case("error"), run, Moments(0.5, 10.0, verdict), ROLLED_BACK, (SEEN, "2", 2.0))
        for run, verdict in ((1, 11.0), (2, 15.0), (3, 13.0))
    ]
    (row,) = summary(made)
    assert (row["kind"], row["runs"], row["right"], row["taken_back"]) == ("error@canary", 3, 3, 3)
    assert row["detection_s"] == {"median": 3.0, "max": 5.0}
    assert (row["caught_by"], row["reasons"]) == ({"judge": 3}, {"error_rate": 3})
    assert (row["requests"], row["shielded"], row["errors"], row["back_ms"]) == (21, 12, 3, 4350.0)
    assert (row["acknowledged_ms"], row["failures"]) == (12.5, {"500 run_failed": 3})
