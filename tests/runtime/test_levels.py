"""A model at one level of optimisation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from changeover.demo import digits
from changeover.errors import ModelRejected
from changeover.runtime import levels
from tests import onnx_models


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "digits.onnx"
    place.write_bytes(digits.model_bytes("1"))
    return place


def test_the_graph_that_runs_is_written(path: Path, tmp_path: Path) -> None:
    """The file holds the graph as that level made it."""
    plain, extended = (levels.load(path, level, tmp_path) for level in ("off", "extended"))
    counts = [len(onnx.load(one.graph).graph.node) for one in (plain, extended)]
    assert counts == [9, 7]
    assert all(one.load_s > 0 for one in (plain, extended))


def test_levels_take_turns(path: Path, tmp_path: Path) -> None:
    """Every level has run as often, at least five times however little time there is."""
    loaded = [levels.load(path, level, tmp_path) for level in ("off", "all")]
    rows, batchable = levels.rows_for(loaded[0].session, 3)
    assert batchable
    assert [array.shape for array in rows] == [(3, 1, 28, 28)]
    found = levels.timed(loaded, rows, 0.0)
    assert [len(times) for times in found.values()] == [5, 5]


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    """ONNX Runtime's refusal comes in our words."""
    place = tmp_path / "m.onnx"
    place.write_bytes(b"no model")
    with pytest.raises(ModelRejected) as caught:
        levels.load(place, "off", tmp_path)
    assert caught.value.reason == "load_failed"


def test_what_a_model_takes(tmp_path: Path) -> None:
    """A model with a constant of 16 MiB takes about so much, and not ten times as much.

    In a process that does nothing else: one that had given memory back would load into what is still its own.
    """
    place = tmp_path / "m.onnx"
    place.write_bytes(onnx_models.weighty(16).SerializeToString())
    weigh = "import sys; from changeover.runtime import levels; print(levels.weigh(sys.argv[1], 'off', 4))"
    ended = subprocess.run([sys.executable, "-c", weigh, place], capture_output=True, timeout=90, check=True)
    assert 8 << 20 < int(ended.stdout) < 160 << 20
