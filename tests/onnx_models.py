"""ONNX models for tests, sound and unsound, made by the format's own package (imported when it is needed)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from changeover.tensors import Datatype

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

OPSET = 19
_IR = 9
Shape = Sequence[int | str]


def identity(datatype: Datatype = Datatype.FP32, shape: Shape = ("N", 4)) -> ModelProto:
    """`y = x` of any datatype; a text in the shape is a free dimension."""
    return _model([_node("Identity", "x", "y")], [_value("x", datatype, shape)], [_value("y", datatype, shape)])


def scale(factor: float, columns: int = 4) -> ModelProto:
    """`y = factor * x`, FP32, rows free: an answer tells which version gave it."""
    return _model(
        [_node("Mul", "x", "f", "y")],
        [_value("x", Datatype.FP32, ("N", columns))],
        [_value("y", Datatype.FP32, ("N", columns))],
        f=np.array(factor, np.float32),
    )


def adder(variant: int = 0) -> ModelProto:
    """`y = h + x`, and the next state `hn` is the same; FP32, rows free, one column.

    Each variant is another graph of equal answers.
    """
    shape = ("N", 1)
    nodes = [_node("Add", "h", "x", "s0")]
    nodes += [_node("Identity", f"s{n}", f"s{n + 1}") for n in range(variant)]
    nodes += [_node("Identity", f"s{variant}", "y"), _node("Identity", f"s{variant}", "hn")]
    values = {name: _value(name, Datatype.FP32, shape) for name in ("x", "h", "y", "hn")}
    return _model(nodes, [values["x"], values["h"]], [values["y"], values["hn"]])


def picky_adder(most: int) -> ModelProto:
    """`adder` whose run fails where `x` is above `most`: it looks into a table that ends there."""
    shape = ("N", 1)
    nodes = [
        _node("Cast", "x", "place", to=7),
        _node("Gather", "table", "place", "nought"),
        _node("Add", "h", "x", "sum"),
        _node("Add", "sum", "nought", "y"),
        _node("Identity", "y", "hn"),
    ]
    values = {name: _value(name, Datatype.FP32, shape) for name in ("x", "h", "y", "hn")}
    table = np.zeros(most + 1, np.float32)
    return _model(nodes, [values["x"], values["h"]], [values["y"], values["hn"]], table=table)


def add_sub(datatype: Datatype = Datatype.INT32) -> ModelProto:
    """`sum = a + b` and `difference = a - b`, rows free, 16 columns: Triton's simple example with rows."""
    shape = ("N", 16)
    return _model(
        [_node("Add", "a", "b", "sum"), _node("Sub", "a", "b", "difference")],
        [_value("a", datatype, shape), _value("b", datatype, shape)],
        [_value("sum", datatype, shape), _value("difference", datatype, shape)],
    )


def total(names: Sequence[str]) -> ModelProto:
    """`y` is the sum of all inputs, FP32, rows free, 4 columns."""
    return _model(
        [_node("Sum", *names, "y")],
        [_value(name, Datatype.FP32, ("N", 4)) for name in names],
        [_value("y", Datatype.FP32, ("N", 4))],
    )


def slow(rounds: int, factor: float = 1.0, size: int = 256) -> ModelProto:
    """`scale`, and a loop of matrix products that takes time in proportion to `rounds` (about 1 ms each).

    The products are of constants, so the time does not depend on the rows. Their result is multiplied by the
    first element's zeroth multiple, so that no optimiser can take the loop out.
    """
    from onnx import helper

    body = helper.make_graph(
        [
            _node("Identity", "going", "go_on"),
            _node("MatMul", "m", "w", "m2"),
            _node("Clip", "m2", "low", "high", "m3"),
        ],
        "body",
        [_value("i", Datatype.INT64, ()), _value("going", Datatype.BOOL, ()), _value("m", Datatype.FP32, (size, size))],
        [_value("go_on", Datatype.BOOL, ()), _value("m3", Datatype.FP32, (size, size))],
    )
    nodes = [
        _node("ReduceMax", "x", "top", keepdims=0),
        _node("Mul", "top", "zero", "nought"),
        _node("Add", "w", "nought", "begin"),
        helper.make_node("Loop", ["rounds", "yes", "begin"], ["end"], body=body),
        _node("ReduceMax", "end", "last", keepdims=0),
        _node("Mul", "last", "zero", "nothing"),
        _node("Mul", "x", "f", "scaled"),
        _node("Add", "scaled", "nothing", "y"),
    ]
    return _model(
        nodes,
        [_value("x", Datatype.FP32, ("N", 4))],
        [_value("y", Datatype.FP32, ("N", 4))],
        rounds=np.array(rounds, np.int64),
        yes=np.array(True),
        zero=np.array(0, np.float32),
        low=np.array(-1, np.float32),
        high=np.array(1, np.float32),
        w=np.random.default_rng(3).random((size, size), np.float32) / size,
        f=np.array(factor, np.float32),
    )


def not_a_number() -> ModelProto:
    """`y = x + NaN`: loads well, and answers nonsense."""
    ends = [_value("x", Datatype.FP32, ("N", 4))], [_value("y", Datatype.FP32, ("N", 4))]
    return _model([_node("Add", "x", "nan", "y")], *ends, nan=np.array(np.nan, np.float32))


