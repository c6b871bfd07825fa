"""A model at every level: graphs, figures, differences."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest

from changeover.demo import digits
from changeover.errors import ModelRejected
from changeover.workbench import microscope
from changeover.workbench.microscope import Wish, checked_levels, look
from tests.interface.adapting import image_model

QUICK = Wish(seconds=0.02, max_batch=4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "digits.onnx"
    place.write_bytes(digits.model_bytes("1"))
    return place


def test_the_digits_at_every_level(path: Path) -> None:
    """The graph shrinks, convolutions take their Relu in, and answers stay what they were but for the last bits."""
    found, graphs = look(path, QUICK)
    levels = {level["level"]: level for level in found["levels"]}
    assert list(levels) == ["off", "basic", "extended", "all"]
    assert len(graphs) == 4
    assert found["batches"] == [1, 4]
    assert levels["off"]["operators"] == {"Conv": 2, "Flatten": 1, "Gemm": 1, "MaxPool": 2, "Mul": 1, "Relu": 2}
    assert levels["extended"]["operators"]["com.microsoft.FusedConv"] == 2
    assert [one["of"] for one in levels["extended"]["rewrites"]] == [["Conv", "Relu"]] * 2
    assert levels["off"]["difference"] == {"max_abs": 0.0, "max_rel": 0.0}
    for level in levels.values():
        assert level["difference"]["max_rel"] < 1e-4
        assert 0 < level["latency_us"]["1"]["p50"] <= level["latency_us"]["1"]["p99"]
        assert level["latency_us"]["4"]["runs"] >= 5
        assert level["memory_bytes"] > 0
    json.dumps(found, allow_nan=False)


def test_some_levels_only(path: Path) -> None:
    """What was asked for, and what it is compared with."""
    found, _ = look(path, Wish(("all",), 1, 1, 0.01))
    assert [level["level"] for level in found["levels"]] == ["off", "all"]
    assert found["batches"] == [1]


def test_the_classic_mnist(data_folder: Path) -> None:
    """Conv, Add and Relu become one operator; a matrix product and its bias another; a constant is folded."""
    found, _ = look(data_folder / "mnist" / "mnist-8.onnx", Wish(("extended",), seconds=0.02))
    _, extended = found["levels"]
    assert [(one["into"], one["of"]) for one in extended["rewrites"]] == [
        ("com.microsoft.FusedConv", ["Conv", "Add", "Relu"]),
        ("com.microsoft.FusedConv", ["Conv", "Add", "Relu"]),
        ("Gemm", ["MatMul", "Add"]),
    ]
    assert extended["folded"] == ["Times212_reshape1"]
    assert extended["nodes"] == 6


def test_weights_in_another_file(tmp_path: Path) -> None:
    """External data is found beside the model."""
    made = image_model()
    place = tmp_path / "m.onnx"
    onnx.save(made, place, save_as_external_data=True, size_threshold=0, location="weights.bin")
    found, _ = look(place, Wish(("basic",), 2, 1, 0.01))
    assert found["levels"][1]["difference"]["max_abs"] < 1e-5


def test_what_is_no_level() -> None:
    """A misspelt level is refused with those that there are."""
    assert checked_levels("off, all") == ("off", "all")
    with pytest.raises(ModelRejected, match="'best' is no level; there are off, basic, extended, all"):
        checked_levels("off,best")
    with pytest.raises(ModelRejected):
        checked_levels(" , ")


def test_numbers_that_are_none(tmp_path: Path) -> None:
    """A model that answers NaN differs by nothing from itself, and the document stays JSON."""
    made = image_model()
    made.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(np.full(3, np.nan, np.float32), "b"))
    place = tmp_path / "m.onnx"
    onnx.save(made, place)
    found, _ = look(place, Wish(("all",), 1, 1, 0.01))
    json.dumps(found, allow_nan=False)
    assert found["levels"][1]["difference"]["max_abs"] == 0


class Answering:
    """A session whose answers are known."""

    def __init__(self, *values: float) -> None:
        self.values = np.array([values], np.float32)

    def run(self, _: object) -> list[np.ndarray]:
        return [self.values]


@pytest.mark.parametrize(
    ("mine", "apart"),
    [((1.0, np.inf), 0.0), ((1.5, np.inf), 0.5), ((np.nan, np.inf), None), ((1.0, 1.0), None), ((1.0, -np.inf), None)],
)
def test_a_level_that_answers_with_no_numbers_is_far_away(mine: tuple[float, float], apart: float | None) -> None:
    """NaN instead of a number is as wrong as can be; the same infinity is the same answer."""
    levels = [SimpleNamespace(level=name, session=session) for name, session in
              (("off", Answering(1.0, np.inf)), ("all", Answering(*mine)))]  # fmt: skip
    found = microscope._apart(cast(Any, levels), [])
    assert found["off"] == {"max_abs": 0.0, "max_rel": 0.0}
    assert found["all"]["max_abs"] == apart
