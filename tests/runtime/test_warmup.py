"""The warmup gate, with real sessions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

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


@pytest.mark.parametrize("datatype", Datatype, ids=lambda d: d.name)
@pytest.mark.parametrize("shape", [("N",), ("N", 3)])
def test_rows_of_every_datatype_may_be_batched(loaded: Loaded, datatype: Datatype, shape: Any) -> None:
    """Also where a row is one number, or one text."""
    made = loaded(onnx_models.identity(datatype, shape))
    assert warmup.warm_up(made, batchable=True, max_batch=8, finite=True).batchable


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


def reciprocal_of_the_largest() -> onnx.ModelProto:
    """`y = x / the largest of all x`: it looks at the whole batch, of which each row alike has nearly the same."""
    graph = helper.make_graph(
        [helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0), helper.make_node("Div", ["x", "most"], ["y"])],
        "largest",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 784])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 784])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def share_of_the_largest(datatype: int) -> onnx.ModelProto:
    """The same of pixels, of counts, or of BF16."""
    nodes = [
        helper.make_node("Cast", ["x"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["floats"], ["most"], keepdims=0),
        helper.make_node("Div", ["floats", "most"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "largest",
        [helper.make_tensor_value_info("x", datatype, ["N", 784])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 784])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def dynamically_quantised() -> onnx.ModelProto:
    """What `int8_dynamic` makes of a layer: the scale is of the whole input, so of all rows of a batch."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["q", "w", "zero"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["y"]),
    ]
    weights = np.random.default_rng(3).integers(-90, 90, (64, 8)).astype(np.int8)
    graph = helper.make_graph(
        nodes,
        "quantised",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8])],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("made", [reciprocal_of_the_largest, dynamically_quantised])
def test_rows_that_influence_only_unlike_ones_turn_batching_off(loaded: Loaded, made: Callable[[], Any]) -> None:
    """One client's large numbers would take another's answer away."""
    warm = warmup.warm_up(loaded(made()), batchable=True, max_batch=32, finite=True)
    assert (warm.gate.result, warm.batchable) == ("passed", False)


@pytest.mark.parametrize("datatype", ["UINT8", "INT8", "INT64", "UINT16", "BFLOAT16"])
def test_unlike_rows_of_every_kind_of_number(loaded: Loaded, datatype: str) -> None:
    """Pixels, counts and short floats are made unlike too."""
    model = share_of_the_largest(getattr(TensorProto, datatype))
    warm = warmup.warm_up(loaded(model), batchable=True, max_batch=8, finite=True)
    assert (warm.gate.result, warm.batchable) == ("passed", False)


def test_indices_that_a_model_does_not_have(loaded: Loaded) -> None:
    """A table of two rows takes no larger index: that says nothing of its batches."""
    warm = warmup.warm_up(loaded(onnx_models.gather(rows=2)), batchable=True, max_batch=8, finite=True)
    assert (warm.gate.result, warm.batchable) == ("passed", True)


def rows_below(limit: float) -> onnx.ModelProto:
    """Only the rows without a larger value come out, and unlike rows have one."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], axes=[1], keepdims=0),
        helper.make_node("Less", ["most", "limit"], ["chosen"]),
        helper.make_node("Compress", ["x", "chosen"], ["y"], axis=0),
    ]
    return of_free_sizes(nodes, limit)


def as_long_as_the_largest(more: float) -> onnx.ModelProto:
    """The mean of each row, as often as the largest value of all rows has it."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Add", ["most", "limit"], ["length"]),
        helper.make_node("Cast", ["length"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Unsqueeze", ["whole", "first"], ["columns"]),
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Shape", ["mean"], ["rows"], end=1),
        helper.make_node("Concat", ["rows", "columns"], ["shape"], axis=0),
        helper.make_node("Expand", ["mean", "shape"], ["y"]),
    ]
    return of_free_sizes(nodes, more)


def of_free_sizes(nodes: list[onnx.NodeProto], limit: float) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "free",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["M", "T"])],
        [numpy_helper.from_array(np.float32(limit), "limit"), numpy_helper.from_array(np.array([0]), "first")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("made", [rows_below(5), as_long_as_the_largest(2)])
def test_sizes_that_unlike_rows_bring_about(loaded: Loaded, made: onnx.ModelProto) -> None:
    """Fewer rows, or longer ones, than a row has alone: the model serves, unbatched."""
    warm = warmup.warm_up(loaded(made), batchable=True, max_batch=8, finite=True)
    assert (warm.gate.result, warm.batchable) == ("passed", False)


def test_as_many_rows_as_the_data_have_it(loaded: Loaded) -> None:
    """A detector's boxes: their number is free too, and nobody said that it is that of the images."""
    graph = helper.make_graph(
        [helper.make_node("NonZero", ["x"], ["places"]), helper.make_node("Transpose", ["places"], ["y"])],
        "boxes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["unk__1", 4])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, ["unk__2", 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    warm = warmup.warm_up(loaded(model), batchable=True, max_batch=8, finite=True)
    assert (warm.gate.result, warm.batchable) == ("passed", False)
    assert "not batched" in warm.gate.detail


def test_a_long_warm_up_gives_signs_of_life(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """One before every run but the timed ones, which are one after the other; and their number is known."""
    signs: list[str] = []
    model = loaded(onnx_models.gather(rows=2))  # the one that takes most: it is tried with larger integers first
    run = session.Session.run
    monkeypatch.setattr(session.Session, "run", lambda *told: signs.append("run") or run(*told))
    warmup.warm_up(model, batchable=True, max_batch=32, finite=True, alive=lambda: signs.append("sign"))
    *before, _, _, _ = signs
    assert "run run" not in " ".join(before)
    assert warmup.most_runs(32) - 5 <= signs.count("run") <= warmup.most_runs(32)


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
    ],
)
def test_outputs_that_were_not_declared_are_refused(declared: TensorSpec, given: Any) -> None:
    """Another size, rank or type."""
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
