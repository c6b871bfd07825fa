"""Steps proposed for clients of an old model: what is certain, what is a question, and that they do what they say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest

from changeover.workbench.difference import compare
from tests.interface.adapting import DOUBLE, FLOAT, INT64, Value, model, node
from tests.workbench.files import shaped, written

UINT8, TEXT = 2, 8


def proposed(folder: Path, old: onnx.ModelProto, new: onnx.ModelProto) -> dict[str, Any]:
    return compare(written(folder, "old", old), written(folder, "new", new))


def inputs(folder: Path, old: Sequence[Value], new: Sequence[Value]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Steps between models with these inputs, and the whole comparison."""
    found = proposed(folder, shaped(*old), shaped(*new))
    return [one["step"] for one in found["interface"]], found


@pytest.mark.parametrize(
    ("old", "new", "steps"),
    [
        (("x", FLOAT, ["N", 4]), ("x", FLOAT, ["N", 4]), []),
        (("x", FLOAT, ["N", 4]), ("x", FLOAT, ["N", "T"]), []),
        (("x", FLOAT, ["N", 4]), ("data", FLOAT, ["N", 4]), [{"rename": {"data": "x"}}]),
        (("x", INT64, ["N", 4]), ("x", 11, ["N", 4]), [{"cast": {"x": "INT64"}, "allow_lossy": True}]),
        (("x", UINT8, ["N", 4]), ("x", FLOAT, ["N", 4]), [{"cast": {"x": "UINT8"}}]),
        (("x", FLOAT, ["N", 5, 3, 4]), ("x", FLOAT, ["N", 3, 4, 5]), [{"transpose": {"x": [0, 2, 3, 1]}}]),
        (("x", FLOAT, ["N", 28, 28]), ("x", FLOAT, ["N", 1, 28, 28]), [{"unsqueeze": {"x": [1]}}]),
        (("x", FLOAT, ["N", 28, 28, 1]), ("x", FLOAT, ["N", 28, 28]), [{"squeeze": {"x": [3]}}]),
        (
            ("picture", DOUBLE, ["N", 28, 28]),
            ("image", FLOAT, ["N", 1, 28, 28]),
            [
                {"rename": {"image": "picture"}},
                {"unsqueeze": {"picture": [1]}},
                {"cast": {"picture": "FP64"}, "allow_lossy": True},
            ],
        ),
    ],
)
def test_what_shapes_types_and_names_decide(
    tmp_path: Path, old: Value, new: Value, steps: list[dict[str, Any]]
) -> None:
    """The steps are those a plan would have, and with them clients of the old model can use the new one."""
    found, document = inputs(tmp_path, [old], [new])
    assert found == steps
    assert document["left"] == []
    lossy = ["allow_lossy" in one["step"] for one in document["interface"]]
    assert [not one["certain"] for one in document["interface"]] == lossy


def test_two_orders_of_axes_are_a_question(tmp_path: Path) -> None:
    """Height and width are of one length: the usual order is proposed, and marked."""
    steps, document = inputs(tmp_path, [("x", FLOAT, ["N", 8, 8, 3])], [("x", FLOAT, ["N", 3, 8, 8])])
    assert steps == [{"transpose": {"x": [0, 3, 1, 2]}}]
    assert not document["interface"][0]["certain"]
    assert document["left"] == []


def test_as_many_values_in_another_shape(tmp_path: Path) -> None:
    """Whether rows of 784 are images row by row, two files do not tell."""
    steps, document = inputs(tmp_path, [("x", FLOAT, ["N", 784])], [("x", FLOAT, ["N", 28, 28])])
    assert steps == [{"reshape": {"x": [-1, 784]}}]
    assert "same order" in document["interface"][0]["why"]
    assert document["left"] == []


def test_an_input_more_and_one_less(tmp_path: Path) -> None:
    """A new input gets a default to be thought about; one that is gone is ignored."""
    old = [("x", FLOAT, ["N", 4]), ("old_mask_of_tokens", INT64, ["N", 9])]
    new = [("x", FLOAT, ["N", 4]), ("temperature", FLOAT, [])]
    steps, document = inputs(tmp_path, old, new)
    assert steps[0] == {"default": {"temperature": 0}}
    assert steps[1] == {"ignore": {"old_mask_of_tokens": {"datatype": "INT64", "shape": [-1, 9]}}}
    assert [one["certain"] for one in document["interface"]] == [False, True]
    assert document["left"] == []


