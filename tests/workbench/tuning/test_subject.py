"""What the process of a setting does, here in the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from changeover.demo import digits
from changeover.workbench.tuning.rows import Rows
from changeover.workbench.tuning.stable import Stable
from changeover.workbench.tuning.subject import Subject, answer
from changeover.workbench.tuning.wish import Setting, Wish


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
