"""How sequences move between two versions: layouts, the way back, conversions, and what is proposed."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
import yaml

from changeover.errors import ModelRejected
from changeover.sequences import moves
from changeover.sequences.declared import Declared, Layout, StateLayout
from changeover.sequences.mapping import Tools
from changeover.sequences.moves import Conversion

Array = np.ndarray[Any, Any]


def declared(**said: Any) -> Declared:
    return msgspec.convert({"state": [{"input": "h", "output": "hn"}], **said}, Declared)


def layout(replay: int = 0, **states: list[int]) -> Layout:
    made = [StateLayout(n, f"{n}_next", "FP32", shape, 0, abs(int(np.prod(shape)))) for n, shape in states.items()]
    return Layout(made, [], 60.0, 10, "carry", replay, 16, 4096)


def zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


def test_equal_layouts_have_no_differences() -> None:
    """A free dimension goes with any size."""
    assert moves.differences(layout(h=[1, 4], c=[1, -1]), layout(c=[1, 8], h=[1, 4])) == []


def test_differences_are_told_as_sentences() -> None:
    """One for each state that came, went or changed."""
    assert moves.differences(layout(h=[1, 4], c=[1, 4]), layout(h=[1, 8], s=[1, 4])) == [
        "state 'c' FP32[1, 4] is gone", "state 'h' is FP32[1, 8] instead of FP32[1, 4]", "state 's' FP32[1, 4] is new",
    ]  # fmt: skip


def test_a_map_there_and_back() -> None:
    """The newer version converts in both directions, the older one takes what is handed to it."""
    said = declared(on_changeover="map", map=[{"rename": {"h": "s"}}, {"pad": {"s": {"after": 2}}}])
    newer = Conversion(said, layout(s=[1, 6]), Tools())
    older = Conversion(declared(), layout(h=[1, 4]), Tools())
    state = np.arange(4, dtype=np.float32).reshape(1, 4)
    taken = newer.taken({"h": state})
    assert taken["s"].tolist() == [[0, 1, 2, 3, 0, 0]]
    assert np.array_equal(older.taken(newer.handed(taken), back=True)["h"], state)


def test_an_older_version_does_not_map_what_comes_back() -> None:
    """Its own map speaks of the version before it."""
    older = Conversion(declared(on_changeover="map", map=[{"scale": {"h": 2.0}}]), layout(h=[1, 2]), Tools())
    assert older.taken({"h": zeros(1, 2) + 1}, back=True)["h"].tolist() == [[1, 1]]
    assert older.taken({"h": zeros(1, 2) + 1})["h"].tolist() == [[2, 2]]


def test_nothing_is_handed_out_where_the_older_version_replays() -> None:
    """A state that nobody can convert would be taken for one that fits."""
    said = declared(on_changeover="map", map=[{"graph": "g.onnx"}], replay=4)
    assert Conversion(said, layout(h=[1, 2]), Tools()).handed({"h": zeros(1, 2)}) == {}


@pytest.mark.parametrize(
    ("states", "sentence"),
    [
        ({"h": zeros(1, 3)}, "state 'h' is [1, 3] instead of [1, 4]"),
        ({"h": zeros(1, 4).astype(np.float64)}, "state 'h' is float64 instead of FP32"),
        ({}, "there is no state 'h'"),
        ({"h": zeros(1, 4), "c": zeros(1)}, "there is a state 'c' that this version does not have"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(states: dict[str, Array], sentence: str) -> None:
    """Never a silent zero state, and never one of another shape or type."""
    with pytest.raises(ModelRejected) as refused:
        Conversion(declared(), layout(h=[1, 4]), Tools()).taken(states)
    assert (refused.value.reason, refused.value.message) == ("state_unfit", sentence)


def test_a_state_larger_than_declared_is_refused() -> None:
    """A free dimension has an upper bound."""
    wide = msgspec.structs.replace(layout(h=[1, -1]), states=[StateLayout("h", "hn", "FP32", [1, -1], 0, 4)])
    assert moves.unfit({"h": zeros(1, 4)}, wide) == []
    assert moves.unfit({"h": zeros(1, 5)}, wide) == ["state 'h' is [1, 5] instead of [1, -1]"]


@pytest.mark.parametrize(
    ("before", "after", "steps"),
    [
        (layout(h=[1, 4]), layout(s=[1, 4]), [{"rename": {"h": "s"}}]),
        (layout(h=[1, 4]), layout(h=[1, 6]), [{"pad": {"h": {"axis": 1, "after": 2}}}]),
        (layout(h=[1, 4]), layout(s=[1, 3]), [{"rename": {"h": "s"}}, {"crop": {"s": {"axis": 1, "after": 1}}}]),
    ],
)
def test_a_proposed_map_makes_the_states_fit(before: Layout, after: Layout, steps: list[dict[str, Any]]) -> None:
    """It is a plan that can be pasted, and it does what it says."""
    offer = moves.proposal(before, after)
    assert offer.sequence == {"on_changeover": "map", "map": steps}
    (section,) = yaml.safe_load(str(offer).rpartition(" (")[0]).values()
    said = msgspec.convert({"state": [], **section}, Declared)
    states = {state.input: zeros(*state.shape) for state in before.states}
    assert moves.unfit(Conversion(said, after, Tools()).taken(states), after) == []


@pytest.mark.parametrize("after", [layout(h=[1, 8], c=[1, 8]), layout(s=[1, 1, 4]), layout()])
def test_without_a_guess_a_replay_is_proposed(after: Layout) -> None:
    """Two states from one, other ranks, none at all: nobody can say where the numbers belong."""
    assert moves.proposal(layout(h=[1, 4]), after).sequence == {"on_changeover": "replay", "replay": 16}


def test_bytes_of_the_states() -> None:
    """Of one sequence, with all its states."""
    assert moves.size_bytes(layout(h=[1, 4], c=[2, 1, 8])) == 4 * (4 + 16)
