"""Steps for the gate `state`: of a golden set, or made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from changeover.errors import ModelRejected
from changeover.prover import course
from changeover.tensors import Datatype, TensorSpec

INPUTS = [TensorSpec("x", Datatype.FP32, (-1, 3)), TensorSpec("rate", Datatype.INT64, ())]


def test_generated_steps_are_the_same_every_time() -> None:
    """And each differs from the next."""
    first, again = (course.generated(INPUTS) for _ in range(2))
    assert (first.source, len(first.sequences), len(first.sequences[0])) == ("generated", 4, 24)
    assert np.array_equal(first.sequences[1][2]["x"], again.sequences[1][2]["x"])
    assert not np.array_equal(first.sequences[1][2]["x"], first.sequences[1][3]["x"])


def test_without_a_golden_set_steps_are_generated(tmp_path: Path) -> None:
    """The first folder that there is counts."""
    assert not course.course([str(tmp_path / "nowhere")], INPUTS).recorded
    np.savez(tmp_path / "steps.npz", x=np.zeros((1, 2, 3)), rate=np.zeros((1, 2), np.int64))
    assert course.course([str(tmp_path / "nowhere"), str(tmp_path)], INPUTS).recorded


def test_recorded_steps(tmp_path: Path) -> None:
    """Sequences, then steps; the rows may be left out, scalars are scalars, and several files are one set."""
    x = np.arange(12, dtype=np.float64).reshape(2, 2, 3)
    np.savez(tmp_path / "a.npz", x=x, rate=np.full((2, 2), 7))
    np.savez(tmp_path / "b.npz", x=x[:1, :, None], rate=np.full((1, 2), 8), y=np.zeros((1, 9)))
    found = course.recorded(tmp_path, INPUTS)
    assert (found.source, [len(s) for s in found.sequences]) == ("golden", [2, 2, 2])
    step = found.sequences[1][1]
    assert (step["x"].tolist(), step["x"].dtype, int(step["rate"])) == ([[9, 10, 11]], np.float32, 7)
    assert found.sequences[2][1]["x"].tolist() == [[3, 4, 5]]


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"x": np.zeros((1, 2, 3))}, "no array for input 'rate'"),
        ({"x": np.zeros((1, 2, 4)), "rate": np.zeros((1, 2), np.int64)}, r"a step of 'x' is \[4\]"),
        ({"x": np.zeros((1, 2, 3)), "rate": np.zeros((1, 3), np.int64)}, "differ in their number"),
        ({"x": np.zeros((0, 2, 3)), "rate": np.zeros((0, 2), np.int64)}, "differ in their number"),
        ({"x": np.zeros((1, 2, 3)), "rate": np.zeros(2, np.int64)}, "sequences on its first axis"),
        ({"x": np.zeros((1, 2, 3)), "rate": np.zeros((1, 2))}, "'rate' is INT64"),
        ({}, "holds none"),
    ],
)
def test_what_is_no_set_of_sequences_is_refused(tmp_path: Path, arrays: dict[str, Any], sentence: str) -> None:
    """The error says what is wrong with it."""
    if arrays:
        np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ModelRejected, match=sentence) as refused:
        course.recorded(tmp_path, INPUTS)
    assert refused.value.reason == "golden_invalid"


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    """As hostile as the model."""
    (tmp_path / "a.npz").write_bytes(b"no archive")
    with pytest.raises(ModelRejected, match="cannot be read"):
        course.recorded(tmp_path, INPUTS)
