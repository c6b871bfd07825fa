"""A model and its adapter as one: nodes in front and behind, names that do not meet, types that are checked.

The model's own nodes and weights stay as they are; only names that clients use for something else are changed. External
data is neither read nor moved: its locations count from the folder of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from changeover.errors import ModelRejected
from changeover.interface.adapter import Adapter
from changeover.interface.pen import LEAST_OPSET, Pen
from changeover.interface.ports import Port, declared, own_ports
from changeover.interface.steps import Step

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

_OPSET: Final = 17
"""Taken by a model that uses no standard operator."""
_PREFIX: Final = "interface/"
_BATCH: Final = "batch"


def adapt(model: ModelProto, steps: Sequence[Step]) -> None:
    """Make a model's inputs and outputs those that clients use, in place.

    Args:
        model: that the format's checker accepts; its external data need not be loaded.
        steps: from the model outwards.

    Raises:
        ModelRejected: a step does not fit the model (`interface_unfit`), or loses something of the data and is
            not allowed to (`interface_lossy`).
    """
    graph = model.graph
    try:
        inputs, outputs = own_ports(model)
    except ValueError as error:
        raise ModelRejected(f"The model's own inputs and outputs: {error}.", reason="interface_unfit") from error
    opset = _opset(model)
    taken = set(_names(graph))
    prefix = _PREFIX
    while any(name.startswith(prefix) for name in taken):
        prefix = f"_{prefix}"
    pens = (
        Pen(opset, prefix, before=True),
        Pen(opset, f"{prefix}default/", before=False),
        Pen(opset, prefix, before=False),
    )
    adapter = Adapter(inputs, outputs, pens)
    adapter.apply(steps)
    sides = adapter.inputs.ports, adapter.outputs.ports
    before, behind = [*pens[0].nodes(), *pens[1].nodes()], pens[2].nodes()
    inferred = _checked(model, (inputs, outputs), sides, [*before, *behind])
    renamed = _new_names(sides, taken, prefix)

    def change(name: str) -> str:
        return renamed.get(name, name)

    _rename(graph, change)
    for node in (*before, *behind):
        _rename_node(node, change)
    _put_round(graph, before, behind)
    _declare(graph, sides, _batch([*inputs, *outputs]))
    for info in inferred:
        info.name = change(info.name)
    graph.value_info.extend(inferred)


def _opset(model: ModelProto) -> int:
    """Version of the standard operators, which the adapter's nodes are made for."""
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            if entry.version < LEAST_OPSET:
                raise ModelRejected(
                    f"The model is of operator set {entry.version}, and adapters begin with {LEAST_OPSET}: "
                    "export it for a newer one.",
                    reason="interface_unfit",
                )
            return int(entry.version)
    model.opset_import.add(domain="", version=_OPSET)
    return _OPSET


# -- checks ------------------------------------------------------------------------------------------------


def _checked(
    model: ModelProto,
    own: tuple[list[Port], list[Port]],
    sides: tuple[list[Port], list[Port]],
    nodes: Iterable[NodeProto],
) -> list[ValueInfoProto]:
    """The adapter alone, checked by the format's own package; what it infers of the values inside."""
    from onnx import checker, helper, shape_inference

    made = list(nodes)
    if not made:
        return []
    written = {name for node in made for name in node.output}
    ends = [_called(port, port.value) for port in sides[0]] + [declared(port) for port in own[1]]
    sources = {info.name: info for info in ends if info.name not in written}
    wanted = {port.value: port for port in (*own[0], *sides[1]) if port.value in written}
    graph = helper.make_graph(made, "adapter", list(sources.values()), [_called(p, p.value) for p in wanted.values()])
    alone = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _opset(model))])
    alone.ir_version = max(model.ir_version, 3)
    try:
        checker.check_model(alone, full_check=True)
        shown = shape_inference.infer_shapes(alone, check_type=True, strict_mode=True, data_prop=True).graph
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        detail = " ".join(str(error).split())[:400]
        raise ModelRejected(
            f"The steps make no sense to the format's checker with operator set {_opset(model)}: {detail}",
            reason="interface_unfit",
        ) from error
    return list(shown.value_info)


def _called(port: Port, name: str) -> ValueInfoProto:
    info = declared(port)
    info.name = name
    return info


# -- names -------------------------------------------------------------------------------------------------


def _new_names(sides: tuple[list[Port], list[Port]], taken: set[str], prefix: str) -> dict[str, str]:
    """New names of values: those clients use for the ends, and others for what has such a name inside."""
    renamed = {port.value: port.name for ports in sides for port in ports}
    for name in {port.name for ports in sides for port in ports} & taken:
        if name not in renamed:
            renamed[name] = f"{prefix}model/{name}"
    return renamed


def _names(graph: GraphProto) -> Iterator[str]:
    """Names of all values, of graphs inside too."""
    for tensor in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        yield tensor.name
    for sparse in graph.sparse_initializer:
        yield sparse.values.name
    for node in graph.node:
        yield from node.input
        yield from node.output
        for inner in _inside(node):
            yield from _names(inner)


def _inside(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _rename(graph: GraphProto, change: Callable[[str], str]) -> None:
    for tensor in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        tensor.name = change(tensor.name)
    for sparse in graph.sparse_initializer:
        sparse.values.name = change(sparse.values.name)
    for annotation in graph.quantization_annotation:
        annotation.tensor_name = change(annotation.tensor_name)
        for entry in annotation.quant_parameter_tensor_names:
            entry.value = change(entry.value)
    for node in graph.node:
        _rename_node(node, change)


def _rename_node(node: NodeProto, change: Callable[[str], str]) -> None:
    for names in (node.input, node.output):
        new = [change(name) if name else name for name in names]
        if new != list(names):
            names[:] = new
    for inner in _inside(node):
        _rename(inner, change)


# -- the graph ---------------------------------------------------------------------------------------------


def _put_round(graph: GraphProto, before: list[NodeProto], behind: list[NodeProto]) -> None:
    if before:
        own = list(graph.node)
        del graph.node[:]
        graph.node.extend([*before, *own])
    graph.node.extend(behind)


def _batch(own: Iterable[Port]) -> str:
    """A name for first dimensions that are free without one, and the same everywhere by all that is known."""
    named = (port.dims[0] for port in own if port.dims and isinstance(port.dims[0], str) and port.dims[0])
    return str(next(named, _BATCH))


def _declare(graph: GraphProto, sides: tuple[list[Port], list[Port]], batch: str) -> None:
    """The clients' inputs and outputs; defaults of the model's own that are listed among the inputs stay there."""
    inner = {tensor.name for tensor in graph.initializer} | {tensor.values.name for tensor in graph.sparse_initializer}
    defaults = [value for value in graph.input if value.name in inner]
    for values, ports, more in ((graph.input, sides[0], defaults), (graph.output, sides[1], [])):
        made = [declared(_named(port, batch)) for port in ports] + more
        del values[:]
        values.extend(made)


def _named(port: Port, batch: str) -> Port:
    return port.now(port.value, dims=(batch, *port.dims[1:])) if port.dims[:1] == ("",) else port
