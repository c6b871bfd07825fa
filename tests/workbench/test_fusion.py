"""Which nodes of a model became which of the graph that runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from changeover.demo import digits
from changeover.runtime import levels
from changeover.workbench.fusion import Made, Rewritten, name_nodes, rewritten
from tests.interface.adapting import FLOAT, model, node


def at(made: onnx.ModelProto, level: str, folder: Path) -> Rewritten:
    """What ONNX Runtime makes of a model at a level."""
    name_nodes(made)
    onnx.save(made, folder / "model.onnx")
    graph = levels.load(folder / "model.onnx", level, folder).graph
    return rewritten(made, onnx.load(graph))


def fused(found: Rewritten) -> dict[str, tuple[str, ...]]:
    return {made.operator: made.of for made in found.nodes if made.kind == "fused"}


def conv_add_relu() -> onnx.ModelProto:
    """A convolution, a bias of its own, Relu; then a matrix product with a bias and a folded constant."""
    nodes = [
        node("Conv", "x", "w", "c"), node("Add", "c", "b", "a"), node("Relu", "a", "r"),
        node("Flatten", "r", "f"), node("Mul", "m", "two", "m2"), node("MatMul", "f", "m2", "p"),
        node("Add", "p", "bias", "y"),
    ]  # fmt: skip
    return model(nodes, [("x", FLOAT, ["N", 1, 4, 4])], [("y", FLOAT, ["N", 3])],
                 w=np.ones((2, 1, 3, 3), np.float32), b=np.ones((1, 2, 1, 1), np.float32),
                 m=np.ones((8, 3), np.float32), two=np.array(2, np.float32), bias=np.ones(3, np.float32))  # fmt: skip


def test_without_optimisation_every_node_is_kept(tmp_path: Path) -> None:
    """At level off nodes are what they were, those of constants too."""
    made = conv_add_relu()
    found = at(made, "off", tmp_path)
    assert [one.kind for one in found.nodes] == ["kept"] * 7
    assert [one.of for one in found.nodes] == [(n.name,) for n in made.graph.node]
    assert found.folded == found.removed == ()


def test_the_basic_level(tmp_path: Path) -> None:
    """A bias goes into the convolution, a matrix product and an addition become a Gemm, a constant is worked out."""
    found = at(conv_add_relu(), "basic", tmp_path)
    assert fused(found) == {"Conv": ("Conv_0", "Add_1"), "Gemm": ("MatMul_5", "Add_6")}
    assert found.folded == ("Mul_4",)


def test_the_extended_level(tmp_path: Path) -> None:
    """Convolution, bias and Relu are one operator."""
    found = at(conv_add_relu(), "extended", tmp_path)
    assert fused(found)["com.microsoft.FusedConv"] == ("Conv_0", "Add_1", "Relu_2")


@pytest.mark.parametrize("level", ["basic", "extended", "all"])
def test_every_node_is_somewhere(tmp_path: Path, level: str) -> None:
    """Whatever this machine's runtime does at a level, no node is lost and none is counted twice."""
    for made in (conv_add_relu(), onnx.load_model_from_string(digits.model_bytes("2"))):
        found = at(made, level, tmp_path)
        placed = [name for one in found.nodes for name in one.of] + [*found.folded, *found.removed]
        assert sorted(placed) == sorted(one.name for one in made.graph.node)
        assert all(one.kind in ("layout", "new") for one in found.nodes if not one.of)


def test_what_nobody_needs_is_removed(tmp_path: Path) -> None:
    """A node that does nothing is no part of the one that takes its place."""
    nodes = [node("Identity", "x", "i"), node("Neg", "i", "y")]
    made = model(nodes, [("x", FLOAT, ["N"])], [("y", FLOAT, ["N"])])
    found = at(made, "basic", tmp_path)
    assert [(one.operator, one.kind, one.of) for one in found.nodes] == [("Neg", "kept", ("Neg_1",))]
    assert found.removed == ("Identity_0",)


def test_data_in_blocks_is_found_by_the_names_of_nodes() -> None:
    """The runtime renames values when it lays data out in blocks; its nodes say which value they had been."""
    nodes = [node("Conv", "x", "w", "c"), node("Relu", "c", "r"), node("Neg", "r", "y")]
    ends = [("x", FLOAT, [1, 1, 4, 4])], [("y", FLOAT, [1, 8, 2, 2])]
    made = model(nodes, *ends, w=np.ones((8, 1, 3, 3), np.float32))  # type: ignore[arg-type]
    name_nodes(made)
    blocked = [node("Conv", "x", "w2", "reorder_1"), node("ReorderOutput", "reorder_1", "r"), node("Neg", "r", "y")]
    for one, name, domain in zip(blocked, ("r_nchwc_token_3", "Out", "Neg_2"), ("nchwc", "nchwc", ""), strict=True):
        one.name, one.domain = name, domain and f"com.microsoft.{domain}"
    found = rewritten(made, model(blocked, *ends, w2=np.ones((8, 1, 3, 3), np.float32)))  # type: ignore[arg-type]
    assert found.nodes == (
        Made("0:r_nchwc_token_3", "com.microsoft.nchwc.Conv", "fused", ("Conv_0", "Relu_1")),
        Made("1:Out", "com.microsoft.nchwc.ReorderOutput", "layout", (), ("0:r_nchwc_token_3",)),
        Made("2:Neg_2", "Neg", "kept", ("Neg_2",), ("1:Out",)),
    )


def test_nodes_without_names_get_some() -> None:
    """Names that are missing, or come twice, are made up."""
    made = model([node("Neg", "x", "a"), node("Neg", "a", "b"), node("Neg", "b", "y")],
                 [("x", FLOAT, ["N"])], [("y", FLOAT, ["N"])])  # fmt: skip
    made.graph.node[0].name = made.graph.node[1].name = "same"
    name_nodes(made)
    assert [one.name for one in made.graph.node] == ["same", "Neg_1", "Neg_2"]
