"""States on their way between versions of one layout."""

from __future__ import annotations

import numpy as np
import pytest

from changeover.errors import ModelRejected
from changeover.sequences.declared import Layout, StateLayout
from changeover.sequences.saved import Flag, Saved, Token
from changeover.tensors import from_numpy
from changeover.worker.moves import Carry

STATES = [StateLayout("h", "hn", "FP32", [1, 2], 0, 2), StateLayout("c", "cn", "FP32", [1, -1], 0, 9)]
CARRY = Carry(Layout(STATES, [], 60.0, 4, "carry", 0, 8, 500))
H = from_numpy("h", np.zeros((1, 2), np.float32))
C = from_numpy("c", np.zeros((1, 7), np.float32))


def saved(*states: object) -> Saved:
    """A step with these states."""
    return Saved(Token(), bytes(16), Flag(0), 1, 1, 1, states)  # type: ignore[arg-type]


def test_states_are_taken_by_name() -> None:
    """In this version's order, whatever the other's was; what is handed out is what there is."""
    assert CARRY.take(saved(C, H), back=False) == (H, C)
    one = saved(H, C)
    assert CARRY.hand(one, 9) is one


@pytest.mark.parametrize(
    "states",
    [
        [H],
        [H, from_numpy("c", np.zeros((1, 7), np.float64))],
        [from_numpy("h", np.zeros((1, 3), np.float32)), C],
        [from_numpy("h", np.zeros(2, np.float32)), C],
    ],
)
def test_another_layout_is_refused(states: list[object]) -> None:
    """A state that is missing, or has another type, size or rank."""
    with pytest.raises(ModelRejected, match="does not fit"):
        CARRY.take(saved(*states), back=False)
