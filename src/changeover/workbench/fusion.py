"""What became of each node of a model in the graph that ONNX Runtime made of it. Pure.

Values keep their names through most rewrites: the last value of what was fused is what the new node gives. So a new
node stands for all nodes of the model between the values that other new nodes give and its own. Where the runtime lays
out data in blocks it gives values new names, and says in the node's name which value it had been.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

_BLOCKED: Final = re.compile(r"(.+)_nchwc(?:_token_\d+)?")
_LAYOUT: Final = ("ReorderInput", "ReorderOutput")
_NOTHING: Final = ("Identity", "Dropout")
"""Operators that do nothing where a model only answers: what takes their place is not made of them."""


@dataclass(frozen=True, slots=True)
class Made:
    """A node of the optimised graph.

    Attributes:
        name: unique there.
        operator: with its domain where that is not the standard's.
        kind: `kept` (one node, the same operator), `fused` (several), `replaced` (one, another operator), `layout`
            (data in another order of memory), `new`.
        of: names of the model's nodes that it stands for.
        after: names of the nodes of this graph whose values it takes.
    """

    name: str
    operator: str
    kind: str
    of: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A graph beside the model it was made of.

    Attributes:
        nodes: in the order in which they run.
        folded: nodes of the model whose values are constants now.
        removed: those that do nothing, or nothing that anybody needs.
    """

    nodes: tuple[Made, ...]
    folded: tuple[str, ...]
    removed: tuple[str, ...]


def name_nodes(model: ModelProto) -> None:
    """Give every node of the graph a name that no other has; the ones that are good stay."""
    seen: set[str] = set()
    for at, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{at}"
            while node.name in seen:
                node.name += "_"
        seen.add(node.name)


def operator(node: NodeProto) -> str:
    """`Conv`, `com.microsoft.FusedConv`."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def rewritten(model: ModelProto, made: ModelProto) -> Rewritten:
    """What became of each node.

    Args:
        model: whose nodes have names (`name_nodes`).
        made: the graph that the runtime wrote of it.
    """
    source = _Source(model.graph)
    ends = [_ends(node, source) for node in made.graph.node]
    given = {value for one in ends for value in one}
    makers = {value: _name(at, node) for at, node in enumerate(made.graph.node) for value in node.output if value}
    nodes, covered = [], set()
    for at, (node, end) in enumerate(zip(made.graph.node, ends, strict=True)):
        of = source.behind(end, given)
        covered.update(of)
        kind = _kind(node, of, source)
        after = dict.fromkeys(makers[value] for value in node.input if value in makers)
        nodes.append(Made(_name(at, node), operator(node), kind, tuple(of), tuple(after)))
    left = [name for name in source.nodes if name not in covered]
    return Rewritten(
        tuple(nodes),
        tuple(name for name in left if name in source.constant),
        tuple(name for name in left if name not in source.constant),
    )


class _Source:
    """The model's own graph."""

    def __init__(self, graph: GraphProto) -> None:
        self.nodes = {node.name: node for node in graph.node}
        self.makers = {value: node for node in graph.node for value in node.output if value}
        self.constant = _constants(graph)

    def behind(self, ends: Iterable[str], given: set[str]) -> list[str]:
        """Names of the nodes from which these values come, up to values that other new nodes give; as they run."""
        waiting, found = list(ends), set()
        while waiting:
            value = waiting.pop()
            node = self.makers.get(value)
            if node is None or node.name in found or (node.name in self.constant and value not in given):
                continue
            found.add(node.name)
            waiting += [value for value in node.input if value not in given]
        working = {name for name in found if self.nodes[name].op_type not in _NOTHING}
        return [name for name in self.nodes if name in (working or found)]


def _constants(graph: GraphProto) -> set[str]:
    """Names of the nodes whose values depend on no input."""
    known = {tensor.name for tensor in graph.initializer} | {tensor.values.name for tensor in graph.sparse_initializer}
    found: set[str] = set()
    for node in graph.node:
        if all(value in known for value in node.input if value) and not any(a.HasField("g") for a in node.attribute):
            found.add(node.name)
            known.update(node.output)
    return found


def _ends(node: NodeProto, source: _Source) -> list[str]:
    """The model's values that a new node gives."""
    if node.op_type in _LAYOUT:
        return []
    known = [value for value in node.output if value in source.makers]
    if known:
        return known
    blocked = _BLOCKED.fullmatch(node.name)
    if blocked and blocked[1] in source.makers:
        return [blocked[1]]
    if node.name in source.nodes and node.op_type == source.nodes[node.name].op_type:
        return list(source.nodes[node.name].output)
    return []


def _kind(node: NodeProto, of: list[str], source: _Source) -> str:
    if node.op_type in _LAYOUT or (not of and node.op_type == "Transpose"):
        return "layout"
    if not of:
        return "new"
    if len(of) > 1:
        return "fused"
    return "kept" if operator(node) == operator(source.nodes[of[0]]) else "replaced"


def _name(at: int, node: NodeProto) -> str:
    return f"{at}:{node.name or node.op_type}"
