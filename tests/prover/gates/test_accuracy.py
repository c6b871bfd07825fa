"""The accuracy gate: every metric by hand on small sets, with real sessions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from changeover.errors import ModelRejected
from changeover.prover import golden, intervals
from changeover.prover.gates.accuracy import Accuracy, metric_of, needs_active
from changeover.rollout.plan_gates import AccuracyGate
from changeover.transport.control import GateResult
from tests import onnx_models
from tests.prover.sessions import subject

ROWS = np.random.default_rng(7).random((50, 4), np.float32) + 0.1
LABELS = ROWS.argmax(axis=1)


def judged(folder: Path, factor: float, rule: AccuracyGate, active: float | None = None, **arrays: Any) -> GateResult:
    """A model `y = factor * x` against a set of these arrays."""
    np.savez(folder / "set.npz", x=ROWS, **arrays)
    models = folder / "models"
    models.mkdir()
    candidate = subject(models, onnx_models.scale(factor))
    made = golden.load(folder, candidate.session.inputs, candidate.session.outputs)
    beside = subject(models, onnx_models.scale(active)) if active is not None else None
    return Accuracy(rule, made, lambda: None).gate(candidate, beside)


def test_top1_with_its_interval(tmp_path: Path) -> None:
    """Five of fifty labels are wrong: 0.9, and Clopper and Pearson's interval of it."""
    labels = LABELS.copy()
    labels[:5] = (labels[:5] + 1) % 4
    found = judged(tmp_path, 2, AccuracyGate(min=0.9), labels=labels)
    low, high = intervals.share(45, 50)
    assert (found.result, found.evidence["value"], found.evidence["samples"]) == ("passed", 0.9, 50)
    assert (found.evidence["low"], found.evidence["high"]) == (round(low, 6), round(high, 6))
    assert "top1 0.9 on 50 samples" in found.detail


def test_below_the_minimum(tmp_path: Path) -> None:
    """The reason is a stable word, the sentence has value and minimum."""
    found = judged(tmp_path, -2, AccuracyGate(min=0.9), labels=LABELS)
    assert (found.result, found.evidence["reason"]) == ("failed", "accuracy_low")
    assert found.detail.endswith("below 0.9")


@pytest.mark.parametrize(("k", "value"), [(1, 0.0), (3, 0.0), (4, 1.0)])
def test_topk(tmp_path: Path, k: int, value: float) -> None:
    """Of four classes upside down the right one is the last."""
    found = judged(tmp_path, -2, AccuracyGate(metric="topk", k=k, min=0.5), labels=LABELS)
    assert (found.evidence["value"], found.evidence["k"]) == (value, k)


@pytest.mark.parametrize(("factor", "value"), [(2, 1.0), (2.0005, 1.0), (2.1, 0.0)])
def test_recorded_outputs_within_a_tolerance(tmp_path: Path, factor: float, value: float) -> None:
    """Every value of a sample has to be; all samples, unless the plan says fewer."""
    found = judged(tmp_path, factor, AccuracyGate(), y=2 * ROWS)
    assert (found.evidence["metric"], found.evidence["value"], found.evidence["min"]) == ("tolerance", value, 1.0)
    assert found.result == ("passed" if value == 1.0 else "failed")
    assert found.evidence["max_rel"] == pytest.approx((factor - 2) / 2, abs=1e-6)


def test_cosine_has_a_bootstrap_interval(tmp_path: Path) -> None:
    """Direction only: three times the answer is the same, the negative one is opposite."""
    found = judged(tmp_path, 3, AccuracyGate(metric="cosine"), y=2 * ROWS)
    assert (found.result, found.evidence["interval"]) == ("passed", "bootstrap")
    assert found.evidence["value"] == pytest.approx(1.0)


def test_agreement_with_what_was_recorded_or_with_the_active_version(tmp_path: Path) -> None:
    """The same best class; where nothing is recorded the active version says which."""
    rule = AccuracyGate(metric="agreement")
    assert judged(tmp_path, 3, rule, y=2 * ROWS).result == "passed"
    for name, factor, result in (("same", 3, "passed"), ("other", -3, "failed")):
        folder = tmp_path / name
        folder.mkdir()
        assert judged(folder, factor, rule, active=2.0, labels=LABELS).result == result
    folder = tmp_path / "none"
    folder.mkdir()
    assert judged(folder, 3, rule, labels=LABELS).result == "skipped"


def test_labels_without_a_minimum_are_judged_against_the_active_version(tmp_path: Path) -> None:
    """McNemar's test: what both have wrong says nothing."""
    labels = LABELS.copy()
    labels[:20] = (labels[:20] + 1) % 4
    same = judged(tmp_path, 3, AccuracyGate(), active=2.0, labels=labels)
    assert (same.result, same.evidence["active"], same.evidence["worse"]) == ("passed", 0.6, 0)
    worse = tmp_path / "worse"
    worse.mkdir()
    found = judged(worse, -3, AccuracyGate(), active=2.0, labels=labels)
    assert (found.result, found.evidence["reason"]) == ("failed", "accuracy_worse")
    assert found.evidence["p"] < 0.01
    first = tmp_path / "first"
    first.mkdir()
    assert "sets no minimum" in judged(first, 3, AccuracyGate(), labels=labels).detail


