"""Whether a setting's answers are right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from changeover.demo import digits
from changeover.prover.golden import GoldenSet
from changeover.workbench.tuning.agreement import agree, shortened, specs
from changeover.workbench.tuning.rows import Rows
from changeover.workbench.tuning.stable import Stable
from changeover.workbench.tuning.wish import Setting, Wish


@pytest.fixture
def asked(tmp_path: Path) -> dict[str, Any]:
    """The digits beside themselves, on a golden set of labels."""
    samples = digits.load_samples()
    (tmp_path / "golden").mkdir()
    np.savez(tmp_path / "golden" / "a.npz", image=samples.inputs(), labels=samples.labels)
    Rows([samples.inputs()], batchable=True, source="requests").write(tmp_path / "rows.npz")
    (tmp_path / "same.onnx").write_bytes(digits.model_bytes("2"))
    (tmp_path / "worse.onnx").write_bytes(_worse(digits.model_bytes("2")))
    stable = Stable(Wish(), tmp_path, {"fp32": tmp_path / "same.onnx", "fp16": tmp_path / "worse.onnx"}, 30)
    return {
        "default": stable.spec(Setting()), "candidate": stable.spec(Setting(level="basic")), "samples": 200,
        "file": str(tmp_path / "rows.npz"), "golden": str(tmp_path / "golden"), "rule": {}, "min_accuracy": None,
        "max_difference": None, "worse": stable.spec(Setting("fp16")),
    }  # fmt: skip


def _worse(model: bytes) -> bytes:
    """The same graph with weights that were shaken."""
    proto = onnx.load_model_from_string(model)
    generator = np.random.default_rng(8)
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.ndim > 1 and values.dtype == np.float32:
            shaken = values + generator.normal(0, 2 * values.std(), values.shape).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(shaken, tensor.name))
    made: bytes = proto.SerializeToString()
    return made


def test_another_level_is_as_right(asked: dict[str, Any]) -> None:
    """By the golden set, and without one beside the default."""
    for golden in (asked["golden"], None):
        told = agree({**asked, "golden": golden})
        assert told["passed"], told
        assert told["evidence"]["samples"] == 200


def test_shaken_weights_are_not(asked: dict[str, Any]) -> None:
    """The golden set's labels say so, a minimum says so, and so does the comparison of answers."""
    bad = {**asked, "candidate": asked["worse"]}
    assert not agree(bad)["passed"]
    assert not agree({**bad, "rule": {"min": 0.9}})["passed"]
    told = agree({**bad, "golden": None})
    assert not told["passed"]
    assert told["evidence"]["agreement"] < 0.99
    assert "the best class is the same in" in told["detail"]


def test_the_bounds_are_the_caller_s(asked: dict[str, Any]) -> None:
    """What is allowed passes, and one that nothing reaches does not."""
    bad = {**asked, "golden": None, "candidate": asked["worse"], "min_accuracy": 0.0, "max_difference": 1.0}
    assert agree(bad)["passed"]
    assert agree({**bad, "max_difference": 1e-4})["passed"] is False
    assert not agree({**asked, "rule": {"min": 1.0}})["passed"]  # no version of the digits is always right


def test_a_large_set_is_shortened() -> None:
    """A random part of it, labels and inputs still together."""
    many = GoldenSet(Path("g"), "d", {"x": [np.array(at) for at in range(50)]}, list(range(50)), {})
    part = shortened(many, 10)
    assert part.samples == 10
    assert [int(one) for one in part.inputs["x"]] == part.labels
    assert part.labels != list(range(10))
    assert shortened(many, 50) is many


def test_specs_come_back() -> None:
    """As a subject tells them."""
    (spec,) = specs([["x", "FP32", [-1, 3]]])
    assert (spec.name, spec.datatype.name, spec.shape) == ("x", "FP32", (-1, 3))
