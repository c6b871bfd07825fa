"""A version under test: how it takes rows, and how long a run may take."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from changeover.prover.golden import Batch
from tests import onnx_models
from tests.prover.sessions import subject

ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize("batchable", [True, False])
def test_rows_go_together_only_where_they_may(tmp_path: Path, batchable: bool) -> None:
    """One by one where they influence each other; the answers lie side by side either way."""
    made = subject(tmp_path, onnx_models.scale(2) if batchable else onnx_models.mixing(), batchable=batchable)
    found = made.answers(Batch([0, 1, 2], {"x": ROWS}, split=True))["y"]
    assert np.array_equal(found, 2 * ROWS if batchable else ROWS + ROWS.max(axis=1, keepdims=True))
    assert made.rows == (32 if batchable else 1)


def test_a_whole_sample_has_an_axis_of_its_own(tmp_path: Path) -> None:
    """So that the first axis always counts samples."""
    found = subject(tmp_path, onnx_models.scale(2)).answers(Batch([0], {"x": ROWS}, split=False))
    assert found["y"].shape == (1, 3, 4)


def test_what_never_returns_ends_the_process() -> None:
    """By a signal that no operator can hold up; what is in time goes on."""
    code = (
        "from changeover.prover.subject import bounded\nwith bounded(5): pass\nwith bounded(0.1):\n    while True: pass"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert done.returncode == -signal.SIGPROF
