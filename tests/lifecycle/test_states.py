"""The table of loading states: forward only, every other pair is an error, and the diagram shows just the table."""

from __future__ import annotations

import itertools
import re

import pytest

from changeover.errors import Internal
from changeover.lifecycle.states import LoadingState, diagram, move

WAY = ["new", "verifying", "loading", "validating", "ready", "draining", "released"]
ALLOWED = set(itertools.pairwise(WAY)) | {(state, "failed") for state in WAY[:-1]}


@pytest.mark.parametrize(("state", "to"), list(itertools.product(LoadingState, LoadingState)), ids=str)
def test_only_the_pairs_of_the_design_are_allowed(state: LoadingState, to: LoadingState) -> None:
    """Each pair of states either moves or raises, as the design says."""
    if (state.value, to.value) in ALLOWED:
        assert move(state, to) is to
    else:
        with pytest.raises(Internal) as caught:
            move(state, to)
        assert caught.value.reason == "loading_transition"


def test_the_ends_are_released_and_failed() -> None:
    """Nothing follows these two, and something follows all others."""
    assert {state for state in LoadingState if state.ended} == {LoadingState.RELEASED, LoadingState.FAILED}


def test_the_diagram_is_the_table() -> None:
    """Each arrow of the figure is a pair of the table, and the other way round."""
    arrows = re.findall(r"^    (\w+) --> (\w+)$", diagram(), re.MULTILINE)
    assert set(arrows) == ALLOWED
    assert len(arrows) == len(ALLOWED)
    assert diagram().startswith("stateDiagram-v2\n    [*] --> new\n")
    assert diagram().endswith("    released --> [*]\n    failed --> [*]\n")