def brittle(factor: float) -> ModelProto:
    """`scale`, but NaN for 11, 31, 51, …: for one in five rows of four whole numbers in sequence."""
    mod = _node("Mod", "x", "every", "rest", fmod=1)
    nodes = [mod, _node("Sub", "rest", "hole", "apart"), _node("Div", "zero", "apart", "nothing")]
    return _model(
        [*nodes, _node("Mul", "x", "f", "scaled"), _node("Add", "scaled", "nothing", "y")],
        [_value("x", Datatype.FP32, ("N", 4))],
        [_value("y", Datatype.FP32, ("N", 4))],
        **{k: np.array(v, np.float32) for k, v in (("every", 20), ("hole", 11), ("zero", 0), ("f", factor))},
    )


def infinite() -> ModelProto:
    """`y = x / 0`: infinity for every positive input."""
    ends = [_value("x", Datatype.FP32, ("N", 4))], [_value("y", Datatype.FP32, ("N", 4))]
    return _model([_node("Div", "x", "nought", "y")], *ends, nought=np.array(0, np.float32))


def mixing() -> ModelProto:
    """`y = x + max(x)`: rows influence one another although the first dimension is free."""
    return _model(
        [_node("ReduceMax", "x", "top", keepdims=0), _node("Add", "x", "top", "y")],
        [_value("x", Datatype.FP32, ("N", 4))],
        [_value("y", Datatype.FP32, ("N", 4))],
    )


def undeclared() -> ModelProto:
    """Declares an output of four columns, and gives one of eight."""
    return _model(
        [_node("Concat", "x", "x", "both", axis=1), _node("Reshape", "both", "shape", "y", allowzero=0)],
        [_value("x", Datatype.FP32, ("N", 4))],
        [_value("y", Datatype.FP32, ("N", 4))],
        shape=np.array([-1, 8], np.int64),
    )


def endless() -> ModelProto:
    """`y = x`, after a loop for each whole number over 10,000 in the input: one request can take for ever."""
    from onnx import helper

    body = helper.make_graph(
        [_node("Identity", "going", "go_on"), _node("MatMul", "m", "w", "m2")],
        "body",
        [_value("i", Datatype.INT64, ()), _value("going", Datatype.BOOL, ()), _value("m", Datatype.FP32, (64, 64))],
        [_value("go_on", Datatype.BOOL, ()), _value("m2", Datatype.FP32, (64, 64))],
    )
    nodes = [
        _node("ReduceMax", "x", "top", keepdims=0),
        _node("Sub", "top", "limit", "over"),
        _node("Relu", "over", "rounds"),
        helper.make_node("Cast", ["rounds"], ["count"], to=7),
        helper.make_node("Loop", ["count", "yes", "w"], ["end"], body=body),
        _node("ReduceMax", "end", "last", keepdims=0),
        _node("Mul", "last", "zero", "nothing"),
        _node("Add", "x", "nothing", "y"),
    ]
    return _model(
        nodes,
        [_value("x", Datatype.FP32, ("N", 4))],
        [_value("y", Datatype.FP32, ("N", 4))],
        yes=np.array(True),
        zero=np.array(0, np.float32),
        limit=np.array(10_000, np.float32),
        w=np.eye(64, dtype=np.float32),
    )


def gather(rows: int = 8) -> ModelProto:
    """`y = table[x]` with INT64 rows: an index out of range fails the whole run."""
    table = np.arange(rows, dtype=np.float32).reshape(rows, 1)
    return _model(
        [_node("Gather", "table", "x", "picked", axis=0), _node("Squeeze", "picked", "last", "y")],
        [_value("x", Datatype.INT64, ("N", 1))],
        [_value("y", Datatype.FP32, ("N", 1))],
        table=table,
        last=np.array([2], np.int64),
    )


def repeat() -> ModelProto:
    """`y` holds the numbers 0 … n-1 for the INT64 scalar `n`: the output's length is known only after the run."""
    return _model(
        [_node("Range", "zero", "n", "one", "y")],
        [_value("n", Datatype.INT64, ())],
        [_value("y", Datatype.INT64, ("M",))],
        zero=np.array(0, np.int64),
        one=np.array(1, np.int64),
    )


def weighty(mebibytes: int) -> ModelProto:
    """`y = x`, with a constant of `mebibytes` that the graph really needs: a slow load."""
    size = mebibytes << 18
    return _model(
        [
            _node("Gather", "w", "at", "element", axis=0),
            _node("Mul", "element", "zero", "nothing"),
            _node("Add", "x", "nothing", "y"),
            _node("ReduceSum", "w", "unused", keepdims=0),
        ],
        [_value("x", Datatype.FP32, ("N", 4))],
        [_value("y", Datatype.FP32, ("N", 4))],
        w=np.random.default_rng(1).random(size, np.float32),
        at=np.array(7, np.int64),
        zero=np.array(0, np.float32),
    )


def _model(
    nodes: list[NodeProto], inputs: list[ValueInfoProto], outputs: list[ValueInfoProto], **constants: Any
) -> ModelProto:
    from onnx import helper, numpy_helper

    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph: GraphProto = helper.make_graph(nodes, "test", inputs, outputs, tensors)
    made: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    made.ir_version = _IR
    return made


def _node(operator: str, *names: str, **attributes: Any) -> NodeProto:
    """A node; the last name is its output."""
    from onnx import helper

    made: NodeProto = helper.make_node(operator, list(names[:-1]), [names[-1]], **attributes)
    return made


def _value(name: str, datatype: Datatype, shape: Shape) -> ValueInfoProto:
    from onnx import TensorProto, helper

    kind = TensorProto.DataType.Value(datatype.onnx.removeprefix("tensor(").removesuffix(")").upper())
    made: ValueInfoProto = helper.make_tensor_value_info(name, kind, list(shape))
    return made
