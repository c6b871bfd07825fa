"""The rig's scratch folders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.conftest import BENCHMARKS


def test_what_a_killed_bench_left_goes_with_the_next(tmp_path: Path) -> None:
    """A living process keeps its folder, and so does whatever is called otherwise."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [f"changeover-bench-{pid}-abc" for pid in (dead.pid, os.getpid())] + ["changeover-bench-other"]
    for name in names:
        (tmp_path / name).mkdir()
    code = "import rig; print(rig.scratch().name)"
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(BENCHMARKS)}
    made = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert {path.name for path in tmp_path.iterdir()} == {made.stdout.strip(), *names[1:]}
