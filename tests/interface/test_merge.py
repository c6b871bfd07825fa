"""An adapter and its model as one graph: names, weights, graphs inside, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from changeover.errors import ModelRejected
from tests.interface.adapting import DOUBLE, FLOAT, adapted, image_model, model, node, run, shapes


def test_no_steps_change_nothing() -> None:
    """Without steps the model is the same, byte by byte."""
    plain = image_model()
    assert adapted(plain).SerializeToString() == plain.SerializeToString()


def test_weights_are_left_as_they_are() -> None:
    """Names, places and bytes of weights are the model's own."""
    plain = image_model()
    made = adapted(plain, {"cast": {"image": "UINT8"}}, {"softmax": {"scores": 1}})
    assert [t.SerializeToString() for t in made.graph.initializer] == [
        t.SerializeToString() for t in plain.graph.initializer
    ]


def test_the_clients_name_is_one_of_the_graphs_inside() -> None:
    """A name that a graph inside a node has is taken there too, and by nobody else."""
    branch = helper.make_graph(
        [node("Neg", "x", "inner")], "then", [], [helper.make_tensor_value_info("inner", 1, None)]
    )
    other = helper.make_graph([node("Abs", "x", "else")], "else", [], [helper.make_tensor_value_info("else", 1, None)])
    plain = model(
        [helper.make_node("If", ["sure"], ["y"], then_branch=branch, else_branch=other)],
        [("x", FLOAT, ["N"])], [("y", FLOAT, ["N"])], sure=np.array(True),
    )  # fmt: skip
    made = adapted(plain, {"rename": {"x": "inner"}}, {"cast": {"inner": "FP64"}, "allow_lossy": True})
    assert shapes(made)["inner"] == (DOUBLE, ["N"])
    assert run(made, inner=np.array([1.0, -2.0]))["y"].tolist() == [-1, 2]


def test_a_model_with_names_of_an_adapter() -> None:
    """A model that was adapted before is adapted again, and its own made-up names meet no new ones."""
    once = adapted(image_model(), {"cast": {"image": "UINT8"}})
    twice = adapted(once, {"cast": {"image": "INT8"}, "allow_lossy": True})
    names = [name for each in twice.graph.node for name in each.output]
    assert len(names) == len(set(names))
    assert any(name.startswith("_interface/") for name in names)


def test_rows_without_a_name() -> None:
    """Where the first dimension is free and nameless it gets a name, so that rows still go together."""
    made = adapted(image_model(rows=None), {"cast": {"image": "UINT8"}})
    assert shapes(made)["image"][1][0] == shapes(made)["scores"][1][0] == "batch"


def test_rows_that_are_no_rows_any_more() -> None:
    """A free dimension that another one was merged with has a name of its own: such rows are never put together."""
    plain = model([node("Identity", "x", "y")], [("x", FLOAT, ["N", 4])], [("y", FLOAT, ["N", 4])])
    made = adapted(plain, {"reshape": {"y": [2, -1]}})
    assert shapes(made)["y"][1] == [2, "y_reshaped"]


def test_values_inside_have_their_types() -> None:
    """What is between two nodes of an adapter is declared with type and shape."""
    made = adapted(image_model(), {"scale": {"image": {"scale": 0.5, "offset": 1}}}, {"cast": {"image": "UINT8"}})
    inside = {info.name: info.type.tensor_type.elem_type for info in made.graph.value_info}
    assert [kind for name, kind in sorted(inside.items()) if name.endswith("scaled")] == [FLOAT]


def test_external_weights_need_not_be_there() -> None:
    """Weights in another file are neither read nor moved."""
    plain = image_model()
    tensor = plain.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    copy = onnx.ModelProto()
    copy.CopyFrom(plain)
    from changeover.interface.merge import adapt
    from tests.interface.adapting import steps

    adapt(copy, steps({"rename": {"image": "x"}}))
    assert copy.graph.initializer[0] == tensor


def test_a_model_that_is_too_old() -> None:
    """Operator sets before 7 broadcast by other rules, and are refused."""
    with pytest.raises(ModelRejected, match="operator set 6, and adapters begin with 7"):
        adapted(image_model(opset=6, ir=3), {"cast": {"image": "UINT8"}})
