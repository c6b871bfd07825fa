"""Matrices and graphs beside a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from changeover.errors import ModelRejected
from changeover.runtime.tools import open_tools
from changeover.sequences.mapping import MapStep, Tools
from changeover.transport.control import WorkerSpec
from tests import onnx_models


def opened(folder: Path, *said: dict[str, Any]) -> Tools:
    spec = WorkerSpec(1, "m", "1", digest="", path=str(folder / "model.onnx"), cache="", empty="", optimization="off")
    return open_tools(msgspec.convert(said, tuple[MapStep, ...]), spec)


def project(name: str) -> dict[str, Any]:
    return {"project": {"h": {"matrix": name}}}


def test_matrices_and_graphs_are_read_once_each(tmp_path: Path) -> None:
    """A graph takes its inputs out of the states, puts its outputs in, and leaves the others."""
    np.save(tmp_path / "m.npy", np.eye(2))
    (tmp_path / "g.onnx").write_bytes(onnx_models.scale(3).SerializeToString())
    tools = opened(tmp_path, project("m.npy"), {"graph": "g.onnx"}, project("m.npy"))
    assert tools.matrices["m.npy"].tolist() == [[1, 0], [0, 1]]
    made = tools.graphs["g.onnx"]({"x": np.ones((1, 4), np.float32), "c": np.zeros(1, np.float32)})
    assert (sorted(made), made["y"].tolist()) == (["c", "y"], [[3, 3, 3, 3]])


@pytest.mark.parametrize(
    ("states", "sentence"),
    [({}, "takes 'x', which is no state"), ({"x": np.ones((1, 9), np.float32)}, "g.onnx: ")],
)
def test_a_graph_that_cannot_run_is_refused(tmp_path: Path, states: dict[str, Any], sentence: str) -> None:
    """States that it does not take are the declaration's fault."""
    (tmp_path / "g.onnx").write_bytes(onnx_models.scale(3).SerializeToString())
    with pytest.raises(ModelRejected, match=sentence) as refused:
        opened(tmp_path, {"graph": "g.onnx"}).graphs["g.onnx"](states)
    assert refused.value.reason == "state_unfit"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (project("nowhere.npy"), "state_unfit"),
        (project("text.npy"), "state_unfit"),
        (project("cube.npy"), "state_unfit"),
        (project("../outside.npy"), "state_unfit"),
        ({"graph": "nowhere.onnx"}, "state_unfit"),
        ({"graph": "text.npy"}, "load_failed"),
    ],
)
def test_what_is_no_tool_is_refused(tmp_path: Path, said: dict[str, Any], reason: str) -> None:
    """Missing, no matrix, no model, or not beside the model."""
    folder = tmp_path / "version"
    folder.mkdir()
    (folder / "text.npy").write_text("no matrix")
    np.save(folder / "cube.npy", np.zeros((2, 2, 2)))
    np.save(tmp_path / "outside.npy", np.eye(2))
    with pytest.raises(ModelRejected) as refused:
        opened(folder, said)
    assert refused.value.reason == reason
