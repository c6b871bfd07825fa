"""Writes the nodes of an adapter, each as the model's own operator set has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from onnx import NodeProto

Array = npt.NDArray[Any]
LEAST_OPSET: Final = 7
"""Broadcasting as everybody knows it begins here."""
_ANY_CONSTANT: Final = 9
"""The operator set whose constants may be other than floating-point numbers."""
_AXES_AS_INPUT: Final = {"Squeeze": 13, "Unsqueeze": 13, "ReduceSum": 13, "ReduceMax": 18}


class Pen:
    """Writes nodes.

    Args:
        opset: version of the standard operators.
        prefix: of all names that are made up.
        before: nodes are written from the last to the first, as those are in front of a model.
    """

    def __init__(self, opset: int, prefix: str, *, before: bool) -> None:
        self.opset = opset
        self.before = before
        self._prefix = prefix
        self._written: list[NodeProto] = []
        self._pieces: list[list[NodeProto]] = []
        self._count = 0

    def nodes(self) -> list[NodeProto]:
        """All that was written, in an order in which it can run."""
        self.end_piece()
        pieces = self._pieces[::-1] if self.before else self._pieces
        return [node for piece in pieces for node in piece]

    def end_piece(self) -> None:
        """What was written since the last end belongs together."""
        if self._written:
            self._pieces.append(self._written)
            self._written = []

    def name(self, what: str) -> str:
        """A name that nobody has."""
        self._count += 1
        return f"{self._prefix}{'in' if self.before else 'out'}{self._count}/{what}"

    def write(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """One node; the name of its output, made up unless it is given."""
        from onnx import helper

        output = output or self.name(operator)
        name = self.name(f"node/{operator}")
        self._written.append(helper.make_node(operator, list(inputs), [output], name=name, **attributes))
        return output

    def constant(self, array: Array) -> str:
        """A constant; as a node, since files before IR 4 list weights among the inputs."""
        from onnx import helper, numpy_helper

        if self.opset < _ANY_CONSTANT and array.dtype.kind not in "fO":
            return self.write(
                "Cast", [self.constant(array.astype(np.float64))], to=helper.np_dtype_to_tensor_dtype(array.dtype)
            )
        return self.write("Constant", [], value=numpy_helper.from_array(np.array(array, order="C")))

    def numbers(self, *values: int) -> str:
        """A constant list of INT64."""
        return self.constant(np.array(values, np.int64))

    def over_axes(self, operator: str, value: str, axes: Sequence[int], output: str = "", **attributes: Any) -> str:
        """A node with axes, which are an attribute or an input by the operator set."""
        if self.opset >= _AXES_AS_INPUT[operator]:
            return self.write(operator, [value, self.numbers(*axes)], output, **attributes)
        return self.write(operator, [value], output, axes=list(axes), **attributes)
