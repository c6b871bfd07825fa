"""Classification: the highest values of each row, their texts, and what cannot be classified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from changeover.errors import InvalidRequest, TooLarge
from changeover.gateway.classification import Labels, classified, require_classes, wanted
from changeover.protocol.oip import RequestedOutput
from changeover.tensors import Datatype, Tensor, from_numpy
from tests.gateway.stage import entry


def texts(tensor: Tensor) -> list[Any]:
    """The elements as texts."""
    return [[e.decode() for e in row] if isinstance(row, list) else row.decode() for row in tensor.numpy().tolist()]


def test_rows_are_classified_one_by_one() -> None:
    """Value, index, and a label where there is one."""
    scores = from_numpy("y", np.array([[1, 5, 10, 4], [7, 6, 5, 8]], np.float32))
    found = classified(scores, 3, ["a", "b", "", "d"], by_row=True)
    assert (found.name, found.datatype, found.shape) == ("y", Datatype.BYTES, (2, 3))
    assert texts(found) == [
        ["10.000000:2", "5.000000:1:b", "4.000000:3:d"],
        ["8.000000:3:d", "7.000000:0:a", "6.000000:1:b"],
    ]


def test_a_model_without_batches_is_classified_as_a_whole() -> None:
    """Over all dimensions; more classes than values are all values."""
    found = classified(from_numpy("y", np.array([[3, 9], [9, -1]], np.int64)), 9, [], by_row=False)
    assert (found.shape, texts(found)) == ((4,), ["9:1", "9:2", "3:0", "-1:3"])


def test_every_numeric_type_is_compared_as_what_it_is() -> None:
    """Extremes of integers do not overflow, halves are floats, and NaN comes last."""
    limits = np.iinfo(np.int64)
    for values in (np.array([limits.min, limits.max, 0]), np.array([0, np.iinfo(np.uint64).max, 1], np.uint64)):
        assert texts(classified(from_numpy("y", values), 1, [], by_row=False)) == [f"{values.max()}:1"]
    half = from_numpy("y", np.array([0.5, np.nan, 2], np.float16))
    assert texts(classified(half, 3, [], by_row=False)) == ["2.000000:2", "0.500000:0", "nan:1"]
    brain = np.array([0.5, -3, 2], ml_dtypes.bfloat16).view(np.uint16)
    found = classified(from_numpy("y", brain, Datatype.BF16), 2, [], by_row=False)
    assert texts(found) == ["2.000000:2", "0.500000:0"]


def test_the_highest_of_many_are_the_highest() -> None:
    """Where they are picked before they are sorted, too; and so many values that others would wait are refused."""
    values = np.random.default_rng(3).permutation(6000).reshape(2, 3000).astype(np.float32)
    values[0, 7] = np.nan
    found = texts(classified(from_numpy("y", values), 4, [], by_row=True))
    for row, told in zip(values, found, strict=True):
        best = np.argsort(-row)[:4].tolist()
        assert told == [f"{row[index]:f}:{index}" for index in best]
    assert classified(from_numpy("y", values[0]), 0, [], by_row=False).shape == (0,)
    with pytest.raises(TooLarge) as refused:
        classified(Tensor("y", Datatype.INT8, ((1 << 22) + 1,), bytes((1 << 22) + 1)), 1, [], by_row=False)
    assert refused.value.reason == "too_many_elements"


def test_nothing_has_no_classes() -> None:
    """Rows of no columns have none."""
    assert classified(from_numpy("y", np.zeros((2, 0), np.float32)), 3, [], by_row=True).shape == (2, 0)


def test_so_many_classes_that_others_would_wait_are_refused() -> None:
    """Of all rows together."""
    many = from_numpy("y", np.zeros((70, 1000), np.int8))
    assert classified(many, 900, [], by_row=True).shape == (70, 900)
    with pytest.raises(TooLarge) as refused:
        classified(many, 1000, [], by_row=True)
    assert refused.value.reason == "too_many_elements"


@pytest.mark.parametrize(("value", "count"), [(3, 3), (2.0, 2), (0, 0)])
def test_numbers_of_classes(value: object, count: int) -> None:
    """A whole number; 0 asks for the output as it is."""
    assert wanted(RequestedOutput("y", True, {"classification": value})) == count


@pytest.mark.parametrize("value", [-1, 1.5, "3", True, 1 << 20])
def test_what_is_no_number_of_classes_is_refused(value: object) -> None:
    """With the output's name."""
    with pytest.raises(InvalidRequest, match="'y'"):
        wanted(RequestedOutput("y", True, {"classification": value}))


def test_texts_and_truths_have_no_highest_value() -> None:
    """BYTES and BOOL are refused, and nothing else."""
    refused = {Datatype.BOOL, Datatype.BYTES}
    for datatype in set(Datatype) - refused:
        require_classes("y", datatype)
    for datatype in refused:
        with pytest.raises(InvalidRequest, match=datatype.name) as told:
            require_classes("y", datatype)
        assert told.value.reason == "not_classifiable"


def test_labels_are_read_once_and_their_loss_fails_nothing(tmp_path: Path) -> None:
    """A file that is gone leaves answers without labels."""
    path = tmp_path / "labels.txt"
    path.write_text("a\nb\n")
    labels = Labels(entry(7, "1", labels={"y": str(path), "z": str(tmp_path / "gone")}))
    assert labels.of("y") == ["a", "b"]
    path.unlink()
    assert labels.of("y") == ["a", "b"]
    assert labels.of("z") == labels.of("other") == []
