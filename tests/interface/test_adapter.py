"""Steps applied one after the other: what does not fit, or loses data, is refused with its place."""

from __future__ import annotations

from typing import Any

import pytest

from changeover.errors import ModelRejected
from tests.interface.adapting import FLOAT, INT64, UINT8, Value, adapted, image_model, model, node


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"rename": {"nothing": "x"}}, "interface[0].rename.nothing: there is nothing of that name here"),
        ({"rename": {"image": "scores"}}, "there is a 'scores' already"),
        ({"transpose": {"image": [0, 1, 2]}}, "3 axes in the order"),
        ({"unsqueeze": {"image": [2]}}, "axis 2 of 'image' (FP32[N, 1, 4, 4]) is not of length 1"),
        ({"squeeze": {"scores": [5]}}, "axis 5 is none of 2 dimensions"),
        ({"reshape": {"image": [-1, 15]}}, "[-1, 15] holds 15 values"),
        ({"reshape": {"image": [1, 16]}}, "do not have a free dimension both"),
        ({"scale": {"image": {"mean": [1, 2], "axis": 2}}}, "2 factors along axis 2"),
        ({"default": {"image": 0}}, "no input would be left"),
        ({"drop": ["scores"]}, "no output would be left"),
        ({"drop": ["image"]}, "there is no output of that name"),
        ({"ignore": {"image": {"datatype": "FP32", "shape": [1]}}}, "there is a 'image' already"),
        ({"labels": {"scores": {"classes": [0, 3]}}}, "class 3 is none of the 3"),
        ({"labels": {"image": {"classes": [0]}}}, "labels are of an output"),
        ({"slice": {"image": {"axis": 2, "end": 4}}}, "says of how many"),
        ({"slice": {"scores": {"axis": 1, "end": 4}}}, "the part ends at 4"),
        ({"pad": {"image": {"axis": 2, "before": 4}}}, "4 are added, and"),
        ({"softmax": {"image": 1}}, "softmax is of an output"),
    ],
)
def test_a_step_that_does_not_fit(given: dict[str, Any], told: str) -> None:
    """What does not fit the model is refused, with the step, the tensor and what is wrong."""
    with pytest.raises(ModelRejected) as caught:
        adapted(image_model(), given)
    assert caught.value.reason == "interface_unfit"
    assert told in caught.value.message


@pytest.mark.parametrize(
    "given",
    [
        {"cast": {"image": "FP64"}},
        {"cast": {"image": "INT64"}},
        {"cast": {"scores": "FP16"}},
        {"labels": {"scores": {"classes": [[0, 1], 2]}}},
        {"labels": {"scores": {"classes": [0, 1]}}},
        {"slice": {"scores": {"axis": 1, "end": 2}}},
    ],
)
def test_what_loses_data_must_be_meant(given: dict[str, Any]) -> None:
    """A step that loses something is refused, and taken with `allow_lossy`."""
    with pytest.raises(ModelRejected) as caught:
        adapted(image_model(), given)
    assert caught.value.reason == "interface_lossy"
    adapted(image_model(), {**given, "allow_lossy": True})


def test_the_second_step_is_named() -> None:
    """A message counts steps as the plan's file does, from 0."""
    with pytest.raises(ModelRejected, match=r"interface\[1\]\.rename\.image: there is nothing of that name here"):
        adapted(image_model(), {"rename": {"image": "x"}}, {"rename": {"image": "y"}})


def test_a_default_for_rows_that_nobody_counts() -> None:
    """A default is repeated for every row, so some input must be left whose rows can be counted."""
    rows: list[Value] = [("x", FLOAT, [4]), ("t", FLOAT, ["N", 4])]
    plain = model([node("Add", "x", "t", "y")], rows, [("y", FLOAT, ["N", 4])])
    with pytest.raises(ModelRejected, match=r"interface\[0\]\.default\.t: its number of rows is free"):
        adapted(plain, {"default": {"t": 1}})


@pytest.mark.parametrize("rows", ["M", None])
def test_a_default_for_rows_of_another_name(rows: str | None) -> None:
    """Rows of another input are no measure: a wrong number of them would change what the model answers."""
    named: list[Value] = [("x", FLOAT, [rows, 1]), ("t", FLOAT, ["N", 4])]
    plain = model([node("Add", "x", "t", "y")], named, [("y", FLOAT, ["N", 4])])
    with pytest.raises(ModelRejected, match=r"its number of rows is free \('N'\), and no input that is left has"):
        adapted(plain, {"default": {"t": 1}})


def test_a_list_of_factors_along_a_free_axis() -> None:
    """It would make an axis of length 1 longer; one factor is taken."""
    plain = model([node("Identity", "x", "y")], [("x", FLOAT, ["N", "T"])], [("y", FLOAT, ["N", "T"])])
    with pytest.raises(ModelRejected, match="3 factors along axis 1 of 'x'") as caught:
        adapted(plain, {"scale": {"x": {"mean": [1, 2, 3]}}})
    assert caught.value.reason == "interface_unfit"
    adapted(plain, {"scale": {"x": {"mean": [1]}}})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"classes": [0, 1]}, r"say how many \(`of`\)"),
        ({"classes": [0, 1], "of": 3}, "class 2 is none of the clients'"),
        ({"classes": [1], "of": 2}, "class 0 is none of the clients'"),
        ({"classes": [0, 1, 2], "of": 2}, "class 2 is none of the 2"),
    ],
)
def test_numbers_of_classes_are_all_listed(given: dict[str, Any], told: str) -> None:
    """What becomes of each class that the model may name is said, so their number is."""
    plain = model([node("Identity", "x", "y")], [("x", INT64, ["N"])], [("y", INT64, ["N"])])
    with pytest.raises(ModelRejected, match=told) as caught:
        adapted(plain, {"labels": {"y": given}})
    assert caught.value.reason == "interface_unfit"


@pytest.mark.parametrize(("kind", "value"), [(INT64, 1.9), (UINT8, 300), (UINT8, -1)])
def test_a_border_that_is_no_value_of_the_data(kind: int, value: float) -> None:
    """Nothing is rounded to fit."""
    plain = model([node("Identity", "x", "y")], [("x", kind, ["N", 3])], [("y", kind, ["N", 3])])
    with pytest.raises(ModelRejected, match=r"is no value of U?INT") as caught:
        adapted(plain, {"pad": {"x": {"axis": 1, "after": 1, "value": value}}})
    assert caught.value.reason == "interface_unfit"


@pytest.mark.parametrize(
    ("value", "told"),
    [("much", "is no number"), ([1, 2], "does not fit"), (300, "no value of"), (100.9, "no value of")],
)
def test_a_default_that_is_no_value_of_the_input(value: Any, told: str) -> None:
    """A default of another kind, shape or range is refused."""
    plain = model([node("Identity", "t", "z"), node("Neg", "x", "y")],
                  [("x", FLOAT, ["N"]), ("t", 2, [4])], [("y", FLOAT, ["N"]), ("z", 2, [4])])  # fmt: skip
    with pytest.raises(ModelRejected, match=told):
        adapted(plain, {"default": {"t": value}})
