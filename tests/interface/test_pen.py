"""Nodes as each operator set has them."""

from __future__ import annotations

import numpy as np
import pytest

from changeover.interface.pen import Pen


@pytest.mark.parametrize(("opset", "operators"), [(12, ["Squeeze"]), (13, ["Constant", "Squeeze"])])
def test_axes_are_an_attribute_or_an_input(opset: int, operators: list[str]) -> None:
    """Operator set 13 made them an input."""
    pen = Pen(opset, "p/", before=False)
    pen.over_axes("Squeeze", "x", [1])
    assert [node.op_type for node in pen.nodes()] == operators


def test_whole_numbers_before_operator_set_9() -> None:
    """Constants were floating-point numbers only, so that others are cast."""
    assert [node.op_type for node in _constants(8)] == ["Constant", "Cast"]
    assert [node.op_type for node in _constants(9)] == ["Constant"]


def test_what_stands_in_front_is_written_from_its_end() -> None:
    """Of a pen in front the last piece runs first, and a piece stays together."""
    pen = Pen(17, "p/", before=True)
    for name in ("last", "first"):
        pen.write("Neg", ["x"], name)
        pen.write("Abs", ["x"], f"{name}_too")
        pen.end_piece()
    assert [node.output[0] for node in pen.nodes()] == ["first", "first_too", "last", "last_too"]


def test_a_number_stays_one_without_dimensions() -> None:
    """A constant of no dimensions gets none: rows of no dimensions would come back with one."""
    pen = Pen(17, "p/", before=False)
    pen.constant(np.array(2.0, np.float32))
    assert list(pen.nodes()[0].attribute[0].t.dims) == []


def _constants(opset: int) -> list[object]:
    pen = Pen(opset, "p/", before=False)
    pen.numbers(3, 4)
    return list(pen.nodes())
