"""What the process of a setting does, here in the test's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest

from changeover.demo import digits
from changeover.rollout.plan import RuntimePlan
from changeover.runtime.session import Session
from changeover.workbench.tuning import subject as subject_module
from changeover.workbench.tuning.rows import Rows
from changeover.workbench.tuning.stable import Stable
from changeover.workbench.tuning.subject import Subject, answer
from changeover.workbench.tuning.wish import Setting, Wish
from tests.workbench.tuning.models import folding


@pytest.fixture
def loaded(tmp_path: Path) -> tuple[Subject, dict[str, Any]]:
    """A subject with the digits, and rows for it."""
    model = tmp_path / "m.onnx"
    model.write_bytes(digits.model_bytes("1"))
    rows = tmp_path / "rows.npz"
    Rows([digits.load_samples().inputs()[:20]], batchable=True, source="golden").write(rows)
    stable, subject = Stable(Wish(), tmp_path, {"fp32": model}, 30), Subject()
    told = answer({"do": "load", "spec": stable.spec(Setting())}, subject)
    assert answer({"do": "rows", "file": str(rows)}, subject) == {}
    return subject, told


def test_it_tells_what_the_model_takes(loaded: tuple[Subject, dict[str, Any]]) -> None:
    """Inputs, outputs and providers."""
    _, told = loaded
    assert told["inputs"] == [["image", "FP32", [-1, 1, 28, 28]]]
    assert told["outputs"] == [["scores", "FP32", [-1, 10]]]
    assert "CPUExecutionProvider" in told["offered"]


@pytest.mark.parametrize(("callers", "rows"), [(1, 1), (2, 4)])
def test_it_runs_for_a_while(loaded: tuple[Subject, dict[str, Any]], callers: int, rows: int) -> None:
    """At least so many runs of each caller; rows are counted, times told in order."""
    asked = {"do": "measure", "rows": rows, "callers": callers, "seconds": 0.0, "least": 5}
    told = answer(asked, loaded[0])
    assert told["rows"] == 5 * callers * rows
    assert len(told["times"]) == 5 * callers
    assert told["times"] == sorted(told["times"])
    assert 0 < told["times"][0] <= told["seconds"]


def test_many_times_are_thinned(loaded: tuple[Subject, dict[str, Any]]) -> None:
    """Shortest and longest stay, and so do the quantiles between them."""
    told = answer({"do": "measure", "rows": 1, "callers": 1, "seconds": 0.0, "least": 1000}, loaded[0])
    assert told["rows"] == 1000
    assert len(told["times"]) == 400


def test_it_weighs_itself_and_knows_its_rows(loaded: tuple[Subject, dict[str, Any]]) -> None:
    """A model takes some memory, and rows of this one do not influence each other."""
    assert answer({"do": "weigh", "rows": 8, "callers": 2}, loaded[0])["bytes"] >= 0
    assert answer({"do": "independent", "rows": 8}, loaded[0]) == {"independent": True}


def test_what_goes_wrong_is_said(tmp_path: Path) -> None:
    """A file that is no model is an answer, not an end."""
    (tmp_path / "m.onnx").write_bytes(b"nothing")
    stable = Stable(Wish(), tmp_path, {"fp32": tmp_path / "m.onnx"}, 30)
    told = answer({"do": "load", "spec": stable.spec(Setting())}, Subject())
    assert told["failed"] == "load_failed"


def test_a_conversion(tmp_path: Path) -> None:
    """The model in another precision lies where it was asked for."""
    model, rows = tmp_path / "m.onnx", tmp_path / "rows.npz"
    model.write_bytes(digits.model_bytes("1"))
    Rows([digits.load_samples().inputs()[:8]], batchable=True, source="golden").write(rows)
    asked = {
        "do": "convert", "model": str(model), "precision": "int8_static", "target": str(tmp_path / "t.onnx"),
        "file": str(rows), "inputs": [["image", "FP32", [-1, 1, 28, 28]]], "samples": 8,
    }  # fmt: skip
    assert answer(asked, Subject()) == {}
    kinds = {tensor.data_type for tensor in onnx.load(tmp_path / "t.onnx").graph.initializer}
    assert kinds & {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    assert np.load(rows, allow_pickle=False)["source"][0] == "golden"


def test_its_rows_are_not_the_model_s(tmp_path: Path) -> None:
    """What it is run with is neither weighed, nor does it count against a limit of the model's memory."""
    model, rows = tmp_path / "m.onnx", tmp_path / "rows.npz"
    model.write_bytes(folding(64).SerializeToString())
    Rows([np.ones((400_000, 64), np.float32)], batchable=True).write(rows)
    base = RuntimePlan(memory_limit=32 << 20)
    with Stable(Wish(base=base), tmp_path, {"fp32": model}, 60) as stable:
        stable.rows = rows
        stable.child(Setting())
        assert (stable.memory_of(Setting()) or 0) < 50 << 20


class Slow:
    """A session each of whose runs takes seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("changeover.workbench.tuning.subject.time.perf_counter", lambda: self.now)

    def run(self, _: list[Any]) -> None:
        self.now += 3.0


def test_slow_runs_are_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty runs are what a percentile wants, and three must do where each takes seconds; fast ones are all run."""
    slow, times = Slow(monkeypatch), list[float]()
    subject_module._run(cast(Session, slow), [], 0.04, 50, times)
    assert times == [3.0] * 3
    monkeypatch.setattr(subject_module, "_LONG", 1e9)
    subject_module._run(cast(Session, slow), [], 0.04, 50, times := [])
    assert len(times) == 50


def test_a_failure_in_a_thread_is_not_lost() -> None:
    """Whatever it is: without it the runs of that thread would be missing, and nobody would know."""

    def work(at: int) -> None:
        if at == 1:
            raise MemoryError

    with pytest.raises(MemoryError):
        subject_module._together(work, 2)


UNDER_ULIMIT = """
import json, resource, sys
from changeover.runtime import memory
from changeover.workbench.tuning.subject import Subject, answer
spec = json.loads(sys.argv[1])
outer = memory.address_space() + spec["memory_limit"] * 3 // 2
resource.setrlimit(resource.RLIMIT_AS, (outer, outer))
print(sorted(answer({"do": "load", "spec": spec}, Subject())))
"""


def test_a_limit_from_outside_fails_no_setting(tmp_path: Path) -> None:
    """Under `ulimit -v` between what a plan allows while loading and what it allows while serving."""
    (tmp_path / "m.onnx").write_bytes(digits.model_bytes("1"))
    wish = Wish(base=RuntimePlan(memory_limit=1 << 30))
    spec = Stable(wish, tmp_path, {"fp32": tmp_path / "m.onnx"}, 30).spec(Setting())
    command = [sys.executable, "-c", UNDER_ULIMIT, json.dumps(spec)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (told.stdout, told.stderr) == ("['inputs', 'load_s', 'offered', 'outputs']\n", "")
