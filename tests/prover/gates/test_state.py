"""The gate `state` on real models: what may be carried over, what is stopped, and what is proposed instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from changeover.prover.course import Course, generated
from changeover.prover.gates import state
from changeover.prover.gates.state import Side, State
from changeover.runtime import session
from changeover.runtime.stepping import Stepper, initial_states
from changeover.runtime.tools import open_tools
from changeover.sequences.declared import Declared, resolve
from changeover.sequences.moves import Conversion
from changeover.transport.control import GateResult, WorkerSpec
from tests import sequence_models as models

LIMIT = 1e-4


class Version:
    """A loaded version with its declaration."""

    def __init__(self, folder: Path, data: bytes, said: dict[str, Any]) -> None:
        path = folder / f"{len(list(folder.iterdir()))}.onnx"
        path.write_bytes(data)
        self.spec = WorkerSpec(1, "m", "1", digest="", path=str(path), cache="", empty="", optimization="off")
        self.declared = msgspec.convert(said, Declared)
        loaded = session.load(self.spec).session
        self.resolved = resolve(self.declared, loaded.inputs, loaded.outputs)
        self.layout = self.resolved.layout
        stepper = Stepper(loaded, self.layout, initial_states(self.declared, self.layout, folder))
        self.side = Side(stepper, self.resolved.outputs, 30.0)


def gate(active: Version, candidate: Version, course: Course | None = None, limit: float = LIMIT) -> GateResult:
    """What the gate says, with everything before it."""
    early = state.beforehand(candidate.declared, active.layout, candidate.layout)
    if early is not None:
        return early
    said = candidate.declared
    tools = open_tools([*said.map, *(said.steps_back or ())], candidate.spec)
    conversion = Conversion(said, candidate.layout, tools)
    course = course or generated(candidate.resolved.inputs)
    return State(said, limit, conversion, lambda: None).gate(course, candidate.side, active.side)


@pytest.fixture
def lstm(tmp_path: Path) -> Version:
    return Version(tmp_path, models.forecast("lstm"), models.FORECAST_STATE)


def test_equal_weights_in_another_graph_pass(tmp_path: Path, lstm: Version) -> None:
    """The evidence holds the worst tensor, the limit, and what was run."""
    found = gate(lstm, Version(tmp_path, models.forecast("gates"), models.FORECAST_STATE))
    assert found.result == "passed", found.detail
    assert found.evidence["divergence"] < 1e-6
    assert (found.evidence["of"], found.evidence["sequences"], found.evidence["steps"]) == ("generated", 4, 96)
    assert (found.evidence["on_changeover"], found.evidence["way_back"]) == ("carry", "carry")
    assert {"output y", "output going on y", "state h", "state taken back c"} < found.evidence["tensors"].keys()


def test_half_precision_is_stopped(tmp_path: Path, lstm: Version) -> None:
    """The layout is the same, the answers are near, and the states are not the same any more."""
    found = gate(lstm, Version(tmp_path, models.forecast("half"), models.FORECAST_STATE))
    assert (found.result, found.evidence["reason"]) == ("failed", "state_diverges")
    assert LIMIT < found.evidence["divergence"] < 0.1
    assert "state_divergence" in found.detail


def test_a_higher_limit_lets_it_pass(tmp_path: Path, lstm: Version) -> None:
    """The limit is what decides, not the file."""
    half = Version(tmp_path, models.forecast("half"), models.FORECAST_STATE)
    assert gate(lstm, half, limit=0.1).result == "passed"


def test_a_wider_state_with_nothing_declared_is_refused_with_a_proposal(tmp_path: Path, lstm: Version) -> None:
    """What is proposed makes the gate pass."""
    wide = models.forecast("wide")
    found = gate(lstm, Version(tmp_path, wide, models.FORECAST_STATE))
    assert (found.result, found.evidence["reason"]) == ("failed", "state_layout")
    assert "state 'h' is FP32[1, 1, 40] instead of FP32[1, 1, 32]" in found.detail
    proposed = found.evidence["proposal"]["sequence"]
    mended = gate(lstm, Version(tmp_path, wide, {**models.FORECAST_STATE, **proposed}))
    assert mended.result == "passed", mended.detail
    assert mended.evidence["way_back"] == "map"


def test_a_narrower_state_has_no_way_back_by_its_own(tmp_path: Path, lstm: Version) -> None:
    """Cropped cells are lost: sequences stay where they are when the version is taken back."""
    wide = Version(tmp_path, models.forecast("wide"), models.FORECAST_STATE)
    crop = {"crop": {name: {"axis": 2, "after": 8} for name in "hc"}}
    said = {**models.FORECAST_STATE, "on_changeover": "map", "map": [crop]}
    found = gate(wide, Version(tmp_path, models.forecast("lstm"), said))
    assert (found.result, found.evidence["way_back"]) == ("passed", "drain")


def test_a_wrong_way_back_is_found(tmp_path: Path) -> None:
    """Each state is taken there and back, and has to be the same."""
    active = Version(tmp_path, models.running_sum(1).SerializeToString(), models.SUM_STATE)
    said = {**models.SUM_STATE, "on_changeover": "map", "map": [{"scale": {"h": 1.0}}]}
    data = models.running_sum(1).SerializeToString()
    assert gate(active, Version(tmp_path, data, said)).result == "passed"
    found = gate(active, Version(tmp_path, data, {**said, "map_back": [{"scale": {"h": 0.5}}]}))
    assert (found.evidence["reason"], found.evidence["worst"]) == ("state_diverges", "state taken back h")


def test_exchanged_cells_are_mapped_by_a_matrix(tmp_path: Path) -> None:
    """Carried they diverge, projected they do not; the matrix lies beside the model."""
    order = [2, 0, 3, 1]
    active = Version(tmp_path, models.weighted_sum(4).SerializeToString(), models.SUM_STATE)
    exchanged = models.weighted_sum(4)
    # the candidate keeps column i of the sum at place order.index(i), and puts its inputs there too
    matrix = np.eye(4, dtype=np.float32)[:, order]
    np.save(tmp_path / "there.npy", matrix)
    np.save(tmp_path / "back.npy", matrix.T)
    data = _exchanged(exchanged, order)
    assert gate(active, Version(tmp_path, data, models.SUM_STATE)).result == "failed"
    said = {
        **models.SUM_STATE, "on_changeover": "map", "map": [{"project": {"h": {"matrix": "there.npy"}}}],
        "map_back": [{"project": {"h": {"matrix": "back.npy"}}}],
    }  # fmt: skip
    found = gate(active, Version(tmp_path, data, said))
    assert found.result == "passed", found.detail
    assert found.evidence["tensors"]["state taken back h"] == 0


def _exchanged(model: Any, order: list[int]) -> bytes:
    """The same model whose state has its columns in another order."""
    from onnx import helper, numpy_helper

    places = numpy_helper.from_array(np.array(order, np.int64), "places")
    undone = numpy_helper.from_array(np.argsort(np.array(order)), "undone")
    model.graph.initializer.extend([places, undone])
    add, multiply = model.graph.node
    add.input[0], add.output[0], multiply.input[0] = "straight", "sum", "sum"
    first = helper.make_node("Gather", ["h", "undone"], ["straight"], axis=1)
    last = helper.make_node("Gather", ["sum", "places"], ["h_next"], axis=1)
    del model.graph.node[:]
    model.graph.node.extend([first, add, multiply, last])
    data: bytes = model.SerializeToString()
    return data


def test_a_graph_maps_states(tmp_path: Path) -> None:
    """Two states from one, by an ONNX file beside the model."""
    from changeover.tensors import Datatype
    from tests import onnx_models

    halves = onnx_models._model(
        [onnx_models._node("Mul", "h", "half", "s")],
        [onnx_models._value("h", Datatype.FP32, (1, 4))],
        [onnx_models._value("s", Datatype.FP32, (1, 4))],
        half=np.array(1.0, np.float32),
    )
    (tmp_path / "map.onnx").write_bytes(halves.SerializeToString())
    active = Version(tmp_path, models.running_sum(1).SerializeToString(), models.SUM_STATE)
    renamed = models.running_sum(1, name="s").SerializeToString()
    said = {
        "state": [{"input": "s", "output": "s_next"}], "on_changeover": "map", "map": [{"graph": "map.onnx"}],
    }  # fmt: skip
    found = gate(active, Version(tmp_path, renamed, said))
    assert (found.result, found.evidence["way_back"]) == ("passed", "drain"), found.detail


def test_a_replay_is_measured_by_what_it_leaves_out(tmp_path: Path) -> None:
    """A sum forgets nothing, so a replay of the last inputs is another sum; of all inputs it is the same."""
    data = models.running_sum(1).SerializeToString()
    kept = {**models.SUM_STATE, "on_changeover": "replay"}
    active = Version(tmp_path, data, {**kept, "replay": 4})
    short = gate(active, Version(tmp_path, data, {**kept, "replay": 4}))
    assert (short.result, short.evidence["reason"]) == ("failed", "state_diverges")
    assert gate(active, Version(tmp_path, data, {**kept, "replay": 24})).result == "passed"


def test_without_kept_inputs_nothing_can_be_replayed(tmp_path: Path) -> None:
    """The active version had to keep them, and did not."""
    data = models.running_sum(1).SerializeToString()
    active = Version(tmp_path, data, models.SUM_STATE)
    found = gate(active, Version(tmp_path, data, {**models.SUM_STATE, "on_changeover": "replay"}))
    assert (found.result, found.evidence["reason"]) == ("failed", "replay_inputs_missing")


@pytest.mark.parametrize("way", ["drain", "reset"])
def test_nothing_moves_so_nothing_is_compared(tmp_path: Path, lstm: Version, way: str) -> None:
    """The record says why; a first version has nothing to be compared with either."""
    wide = Version(tmp_path, models.forecast("wide"), {**models.FORECAST_STATE, "on_changeover": way})
    found = gate(lstm, wide)
    assert found.result == "skipped"
    assert way in found.detail
    assert state.beforehand(wide.declared, None, wide.layout).result == "skipped"  # type: ignore[union-attr]


def test_a_map_that_does_not_fit_is_refused(tmp_path: Path, lstm: Version) -> None:
    """It names the step, and what would fit."""
    said = {**models.FORECAST_STATE, "on_changeover": "map", "map": [{"pad": {"h": {"axis": 2, "after": 3}}}]}
    found = gate(lstm, Version(tmp_path, models.forecast("wide"), said))
    assert (found.result, found.evidence["reason"]) == ("failed", "state_unfit")
    assert "pad: {" in found.detail or "pad" in found.detail
    assert "[1, 1, 35] instead of [1, 1, 40]" in found.detail


def test_generated_steps_that_fail_prove_nothing(tmp_path: Path) -> None:
    """A model that takes no made-up numbers is skipped, and refused when it is the recorded steps that fail."""
    said = models.SILERO_5
    active, candidate = (Version(tmp_path, models.silero(v), said) for v in ("5.1", "6.2"))
    found = gate(active, candidate)
    assert found.result == "skipped"
    assert "golden set" in found.detail
    recorded = Course(generated(candidate.resolved.inputs).sequences, recorded=True)
    assert gate(active, candidate, recorded).evidence["reason"] == "golden_run_failed"


@pytest.fixture
def heard() -> Course:
    return Course([models.silero_steps(40, seed) for seed in (1, 2)], recorded=True)


def test_a_re_export_of_silero_goes_on(tmp_path: Path, heard: Course) -> None:
    """Version 6.2.3 comes in several graphs with equal weights."""
    active, other = (Version(tmp_path, models.silero(v), models.SILERO_5) for v in ("6.2", "6.2 16k"))
    found = gate(active, other, heard)
    assert found.result == "passed", found.detail


def test_silero_6_has_the_layout_of_5_and_other_weights(tmp_path: Path, heard: Course) -> None:
    """So nothing is in the way of a carry but what the states mean: the gate measures it."""
    active, candidate = (Version(tmp_path, models.silero(v), models.SILERO_5) for v in ("5.1", "6.2"))
    found = gate(active, candidate, heard)
    assert (found.evidence["on_changeover"], found.result) == ("carry", "failed"), found.detail


def test_silero_5_cannot_carry_the_states_of_4(tmp_path: Path) -> None:
    """Two states of 64 became one of 128: a replay is proposed."""
    active = Version(tmp_path, models.silero("4"), models.SILERO_4)
    found = gate(active, Version(tmp_path, models.silero("5.1"), models.SILERO_5))
    assert (found.result, found.evidence["reason"]) == ("failed", "state_layout")
    assert found.evidence["proposal"] == {"sequence": {"on_changeover": "replay", "replay": 16}}
