"""The warmup gate, with real sessions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from changeover.errors import ModelRejected
from changeover.runtime import session, warmup
from changeover.tensors import Datatype, TensorSpec
from changeover.transport.control import WorkerSpec
from tests import onnx_models

Loaded = Callable[[onnx.ModelProto], session.Session]


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    """Load a model without a cache."""

    def load(model: onnx.ModelProto) -> session.Session:
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        spec = WorkerSpec(1, "m", "1", digest="", path=str(path), cache="", empty="", optimization="off")
        return session.load(spec).session

    return load


@pytest.mark.parametrize(
    ("largest", "sizes"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8]), (9, [1, 2, 4, 8, 9])]
)
def test_batch_sizes_double_up_to_the_largest(largest: int, sizes: list[int]) -> None:
    """The largest is among them whatever it is."""
    assert warmup.batch_sizes(largest) == sizes


def test_a_sound_model_passes_and_may_batch(loaded: Loaded) -> None:
    """With its evidence."""
    warm = warmup.warm_up(loaded(onnx_models.scale(2)), batchable=True, max_batch=8, finite=True)
    assert (warm.gate.result, warm.batchable) == ("passed", True)
    assert warm.gate.evidence["batch_sizes"] == [1, 2, 4, 8]
    assert warm.run_ms > 0


def test_nan_is_refused_unless_it_is_meant(loaded: Loaded) -> None:
    """The plan can say that a model means it."""
    model = loaded(onnx_models.not_a_number())
    with pytest.raises(ModelRejected) as refused:
        warmup.warm_up(model, batchable=True, max_batch=4, finite=True)
    assert refused.value.reason == "output_not_finite"
    assert warmup.warm_up(model, batchable=True, max_batch=4, finite=False).gate.result == "passed"


def test_rows_that_influence_each_other_turn_batching_off(loaded: Loaded) -> None:
    """The model serves, one request at a time, and the gate says so."""
    warm = warmup.warm_up(loaded(onnx_models.mixing()), batchable=True, max_batch=8, finite=True)
    assert (warm.gate.result, warm.batchable) == ("passed", False)
    assert "not batched" in warm.gate.detail


class Lying:
    """A session whose outputs are not what it declares: onnxruntime itself only warns of them."""

    inputs = (TensorSpec("x", Datatype.FP32, (-1, 4)),)

    def __init__(self, declared: TensorSpec, given: Any) -> None:
        self.outputs = [declared]
        self._given = given

    def run(self, arrays: list[Any]) -> list[Any]:
        return [self._given(len(arrays[0]))]


@pytest.mark.parametrize(
    ("declared", "given"),
    [
        (TensorSpec("y", Datatype.FP32, (-1, 4)), lambda n: np.ones((n, 5), np.float32)),
        (TensorSpec("y", Datatype.FP32, (-1, 4)), lambda n: np.ones(n, np.float32)),
        (TensorSpec("y", Datatype.FP32, (-1, 4)), lambda n: np.ones((n, 4), np.float64)),
        (TensorSpec("y", Datatype.FP32, (-1, 4)), lambda n: np.ones((1, 4), np.float32)),
    ],
)
def test_outputs_that_were_not_declared_are_refused(declared: TensorSpec, given: Any) -> None:
    """Another size, rank, type or number of rows."""
    with pytest.raises(ModelRejected) as refused:
        warmup.warm_up(Lying(declared, given), batchable=True, max_batch=4, finite=True)  # type: ignore[arg-type]
    assert refused.value.reason == "output_undeclared"


def test_a_model_that_cannot_run_its_own_shapes_is_refused(loaded: Loaded) -> None:
    """All dimensions are known, so the generated input is a fair one."""
    made = onnx_models.gather(rows=1)  # index 1 is out of range, and generated integers are 0 and 1
    with pytest.raises(ModelRejected) as refused:
        warmup.warm_up(loaded(made), batchable=True, max_batch=8, finite=True)
    assert refused.value.reason == "warmup_failed"


def test_free_dimensions_that_were_guessed_wrong_are_no_refusal(loaded: Loaded) -> None:
    """The gate is skipped with the reason, and batching stays off."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "x"], ["y"])],
        "square",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, "M"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, "M"])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
    made.ir_version = 9
    warm = warmup.warm_up(loaded(made), batchable=False, max_batch=1, finite=True)
    assert (warm.gate.result, warm.batchable) == ("skipped", False)


@pytest.mark.parametrize("datatype", Datatype, ids=lambda d: d.name)
def test_inputs_of_every_datatype_can_be_generated(loaded: Loaded, datatype: Datatype) -> None:
    """An identity of each type passes, and its rows are found independent."""
    warm = warmup.warm_up(loaded(onnx_models.identity(datatype)), batchable=True, max_batch=4, finite=True)
    assert (warm.gate.result, warm.batchable) == ("passed", True)


@pytest.mark.parametrize("datatype", Datatype, ids=lambda d: d.name)
def test_scalars_of_every_datatype_can_be_generated(loaded: Loaded, datatype: Datatype) -> None:
    """An input without dimensions is an array all the same: of numpy's own numbers the runtime takes none."""
    model = onnx_models.identity(datatype, ())
    warm = warmup.warm_up(loaded(model), batchable=False, max_batch=1, finite=True)
    assert (warm.gate.result, warm.batchable) == ("passed", False)
