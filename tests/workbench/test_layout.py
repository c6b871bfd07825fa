"""Where the nodes of a picture stand."""

from __future__ import annotations

from changeover.workbench.layout import Place, places


def test_a_chain_is_one_lane() -> None:
    """One below the other."""
    assert places({"a": [], "b": ["a"], "c": ["b"]}) == {"a": Place(0, 0), "b": Place(1, 0), "c": Place(2, 0)}


def test_a_shortcut_needs_no_lane() -> None:
    """A residual connection is an edge, and what it leads to stands in the lane of the longer way."""
    found = places({"a": [], "b": ["a"], "c": ["b"], "sum": ["c", "a"]})
    assert {place.lane for place in found.values()} == {0}
    assert found["sum"].row == 3


def test_branches_stand_beside_each_other() -> None:
    """Two ways from one node, which meet again, never share a place."""
    found = places({"a": [], "b": ["a"], "c": ["a"], "d": ["c"], "end": ["b", "d"]})
    assert len(set(found.values())) == 5
    assert found["b"].lane != found["c"].lane


def test_what_only_feeds_stands_right_above() -> None:
    """A branch of constants stands above what it feeds, in a lane of its own."""
    found = places({"weights": [], "a": [], "b": ["a"], "c": ["b"], "product": ["c", "weights"]})
    assert found["weights"].row == found["product"].row - 1
    assert found["weights"].lane != found["c"].lane == found["product"].lane == 0
