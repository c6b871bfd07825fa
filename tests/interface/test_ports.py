"""Inputs and outputs as the adapters see them."""

from __future__ import annotations

import pytest
from onnx import helper

from changeover.interface.ports import Port, declared, own_ports
from changeover.tensors import Datatype
from tests.interface.adapting import FLOAT, image_model, model, node


def test_weights_among_the_inputs_are_none() -> None:
    """Files before IR 4 list their weights as inputs, which no client sends."""
    inputs, outputs = own_ports(image_model(opset=8, ir=3))
    assert [str(port) for port in (*inputs, *outputs)] == ["'image' (FP32[N, 1, 4, 4])", "'scores' (FP32[N, 3])"]


def test_what_the_protocol_cannot_carry() -> None:
    """A sequence of tensors is no input that an adapter could change."""
    plain = model([node("Neg", "x", "y")], [("x", FLOAT, ["N"])], [("y", FLOAT, ["N"])])
    plain.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("x", FLOAT, None))
    with pytest.raises(ValueError, match="'x' is no tensor"):
        own_ports(plain)


def test_a_free_dimension_without_a_name_is_declared_as_such() -> None:
    """The first dimension may be free and nameless; it is declared so."""
    made = declared(Port("x", Datatype.INT8, ("", 3), "x"))
    dims = made.type.tensor_type.shape.dim
    assert [dim.WhichOneof("value") for dim in dims] == [None, "dim_value"]


def test_axes_are_counted_from_either_end() -> None:
    """As numpy does it, and no further."""
    port = Port("x", Datatype.FP32, ("N", 2, 3), "x")
    assert [port.axis(axis) for axis in (0, 2, -1, -3)] == [0, 2, 2, 0]
    with pytest.raises(ValueError, match="axis 3 is none of 3 dimensions"):
        port.axis(3)
