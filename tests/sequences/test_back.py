"""States on their way back, with the newer version's worker and without it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from changeover.errors import ModelRejected
from changeover.sequences.back import rebuilt, without_worker
from changeover.sequences.declared import Layout
from changeover.sequences.saved import NO_DIGEST, Flag, Saved, Token
from changeover.sequences.section import Declared
from changeover.tensors import Datatype, Tensor, from_numpy
from tests.sequences.test_mapping import MADE_UP

RENAMED = {"rename": {"h": "s"}}
WIDER = {"pad": {"s": {"axis": 1, "after": 2}}}
HALF = {"scale": {"s": 0.5}}
MATRIX = {"project": {"s": {"matrix": "there.npy"}}}


def layout(**said: Any) -> Layout:
    """Of a newer version that declares this."""
    declared = msgspec.convert(said, Declared)
    return Layout(
        [], [], 60.0, 4, declared.on_changeover, declared.kept, 8, 500, declared.way_back, declared.plain_back
    )


def saved(inputs: int = 0) -> Saved:
    """A step whose state is [1, 2, 3, 4] and named s."""
    kept = tuple((from_numpy("x", np.array([[at]], np.float32)),) for at in range(inputs))
    states = (from_numpy("s", np.array([[1, 2, 3, 4]], np.float32)),)
    return Saved(Token(1, 2), NO_DIGEST, Flag.STAYS, 5, 9, 9, states, (), kept)


def values(found: Saved | None) -> dict[str, Any]:
    """Its states."""
    assert found is not None
    assert found.flags == Flag.BACK | Flag.STAYS
    return {tensor.name: tensor.numpy().tolist() for tensor in found.states}


def test_what_was_carried_goes_as_it_is() -> None:
    """It only says that it comes back."""
    assert values(without_worker(saved(), layout(on_changeover="carry"))) == {"s": [[1, 2, 3, 4]]}


def test_a_map_is_undone_by_steps_that_need_no_worker() -> None:
    """A renaming, a padding and a factor have an inverse, and it needs no file."""
    steps = layout(on_changeover="map", map=[RENAMED, WIDER, HALF])
    assert values(without_worker(saved(), steps)) == {"h": [[2, 4]]}


@pytest.mark.parametrize(
    "said",
    [
        {"map": [MATRIX]},
        {"map": [MATRIX], "map_back": [MATRIX]},
        {"map": [{"crop": {"s": {"axis": 1, "after": 2}}}], "map_back": [WIDER]},
    ],
)
def test_other_maps_are_undone_by_a_replay(said: dict[str, Any]) -> None:
    """Of the inputs that were kept; where there are none, nobody but its worker could."""
    assert without_worker(saved(), layout(on_changeover="map", replay=4, **said)) is None
    assert values(without_worker(saved(inputs=2), layout(on_changeover="map", replay=4, **said))) == {}


@pytest.mark.parametrize(("way", "kept", "left"), [("replay", 2, {}), ("replay", 0, None), ("drain", 2, None)])
def test_a_replay_needs_inputs_and_nothing_else(way: str, kept: int, left: dict[str, Any] | None) -> None:
    """No state goes back, so the older version makes its own; what is to end where it is goes nowhere."""
    found = without_worker(saved(inputs=kept), layout(on_changeover=way))
    assert found is None if left is None else values(found) == left


def test_a_state_that_is_not_the_declared_one_is_refused() -> None:
    """A slab that its worker wrote wrongly does no more harm than that."""
    steps = layout(on_changeover="map", map=[{"rename": {"h": "other"}}])
    with pytest.raises(ModelRejected, match="there is no 'other'"):
        without_worker(saved(), steps)


@pytest.mark.parametrize("odd", MADE_UP)
def test_a_tensor_that_is_not_what_it_says_is_refused(odd: Tensor) -> None:
    """Whatever a dead worker left in its slab: the gateway that looks has an answer to it."""
    steps = layout(on_changeover="map", map=[{"rename": {"a": "h"}}])
    with pytest.raises(ModelRejected, match="not what it says"):
        without_worker(replace(saved(), states=(odd,)), steps)


def test_raw_bits_keep_their_type() -> None:
    """NumPy has no BF16: what had it before has it after."""
    bits = Tensor("s", Datatype.BF16, (1, 2), np.array([[1, 2]], np.uint16).tobytes())
    other = Saved(Token(1, 2), NO_DIGEST, Flag(0), 5, 9, 9, (bits,))
    (state,) = rebuilt(other, {"s": bits.numpy()[:, :1]}).states
    assert (state.datatype, state.shape) == (Datatype.BF16, (1, 1))