@pytest.mark.parametrize(
    ("metric", "labels", "outputs", "chosen"),
    [
        (None, True, False, "top1"),
        (None, False, True, "tolerance"),
        (None, True, True, "top1"),
        ("cosine", False, True, "cosine"),
        ("agreement", True, False, "agreement"),
        ("top1", False, True, None),
        ("cosine", True, False, None),
    ],
)
def test_the_metric_fits_the_set(metric: Any, labels: bool, outputs: bool, chosen: str | None) -> None:
    """What the set cannot answer is refused, never skipped."""
    made = golden.GoldenSet(Path(), labels=[1] if labels else None, outputs={"y": [ROWS]} if outputs else {})
    if chosen is None:
        with pytest.raises(ModelRejected) as caught:
            metric_of(AccuracyGate(metric=metric), made)
        assert caught.value.reason == "golden_invalid"
    else:
        assert metric_of(AccuracyGate(metric=metric), made) == chosen


def test_when_the_active_version_is_needed() -> None:
    """For agreement without records, and for labels without a minimum."""
    labelled, known = golden.GoldenSet(Path(), labels=[1]), golden.GoldenSet(Path(), outputs={"y": [ROWS]})
    assert needs_active(AccuracyGate(), labelled)
    assert not needs_active(AccuracyGate(min=0.5), labelled)
    assert needs_active(AccuracyGate(metric="agreement", min=0.5), labelled)
    assert not needs_active(AccuracyGate(metric="agreement"), known)


def test_a_run_that_fails_on_the_set(tmp_path: Path) -> None:
    """An index that the model does not have: the model's failure, not an error of the server."""
    np.savez(tmp_path / "set.npz", x=np.array([[99]]), labels=np.array([1]))
    (tmp_path / "models").mkdir()
    candidate = subject(tmp_path / "models", onnx_models.gather())
    made = golden.load(tmp_path, candidate.session.inputs, candidate.session.outputs)
    with pytest.raises(ModelRejected) as caught:
        Accuracy(AccuracyGate(min=0.5), made, lambda: None).gate(candidate, None)
    assert caught.value.reason == "golden_run_failed"


def test_a_model_without_classes_has_no_top1(tmp_path: Path) -> None:
    """Single numbers have no best class."""
    np.savez(tmp_path / "set.npz", x=np.array([[1]]), labels=np.array([1]))
    (tmp_path / "models").mkdir()
    candidate = subject(tmp_path / "models", onnx_models.gather())
    made = golden.load(tmp_path, candidate.session.inputs, candidate.session.outputs)
    with pytest.raises(ModelRejected, match="names a class"):
        Accuracy(AccuracyGate(min=0.5), made, lambda: None).gate(candidate, None)


def test_a_sample_on_which_the_active_version_fails(tmp_path: Path) -> None:
    """It has that one wrong, and the others right: what the candidate mends is no reason to refuse it."""
    np.savez(tmp_path / "set.npz", x=np.array([[1], [0], [99]]), labels=np.array([0, 0, 0]))
    (tmp_path / "models").mkdir()
    candidate = subject(tmp_path / "models", scores(100))
    active = subject(tmp_path / "models", scores(2))
    made = golden.load(tmp_path, candidate.session.inputs, candidate.session.outputs)
    found = Accuracy(AccuracyGate(), made, lambda: None).gate(candidate, active)
    assert (found.result, found.evidence["value"]) == ("passed", 1.0)
    assert (found.evidence["active"], found.evidence["better"], found.evidence["worse"]) == (0.666667, 1, 0)
    agreeing = Accuracy(AccuracyGate(metric="agreement"), made, lambda: None).gate(candidate, active)
    assert (agreeing.evidence["value"], agreeing.evidence["samples"]) == (1.0, 2)
    useless = subject(tmp_path / "models", scores(1))
    for arrays in made.inputs.values():
        arrays[:] = [np.full_like(array, 99) for array in arrays]
    assert Accuracy(AccuracyGate(metric="agreement"), made, lambda: None).gate(candidate, useless).result == "skipped"
    refused = Accuracy(AccuracyGate(metric="agreement", min=0.5), made, lambda: None).gate(candidate, useless)
    assert (refused.result, refused.evidence["reason"]) == ("failed", "golden_run_failed")
    assert refused.detail == "the plan has a minimum; the active version fails on all of the golden set"


