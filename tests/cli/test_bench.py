"""`changeover bench` against a small real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from changeover.bench import Records
from changeover.cli.main import run
from tests.bench.stub import EXPECTED, INPUTS, Reply, Stub

METADATA = {"name": "m", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3, -1]}], "outputs": []}


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """The stub's samples with the right answers of version 1."""
    path = tmp_path / "samples.npz"
    np.savez(path, x=INPUTS, expected_1=EXPECTED["1"], expected_2=EXPECTED["2"])
    return path


@pytest.fixture
def stub() -> Iterator[Stub]:
    """A server that answers rightly and knows its metadata."""
    with Stub(metadata=METADATA) as server:
        yield server


def url(stub: Stub) -> str:
    return f"http://127.0.0.1:{stub.port}"


def test_random_inputs_of_the_declared_shape(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --input the shapes come from the metadata, free dimensions are 1, and nothing is checked."""
    assert run(["bench", "m", "--url", url(stub), "--requests", "50", "--connections", "2", "-o", "json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["requests"], result["checked"], result["mode"]) == (50, False, "closed")
    assert {request.values.shape for request in stub.requests} == {(1, 3, 1)}


def test_checked_open_loop_in_json(stub: Stub, samples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--rate makes it an open loop, --json sends numbers, and the file's expected values are checked."""
    command = ["bench", "m", "--url", url(stub), "--rate", "200", "--duration", "0.5", "--json", "--poisson"]
    assert run([*command, "--input", str(samples), "-o", "json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["mode"], result["form"], result["checked"], result["arrivals"]) == ("open", "json", True, "poisson")
    assert not any(request.binary for request in stub.requests)


def test_wrong_answers_make_exit_2(stub: Stub, samples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Values of another version are found, shown and make the command fail."""
    stub.script = lambda request: Reply(values_of="2" if request.number == 9 else None)
    assert run(["bench", "m", "--url", url(stub), "--requests", "50", "--input", str(samples)]) == 2
    assert "1 of another version" in capsys.readouterr().out


def test_failures_make_exit_2_and_are_named(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    """Refused requests are counted by status and reason."""
    stub.script = lambda request: Reply(status=503, error={"reason": "overloaded"})
    assert run(["bench", "m", "--url", url(stub), "--requests", "20"]) == 2
    assert "503 overloaded" in capsys.readouterr().out


def test_capacity_and_records(stub: Stub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--find-capacity prints one line for each number of callers; --records keeps every request."""
    assert run(["bench", "m", "--url", url(stub), "--find-capacity", "--duration", "0.2"]) == 0
    assert "capacity" in capsys.readouterr().out
    assert run(["bench", "m", "--url", url(stub), "--requests", "30", "--records", str(tmp_path / "r.npz")]) == 0
    assert len(Records.load(tmp_path / "r.npz")) == 30


def test_a_file_without_the_input_is_usage(stub: Stub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence says what is missing and what the file holds."""
    np.savez(tmp_path / "s.npz", y=INPUTS)
    assert run(["bench", "m", "--url", url(stub), "--input", str(tmp_path / "s.npz")]) == 64
    assert "lacks the input x; it holds y" in capsys.readouterr().err


def test_no_file_at_all_is_usage(stub: Stub, tmp_path: Path) -> None:
    """A file that is no .npz is a usage error, not a traceback."""
    (tmp_path / "s.npz").write_bytes(b"nonsense")
    assert run(["bench", "m", "--url", url(stub), "--input", str(tmp_path / "s.npz")]) == 64
