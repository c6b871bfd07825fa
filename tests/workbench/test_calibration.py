"""Samples from an archive: rows or whole inputs, and what is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from changeover.errors import ModelRejected
from changeover.tensors import Datatype, TensorSpec
from changeover.workbench.calibration import read_samples
from changeover.workbench.precision import MOST_SAMPLES

ROWS = (TensorSpec("x", Datatype.FP32, (-1, 2)), TensorSpec("n", Datatype.INT64, (-1,)))
WHOLE = (TensorSpec("x", Datatype.FP32, (1, 2)),)


def test_rows(tmp_path: Path) -> None:
    """A sample is a run of one row, in the order and types of the model's inputs; other arrays are passed over."""
    path = tmp_path / "s.npz"
    np.savez(path, n=np.arange(3), x=np.arange(6.0).reshape(3, 2), labels=np.ones(3))
    made = read_samples(path, ROWS)
    assert [[array.tolist() for array in sample] for sample in made] == [
        [[[0, 1]], [0]],
        [[[2, 3]], [1]],
        [[[4, 5]], [2]],
    ]
    assert [array.dtype for array in made[0]] == [np.float32, np.int64]


def test_whole_inputs(tmp_path: Path) -> None:
    """Where a sample has the shape of an input, that is what a run takes; there are no more than can be of use."""
    path = tmp_path / "s.npz"
    np.savez(path, x=np.zeros((MOST_SAMPLES + 1, 1, 2), np.float32))
    made = read_samples(path, WHOLE)
    assert len(made) == MOST_SAMPLES
    assert made[0][0].shape == (1, 2)


def test_what_is_none(tmp_path: Path) -> None:
    """No file, no archive, an input that is missing, arrays of different length, pickles (never opened)."""
    path = tmp_path / "s.npz"
    for arrays in (
        {"x": np.zeros((2, 2), np.float32)},
        {"x": np.zeros((2, 2), np.float32), "n": np.zeros(3, np.int64)},
        {"x": np.array([object()]), "n": np.zeros(1, np.int64)},
        {"x": np.float32(1), "n": np.int64(1)},
    ):
        np.savez(path, **arrays)
        with pytest.raises(ModelRejected) as caught:
            read_samples(path, ROWS)
        assert caught.value.reason == "no_calibration"
    path.write_bytes(b"no archive")
    for other in (path, tmp_path / "none.npz"):
        with pytest.raises(ModelRejected, match="cannot be used as samples"):
            read_samples(other, ROWS)