def scores(rows: int) -> onnx.ModelProto:
    """Two scores for an index below `rows`; a run with another one fails."""
    table = np.tile(np.array([[2.0, 1.0]], np.float32), (rows, 1))
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "x"], ["wide"]), helper.make_node("Squeeze", ["wide", "axis"], ["y"])],
        "scores",
        [helper.make_tensor_value_info("x", TensorProto.INT64, ["N", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1]), "axis")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def classifier() -> onnx.ModelProto:
    """As converters write them: a label as text, and behind it a probability for each class."""
    inner = [
        helper.make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=0),
        helper.make_node(
            "LabelEncoder", ["best"], ["label"], domain="ai.onnx.ml", keys_int64s=[0, 1, 2, 3],
            values_strings=["a", "b", "c", "d"],
        ),
        helper.make_node("Softmax", ["x"], ["probabilities"], axis=1),
    ]  # fmt: skip
    graph = helper.make_graph(
        inner,
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [
            helper.make_tensor_value_info("label", TensorProto.STRING, ["N"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 4]),
        ],
    )
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    return helper.make_model(graph, opset_imports=versions, ir_version=9)


def test_topk_of_a_classifier_that_names_its_label_first(tmp_path: Path) -> None:
    """The scores are those of the output that has some."""
    np.savez(tmp_path / "set.npz", x=ROWS, labels=ROWS.argsort(axis=1)[:, -2])
    (tmp_path / "models").mkdir()
    candidate = subject(tmp_path / "models", classifier())
    made = golden.load(tmp_path, candidate.session.inputs, candidate.session.outputs)
    for k, value in ((1, 0.0), (2, 1.0)):
        found = Accuracy(AccuracyGate(metric="topk", k=k, min=0.0), made, lambda: None).gate(candidate, None)
        assert found.evidence["value"] == value


@pytest.mark.parametrize(("nodes", "shape"), [(["Neg", "Reshape"], ["N", 1, 2, 2]), (["ReduceMax"], [])])
@pytest.mark.parametrize("metric", ["topk", "top1"])
def test_what_stands_before_the_scores(tmp_path: Path, nodes: list[str], shape: list[str | int], metric: Any) -> None:
    """A map of features, upside down, or a single number is not taken for them."""
    feeds = iter(["x", "n"])
    inner = [helper.make_node(node, [next(feeds)], ["n"]) for node in nodes]
    if shape:
        inner[-1].input.append("to")
    else:
        inner[-1].attribute.append(helper.make_attribute("keepdims", 0))
    inner[-1].output[0] = "before"
    graph = helper.make_graph(
        [*inner, helper.make_node("Softmax", ["x"], ["scores"])],
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N" if shape else 1, 4])],
        [
            helper.make_tensor_value_info("before", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N" if shape else 1, 4]),
        ],
        [numpy_helper.from_array(np.array([-1, 1, 2, 2]), "to")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    np.savez(tmp_path / "set.npz", x=ROWS, labels=LABELS)
    (tmp_path / "models").mkdir()
    candidate = subject(tmp_path / "models", model, batchable=bool(shape))
    made = golden.load(tmp_path, candidate.session.inputs, candidate.session.outputs)
    found = Accuracy(AccuracyGate(metric=metric, k=1, min=0.5), made, lambda: None).gate(candidate, None)
    assert found.evidence["value"] == 1.0


@pytest.mark.parametrize("metric", ["tolerance", "cosine"])
def test_an_answer_of_another_shape_is_a_wrong_one(tmp_path: Path, metric: Any) -> None:
    """One box more than was recorded: one miss of three. Where no answer fits, the set is not one for this model."""
    for number, given in enumerate(([1, 0, 0, 1], [1, 0, 0, 0], [1, 1, 1, 0])):
        folder = tmp_path / f"test_data_set_{number}"
        folder.mkdir()
        x = np.array([given], np.float32)
        y = np.argwhere(x).astype(np.int64)
        for name, array in (("input_0.pb", x), ("output_0.pb", y if number else y[:1])):
            tensor = numpy_helper.from_array(array, name)
            (folder / name).write_bytes(tensor.SerializeToString())
    (tmp_path / "models").mkdir()
    candidate = subject(tmp_path / "models", boxes(), batchable=False)
    made = golden.load(tmp_path, candidate.session.inputs, candidate.session.outputs)
    found = Accuracy(AccuracyGate(metric=metric, min=0.5), made, lambda: None).gate(candidate, None)
    assert (found.result, found.evidence["value"]) == ("passed", 0.666667)
    for arrays in made.outputs.values():
        arrays[:] = [array[:0] for array in arrays]
    with pytest.raises(ModelRejected, match="was recorded as"):
        Accuracy(AccuracyGate(metric=metric, min=0.5), made, lambda: None).gate(candidate, None)


def boxes() -> onnx.ModelProto:
    """The places of what is not zero: as many rows as the data have it."""
    graph = helper.make_graph(
        [helper.make_node("NonZero", ["x"], ["places"]), helper.make_node("Transpose", ["places"], ["y"])],
        "boxes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["A", 4])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, ["B", 2])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