def test_names_that_change_places(tmp_path: Path) -> None:
    """Names are believed: inputs of the same names in another order need nothing."""
    pair: list[Value] = [("a", FLOAT, ["N", 2]), ("b", FLOAT, ["N", 3])]
    assert inputs(tmp_path, pair, pair[::-1])[0] == []


def test_several_that_look_alike_are_a_question(tmp_path: Path) -> None:
    """Two inputs of one type and shape with new names are paired by likeness, and marked."""
    old: list[Value] = [("ids_first", INT64, ["N"]), ("ids_second", INT64, ["N"])]
    new: list[Value] = [("second_ids", INT64, ["N"]), ("ids_1st", INT64, ["N"])]
    steps, document = inputs(tmp_path, old, new)
    assert {"rename": {"ids_1st": "ids_first"}} in steps
    assert not any(one["certain"] for one in document["interface"])


def test_classes_by_their_names(tmp_path: Path) -> None:
    """Labels of both models say which class is which, and which ones nobody knew."""
    row: list[Value] = [("x", FLOAT, ["N", 2])]
    old = shaped(*row, out=[("y", FLOAT, ["N", 3])], labels='["cat", "dog", "fox"]')
    new = shaped(*row, out=[("y", FLOAT, ["N", 4])], labels="{0: 'fox', 1: 'cow', 2: 'cat', 3: 'dog'}")
    found = proposed(tmp_path, old, new)
    assert [one["step"] for one in found["interface"]] == [
        {"labels": {"y": {"classes": [2, 3, 0]}}, "allow_lossy": True}
    ]
    assert "cow" in found["interface"][0]["why"]
    assert found["left"] == []


def test_as_many_classes_that_nobody_names_are_as_they_were(tmp_path: Path) -> None:
    """Without labels nothing says that classes moved; another number of them is a question."""
    row: list[Value] = [("x", FLOAT, ["N", 2])]
    same = proposed(tmp_path, shaped(*row), shaped(*row))
    assert same["undecided"] == []
    other = proposed(tmp_path, shaped(*row), shaped(*row, out=[("y", FLOAT, ["N", 4])]))
    assert "4 classes instead of 3" in other["undecided"][0]


def test_a_softmax_that_is_gone(tmp_path: Path) -> None:
    """The old model gave probabilities; the new one may give scores."""
    ends: list[Value] = [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", 3])]  # type: ignore[assignment]
    old = model([node("Softmax", "x", "y", axis=1)], *ends)
    new = model([node("Neg", "x", "y")], *ends)
    found = proposed(tmp_path, old, new)
    assert [one["step"] for one in found["interface"]] == [{"softmax": {"y": -1}}]
    assert not found["interface"][0]["certain"]


def test_what_no_step_can_do_is_said(tmp_path: Path) -> None:
    """Text for numbers, an output that is gone, pixels of one byte."""
    _, document = inputs(tmp_path, [("x", TEXT, ["N"])], [("x", FLOAT, ["N"])])
    assert document["undecided"] == ["input 'x': FP32 instead of BYTES, and text cannot be cast"]
    assert document["left"] == ["input 'x' is FP32 instead of BYTES"]
    gone = proposed(tmp_path, shaped(("x", FLOAT, ["N"]), out=[("y", FLOAT, ["N", 3]), ("z", FLOAT, ["N", 7, 7])]),
                    shaped(("x", FLOAT, ["N"])))  # fmt: skip
    assert "output 'z' (FP32[N, 7, 7]) is gone" in gone["undecided"][0]
    assert gone["left"] == ["output 'z' is missing"]
    _, document = inputs(tmp_path, [("x", UINT8, ["N", 3])], [("x", FLOAT, ["N", 3])])
    assert "scale" in document["undecided"][0]
