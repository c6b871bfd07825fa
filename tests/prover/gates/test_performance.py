"""The performance gate, with real sessions of known work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from changeover.prover.gates.performance import _Duel, performance
from changeover.prover.subject import Subject
from changeover.rollout.plan_gates import PerformanceGate
from changeover.transport.control import GateResult
from tests import onnx_models
from tests.prover.sessions import subject

CPU = ("CPUExecutionProvider",)


def judged(candidate: Subject, active: Subject, limit: float = 1.5, floor: float = 2e-5) -> GateResult:
    rule = PerformanceGate(max_ratio=limit, min_difference=floor)
    return performance(rule, candidate, active, CPU, lambda: None)


def chain(length: int) -> ModelProto:
    """A small model of so many matrix products in a row."""
    names = ["x", *(f"v{at}" for at in range(1, length)), "y"]
    nodes = [helper.make_node("MatMul", [names[at], "w"], [names[at + 1]]) for at in range(length)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 16]) for name in ("x", "y")]
    weights = numpy_helper.from_array(np.eye(16, dtype=np.float32)[::-1].copy(), "w")
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


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


def test_a_small_model_that_is_twice_as_slow(tmp_path: Path) -> None:
    """Of some ten millionths of a second a run: refused each time; the same work passes each time."""
    active = subject(tmp_path, chain(20))
    for _ in range(20):
        assert judged(subject(tmp_path, chain(20)), active, floor=0.0).result == "passed"
    for _ in range(5):
        found = judged(subject(tmp_path, chain(46)), active, floor=0.0)
        assert found.result == "failed", found.detail


def test_a_difference_that_is_too_small_is_no_refusal(tmp_path: Path) -> None:
    """Whatever the ratio; the plan says how small."""
    model = subject(tmp_path, onnx_models.add_sub())
    assert judged(model, model, limit=0.01, floor=-1.0).result == "failed"
    found = judged(model, model, limit=0.01, floor=1.0)
    assert (found.result, "1000 ms more counts for nothing" in found.detail) == ("passed", True), found.detail


def test_what_is_not_surely_over_the_limit_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole interval decides, after all the pairs there may be; one side of it is reached with the least."""
    model = subject(tmp_path, onnx_models.scale(2))
    told = iter([1.3, 1.9] * 400)
    monkeypatch.setattr(_Duel, "_pair", lambda _: (next(told), 1.0))
    found = judged(model, model, limit=1.4)
    assert (found.result, found.evidence["rows"]["1"]["pairs"]) == ("passed", 240), found.detail
    assert "not surely over the limit of 1.4" in found.detail
    found = judged(model, model, limit=0.9)
    assert (found.result, found.evidence["rows"]["1"]["pairs"]) == ("failed", 7)


def test_rows_go_alone_where_they_must(tmp_path: Path) -> None:
    """A version that takes no batches is compared at one row only."""
    alone = subject(tmp_path, onnx_models.scale(2), batchable=False)
    assert set(judged(alone, subject(tmp_path, onnx_models.scale(2))).evidence["rows"]) == {"1"}


def test_runs_that_fail_leave_nothing_to_compare(tmp_path: Path) -> None:
    """Generated inputs need not suit every model: an index 1 in a table of one row."""
    model = subject(tmp_path, onnx_models.gather(1))
    assert judged(model, model).result == "skipped"
