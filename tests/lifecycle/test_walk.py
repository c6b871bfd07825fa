"""The walk through a message of the ONNX format."""

from __future__ import annotations

from onnx import NodeProto, TensorProto, helper

from changeover.lifecycle.walk import walk
from tests.lifecycle.onnx_files import linear, model, value, weights


def test_all_of_a_kind_are_found_at_every_depth() -> None:
    """Nodes in graphs in nodes, and tensors in their attributes."""
    constant = helper.make_node("Constant", [], ["b"], value=weights("inner"))
    branch = helper.make_graph([constant], "b", [], [value("b")], [weights("branch")])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    made = model(helper.make_graph([node], "g", [value("c", (), TensorProto.BOOL)], [value("y")], [weights("top")]))
    assert sorted(found.op_type for found in walk(made, NodeProto)) == ["Constant", "Constant", "If"]
    names = sorted(found.name for found in walk(made, TensorProto))
    assert names == ["branch", "branch", "inner", "inner", "top"]


def test_the_message_itself_counts() -> None:
    """A tensor is found in itself, once."""
    assert [found.name for found in walk(weights("w"), TensorProto)] == ["w"]
    assert len(list(walk(linear(), TensorProto))) == 1
