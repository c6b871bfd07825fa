"""Recorded sequences with their answers, in the gate `accuracy`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from changeover.errors import ModelRejected
from changeover.prover import course
from changeover.prover.recited import accuracy
from changeover.prover.subject import Subject
from changeover.rollout.plan_gates import AccuracyGate
from changeover.runtime import faults
from changeover.sequences.section import Declared
from changeover.transport.control import GateResult, WorkerSpec
from tests import sequence_models as models
from tests.prover.test_proving import Bench

STEPS = np.random.default_rng(3).normal(size=(5, 6, 4)).astype(np.float32)
SUMS = STEPS.cumsum(axis=1)
"""What the model answers, a step after the other."""


def judged(folder: Path, rule: AccuracyGate | None = None, factor: float = 1.0, **arrays: Any) -> GateResult:
    """A model whose answer is the sum of all steps, times a factor, against what is recorded."""
    golden = folder / "golden"
    if arrays:
        golden.mkdir(exist_ok=True)
        np.savez(golden / "set.npz", **arrays)
    path = folder / "model.onnx"
    path.write_bytes(models.running_sum(factor).SerializeToString())
    declared = msgspec.convert(models.SUM_STATE, Declared)
    spec = WorkerSpec(1, "m", "1", "", str(path), "", "", optimization="off", sequence=declared)
    subject = Subject(faults.load(spec).session, True, 8, 30.0)
    return accuracy(rule or AccuracyGate(), [str(golden)], subject, lambda: None)


def test_every_step_of_a_sequence_is_compared(tmp_path: Path) -> None:
    """With the state of the steps before it, from the initial one on: a run of each step alone would be wrong."""
    found = judged(tmp_path, x=STEPS, y=SUMS)
    assert (found.result, found.evidence["value"]) == ("passed", 1.0)
    assert (found.evidence["samples"], found.evidence["of"], found.evidence["max_abs"] < 1e-5) == (5, 5, True)
    assert "tolerance 1 on 5 sequences" in found.detail
    alone = judged(tmp_path, x=STEPS, y=STEPS)
    assert (alone.result, alone.evidence["value"]) == ("failed", pytest.approx(1 / 6, abs=1e-6))


def test_a_version_that_answers_otherwise_is_refused(tmp_path: Path) -> None:
    """The mark of a sequence is the share of its steps that are right; the interval is that of sequences."""
    half = SUMS.copy()
    half[:2, 3:] += 1
    found = judged(tmp_path, x=STEPS, y=half)
    assert (found.result, found.evidence["reason"]) == ("failed", "accuracy_low")
    assert (found.evidence["value"], found.evidence["interval"]) == (0.8, "bootstrap")
    assert found.evidence["low"] < 0.8 < found.evidence["high"]
    assert judged(tmp_path, AccuracyGate(min=0.75), x=STEPS, y=half).result == "passed"


def test_labels_and_the_other_metrics(tmp_path: Path) -> None:
    """A class a step; states that were recorded, too, are not compared."""
    labels = SUMS.argmax(axis=2)
    assert judged(tmp_path, AccuracyGate(min=1.0), x=STEPS, labels=labels, h=SUMS, h_next=SUMS).result == "passed"
    assert judged(tmp_path, AccuracyGate(min=0.5), x=STEPS, labels=3 - labels).result == "failed"
    assert judged(tmp_path, AccuracyGate(metric="cosine"), factor=3.0, x=STEPS, y=SUMS).result == "passed"
    assert judged(tmp_path, AccuracyGate(metric="agreement"), factor=3.0, x=STEPS, y=SUMS).result == "passed"


@pytest.mark.parametrize("arrays", [{}, {"x": STEPS}])
def test_without_answers_there_is_nothing_to_compare(tmp_path: Path, arrays: dict[str, Any]) -> None:
    """Which is told, and refuses a version whose plan has a minimum."""
    found = judged(tmp_path, **arrays)
    assert (found.result, "state" in found.detail) == ("skipped", True)
    missing = judged(tmp_path, AccuracyGate(min=0.5), **arrays)
    assert (missing.result, missing.evidence["reason"]) == ("failed", "golden_missing")
    assert judged(tmp_path, AccuracyGate(metric="agreement"), **arrays).result == "skipped"


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"x": STEPS, "z": SUMS}, "'z' is neither an input nor an output"),
        ({"x": STEPS, "y": SUMS[:4]}, "'y' has other sequences or steps"),
        ({"x": STEPS, "labels": np.zeros(5, np.int64)}, "'labels' has other sequences or steps"),
        ({"x": STEPS, "y": SUMS.astype("U4")}, "'y' is FP32"),
        ({"y": SUMS}, "no array for input 'x'"),
    ],
)
def test_what_is_no_set_of_answers_is_refused(tmp_path: Path, arrays: dict[str, Any], sentence: str) -> None:
    """The error says what is wrong with it."""
    with pytest.raises(ModelRejected, match=sentence) as refused:
        judged(tmp_path, **arrays)
    assert refused.value.reason == "golden_invalid"


def test_files_are_one_set_and_long_sequences_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files may differ in the number of steps, and not in what they hold."""
    (tmp_path / "golden").mkdir()
    np.savez(tmp_path / "golden" / "a.npz", x=STEPS[:, :4], y=SUMS[:, :4])
    monkeypatch.setattr(course, "MOST_STEPS", 5)
    spoilt = SUMS.copy()
    spoilt[:, 5] = 9
    assert judged(tmp_path, x=STEPS, y=spoilt).evidence["samples"] == 10
    assert judged(tmp_path, x=STEPS, y=spoilt).result == "passed"
    with pytest.raises(ModelRejected, match="the same arrays"):
        judged(tmp_path, x=STEPS)


def test_a_version_that_is_proven_goes_through_it(tmp_path: Path) -> None:
    """The gate speaks in its turn, and a version that answers otherwise goes no further."""
    bench, golden = Bench(tmp_path), tmp_path / "golden"
    golden.mkdir()
    np.savez(golden / "set.npz", x=STEPS, y=SUMS)
    declared = msgspec.convert(models.SUM_STATE, Declared)
    for number, factor, ended in ((1, 1.0, ("ready", None)), (2, 1.5, ("failed", "accuracy_low"))):
        bench.reports.clear()
        worker = bench.worker(models.running_sum(factor).SerializeToString(), number, sequence=declared)
        end = bench.prove(worker, golden=[str(golden)])
        assert (end.state, end.reason) == ended
