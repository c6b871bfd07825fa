"""Inputs and outputs as the adapters see them: a name, an element type, dimensions that are numbers or names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from changeover.tensors import Datatype

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

Dim = int | str
"""A size, or the name of a free one."""


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output, between two steps.

    Attributes:
        name: by which it is known there.
        datatype: of its elements.
        dims: its shape.
        value: the graph's value that carries it.
        origin: the model's own value that it belongs to, `""` for none.
    """

    name: str
    datatype: Datatype
    dims: tuple[Dim, ...]
    value: str
    origin: str = ""

    def now(self, value: str, *, datatype: Datatype | None = None, dims: tuple[Dim, ...] | None = None) -> Self:
        """The same one step further out."""
        return replace(
            self,
            value=value,
            datatype=self.datatype if datatype is None else datatype,
            dims=self.dims if dims is None else dims,
        )

    def axis(self, axis: int, more: int = 0) -> int:
        """An axis counted from the front; `more` axes than there are now are counted with.

        Raises:
            ValueError: there is none.
        """
        rank = len(self.dims) + more
        if not -rank <= axis < rank:
            raise ValueError(f"axis {axis} is none of {rank} dimensions")
        return axis % rank

    def __str__(self) -> str:
        return f"{self.name!r} ({self.datatype.name}[{', '.join(map(str, self.dims))}])"


def own_ports(model: ModelProto) -> tuple[list[Port], list[Port]]:
    """What a model takes and gives: inputs that are no defaults of its own, and outputs.

    Raises:
        ValueError: a tensor that the protocol cannot carry.
    """
    graph = model.graph
    inner = {tensor.name for tensor in graph.initializer} | {tensor.values.name for tensor in graph.sparse_initializer}
    inputs = [_port(value) for value in graph.input if value.name not in inner]
    return inputs, [_port(value) for value in graph.output]


def _port(value: ValueInfoProto) -> Port:
    from onnx import TensorProto

    tensor = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type" or not tensor.HasField("shape"):
        raise ValueError(f"{value.name!r} is no tensor with a known number of dimensions")
    kind = TensorProto.DataType.Name(tensor.elem_type).lower()
    dims = tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or _unnamed(value.name, at)
        for at, dim in enumerate(tensor.shape.dim)
    )
    return Port(value.name, Datatype.from_onnx(f"tensor({kind})"), dims, value.name, value.name)


def _unnamed(name: str, at: int) -> str:
    """A name for a free dimension without one: the first is the batch by all that is known, others are their own."""
    return "" if at == 0 else f"{name}_{at}"


def element_type(datatype: Datatype) -> int:
    """ONNX's number of a datatype."""
    from onnx import TensorProto

    return int(TensorProto.DataType.Value(datatype.onnx.removeprefix("tensor(").removesuffix(")").upper()))


def declared(port: Port) -> ValueInfoProto:
    """A port as a graph declares it."""
    from onnx import helper

    dims = [dim or None for dim in port.dims] if "" in port.dims else list(port.dims)
    made: ValueInfoProto = helper.make_tensor_value_info(port.name, element_type(port.datatype), dims)
    return made
