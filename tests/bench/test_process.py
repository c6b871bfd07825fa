"""A load run in its own process, against a small real server."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import pytest

from changeover.bench import BenchProcess, LoadSpec
from changeover.errors import DeadlineExceeded, Internal
from changeover.testing import wait_for
from tests.bench.stub import INPUTS, Reply, Stub
from tests.bench.test_generator import load


def test_result_and_records() -> None:
    """The result comes back whole, and with it the row of every request."""
    with Stub(lambda r: Reply(values_of="2" if r.number == 3 else None)) as stub, BenchProcess(load(stub)) as bench:
        result = bench.result(20)
        records = bench.records()
    assert (result["requests"], result["ok"], result["wrong_version"]) == (200, 199, 1)
    assert len(records) == 200
    assert result["generator_cpu"] > 0


def test_stop_early() -> None:
    """`stop` ends the sending; progress is there meanwhile, and the result afterwards."""
    seen: list[float] = []
    with Stub(lambda r: Reply(delay=0.01)) as stub:
        spec = load(stub, requests=0, duration_s=60.0)
        with BenchProcess(spec, on_progress=lambda document: seen.append(document["elapsed_s"])) as bench:
            with pytest.raises(DeadlineExceeded, match="stop"):
                bench.result(0.1)
            wait_for(lambda: bench.progress, "the first second's progress", patience=10)
            bench.stop()
            result = bench.result(10)
    assert result["clean"]
    assert seen
    assert result["elapsed_s"] < 15


def test_another_pace() -> None:
    """A new rate holds within the run; one that is none is refused, and one for a run that has ended is nothing."""
    with Stub() as stub, BenchProcess(load(stub, mode="open", rate=1.0, requests=0, duration_s=60.0)) as bench:
        for no_rate in (0.0, -1.0, math.nan):
            with pytest.raises(ValueError, match="above 0"):
                bench.pace(no_rate)
        bench.pace(500.0)
        wait_for(lambda: (bench.progress or {}).get("per_second", 0) > 100, "the new rate", patience=10)
        bench.stop()
        assert bench.result(10)["clean"]
        bench.pace(1.0)


def test_capacity() -> None:
    """Capacity is the best of the closed-loop runs, one for each number of callers."""
    with Stub() as stub, BenchProcess(load(stub, duration_s=0.3), capacity=True) as bench:
        found = bench.result(30)
    rates = [run["throughput"] for run in found["runs"]]
    assert [run["connections"] for run in found["runs"]] == [8, 16, 32, 64]
    assert found["capacity"] == max(rates) > 100
    assert found["clean"]


def test_leaving_the_block_ends_the_process() -> None:
    """No load goes on after the block, whatever happened in it."""
    with Stub() as stub:
        with BenchProcess(load(stub, requests=0, duration_s=60.0)) as bench:
            process = bench._process
            assert process is not None
            assert process.poll() is None
        assert process.poll() is not None


def test_a_result_needs_a_start() -> None:
    """Asking a process that was never started is an error, not a wait."""
    bench = BenchProcess(LoadSpec("m", {"x": INPUTS}))
    with pytest.raises(Internal):
        bench.result(1)
    bench.close()


def test_missing_spec_file_is_an_error() -> None:
    """The process says by its exit code that it did not run."""
    command = [sys.executable, "-m", "changeover.bench", "/nonexistent.npz"]
    done = subprocess.run(command, capture_output=True, env=os.environ, timeout=30, check=False)
    assert done.returncode == 1
