"""Steps of one sequence through a real session: states, control inputs, initial states, and a replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from changeover.errors import ModelRejected
from changeover.runtime import session
from changeover.runtime.stepping import Stepper, initial_states
from changeover.sequences.declared import Declared, resolve
from changeover.tensors import Datatype
from changeover.transport.control import WorkerSpec
from tests import onnx_models
from tests import sequence_models as models


def stepper(folder: Path, model: onnx.ModelProto, said: dict[str, Any]) -> Stepper:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    spec = WorkerSpec(1, "m", "1", digest="", path=str(path), cache="", empty="", optimization="off")
    loaded, declared = session.load(spec).session, msgspec.convert(said, Declared)
    layout = resolve(declared, loaded.inputs, loaded.outputs).layout
    return Stepper(loaded, layout, initial_states(declared, layout, folder))


def told() -> onnx.ModelProto:
    """`y` holds what the control inputs were told: start, end, ready and the sequence's id."""
    names = ("start", "end", "ready", "id")
    shape = ("N", 1)
    inputs = [onnx_models._value(name, Datatype.FP32, shape) for name in (*names[:3], "x", "h")]
    cast = onnx_models._node("Cast", "id", "number", to=1)
    together = onnx_models._node("Concat", "start", "end", "ready", "number", "y", axis=1)
    state = onnx_models._node("Add", "h", "x", "hn")
    return onnx_models._model(
        [cast, together, state],
        [*inputs, onnx_models._value("id", Datatype.UINT64, shape)],
        [onnx_models._value("y", Datatype.FP32, ("N", 4)), onnx_models._value("hn", Datatype.FP32, shape)],
    )


def row(*values: float) -> dict[str, Any]:
    return {"x": np.array([values], np.float32)}


def test_a_state_goes_from_step_to_step(tmp_path: Path) -> None:
    """The answer holds the public outputs alone, and the states before a step stay as they were."""
    made = stepper(tmp_path, models.running_sum(), models.SUM_STATE)
    answer, after = made.step(made.initial, row(1, 2, 3, 4), start=True)
    assert list(answer) == ["y"]
    answer, _ = made.step(after, row(1, 1, 1, 1), start=False)
    assert answer["y"].tolist() == [[2, 3, 4, 5]]
    assert made.initial["h"].tolist() == [[0, 0, 0, 0]]


def test_control_inputs(tmp_path: Path) -> None:
    """Start and end as they are, ready always, and a number for the id."""
    said = {
        "state": [{"input": "h", "output": "hn"}],
        "control": {"start": "start", "end": {"input": "end", "off": -1}, "ready": "ready", "corrid": "id"},
    }
    made = stepper(tmp_path, told(), said)
    first, states = made.step(made.initial, row(1), start=True)
    last, _ = made.step(states, row(1), start=False, end=True)
    assert (first["y"].tolist(), last["y"].tolist()) == ([[1, -1, 1, 1]], [[0, 1, 1, 1]])


def test_a_replay_is_the_sequence_again(tmp_path: Path) -> None:
    """All inputs give the state itself; the last ones alone what they alone give."""
    made = stepper(tmp_path, models.running_sum(), models.SUM_STATE)
    steps = [row(at, at, at, at) for at in (1, 2, 3)]
    assert made.replay(steps, whole=True)["h"].tolist() == [[6, 6, 6, 6]]
    assert made.replay(steps[1:], whole=False)["h"].tolist() == [[5, 5, 5, 5]]


@pytest.mark.parametrize("kind", ["data", "first.npy", "first.bin"])
def test_initial_states(tmp_path: Path, kind: str) -> None:
    """From the plan, from numpy's file, from raw bytes."""
    first = np.array([[1, 2, 3, 4]], np.float32)
    np.save(tmp_path / "first.npy", first)
    (tmp_path / "first.bin").write_bytes(first.tobytes())
    initial = {"data": [1, 2, 3, 4]} if kind == "data" else {"file": kind}
    made = stepper(tmp_path, models.running_sum(), {"state": [{"input": "h", "output": "h_next", "initial": initial}]})
    assert np.array_equal(made.initial["h"], first)


@pytest.mark.parametrize("initial", [{"data": [1, 2]}, {"file": "nowhere.npy"}, {"file": "model.onnx"}])
def test_an_initial_state_that_does_not_fit_is_refused(tmp_path: Path, initial: dict[str, Any]) -> None:
    """The error names the state."""
    with pytest.raises(ModelRejected, match="initial state of h") as refused:
        stepper(tmp_path, models.running_sum(), {"state": [{"input": "h", "output": "h_next", "initial": initial}]})
    assert refused.value.reason == "sequence_mismatch"
