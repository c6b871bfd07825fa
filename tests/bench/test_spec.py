"""The description of a load run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from changeover.bench import LoadSpec
from changeover.errors import InvalidRequest

X = np.ones((4, 2), np.float32)


def test_file_holds_everything(tmp_path: Path) -> None:
    """What is saved is loaded again, and versions that share one array still share it."""
    spec = LoadSpec(
        "m",
        {"x": X, "t": np.array(list("abcd"))},
        {"1": X, "2": X * 2, "3": X},
        order=("1", "2"),
        headers=(("a", "b"),),
    )
    spec.save(tmp_path / "s.npz")
    loaded = LoadSpec.load(tmp_path / "s.npz")
    assert (loaded.model, loaded.order, loaded.headers, loaded.samples) == ("m", ("1", "2"), (("a", "b"),), 4)
    assert loaded.expected["1"] is loaded.expected["3"]
    np.testing.assert_array_equal(loaded.expected["2"], X * 2)
    assert loaded.inputs["t"].tolist() == list("abcd")


@pytest.mark.parametrize(
    "wrong",
    [
        {"inputs": {}},
        {"inputs": {"x": X, "y": X[:2]}},
        {"inputs": {"x": X[:0]}},
        {"expected": {"1": X[:2]}},
        {"mode": "sideways"},
        {"arrivals": "sometimes"},
        {"rate": 0.0},
        {"connections": 0},
        {"duration_s": 0.0},
        {"fresh": 1.5},
        {"order": ("1", "2", "1")},
    ],
)
def test_impossible_runs_are_refused(wrong: dict[str, Any]) -> None:
    """A run that cannot take place is refused before it starts, with the reason `invalid_load`."""
    with pytest.raises(InvalidRequest) as caught:
        LoadSpec(**{"model": "m", "inputs": {"x": X}} | wrong)
    assert caught.value.reason == "invalid_load"
