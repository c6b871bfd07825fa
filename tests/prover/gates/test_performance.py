"""The performance gate, with real sessions of known work."""

from __future__ import annotations

from pathlib import Path

import pytest

from changeover.prover.gates.performance import performance
from changeover.prover.subject import Subject
from changeover.rollout.plan_gates import PerformanceGate
from changeover.transport.control import GateResult
from tests import onnx_models
from tests.prover.sessions import subject

CPU = ("CPUExecutionProvider",)


def judged(candidate: Subject, active: Subject, limit: float = 1.5) -> GateResult:
    return performance(PerformanceGate(max_ratio=limit), candidate, active, CPU, lambda: None)


@pytest.mark.parametrize(("rounds", "result"), [(8, "passed"), (24, "failed")])
def test_work_is_compared(tmp_path: Path, rounds: int, result: str) -> None:
    """The same work passes, three times as much does not, and the interval holds the ratio."""
    active = subject(tmp_path, onnx_models.slow(8, size=96))
    found = judged(subject(tmp_path, onnx_models.slow(rounds, size=96)), active)
    assert found.result == result, found.detail
    for one in found.evidence["rows"].values():
        assert one["low"] <= one["ratio"] <= one["high"]
        assert one["pairs"] >= 7
    assert set(found.evidence["rows"]) == {"1", "8"}
    if result == "failed":
        assert found.evidence["reason"] == "too_slow"
        assert 2 < found.evidence["ratio"] < 4.5


def test_what_nobody_feels_is_no_refusal(tmp_path: Path) -> None:
    """Twice as long is a few millionths of a second here."""
    found = judged(subject(tmp_path, onnx_models.add_sub()), subject(tmp_path, onnx_models.add_sub()), limit=0.01)
    assert (found.result, "too small to count" in found.detail) == ("passed", True)


def test_rows_go_alone_where_they_must(tmp_path: Path) -> None:
    """A version that takes no batches is compared at one row only."""
    alone = subject(tmp_path, onnx_models.scale(2), batchable=False)
    assert set(judged(alone, subject(tmp_path, onnx_models.scale(2))).evidence["rows"]) == {"1"}


def test_runs_that_fail_leave_nothing_to_compare(tmp_path: Path) -> None:
    """Generated inputs need not suit every model: an index 1 in a table of one row."""
    model = subject(tmp_path, onnx_models.gather(1))
    assert judged(model, model).result == "skipped"
