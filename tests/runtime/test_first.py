"""The first session of a process, and what is forked after it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import onnx_models

FORKED = """
import os, sys
from changeover.runtime import first, session
from changeover.transport.control import WorkerSpec
import numpy as np
first.made()
assert len(os.listdir("/proc/self/task")) == 1
if os.fork() == 0:
    spec = WorkerSpec(1, "m", "1", digest="", path=sys.argv[1], cache="", empty="", optimization="off",
                      intra_op_threads=int(sys.argv[2]))
    loaded = session.load(spec).session
    rows = np.ones((512, 4), np.float32)
    right = all((loaded.run([rows])[0] == 2).all() for _ in range(50))
    os._exit(0 if right and (len(os.listdir("/proc/self/task")) > 1) == (spec.intra_op_threads > 1) else 3)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.parametrize("threads", ["1", "3"])
def test_a_fork_after_the_first_session_loads_and_runs(tmp_path: Path, threads: str) -> None:
    """The first session of all leaves no thread behind, so that what is forked can have threads of its own."""
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_models.scale(2).SerializeToString())
    alone = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # as the supervisor has it
    command = [sys.executable, "-c", FORKED, str(path), threads]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=alone)
    assert printed.stdout.split() == ["0"], printed.stderr
