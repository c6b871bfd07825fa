"""What a declaration means for a model's tensors."""

from __future__ import annotations

import msgspec
import pytest

from changeover.errors import ModelRejected
from changeover.sequences.declared import Controls, Declared, Layout, StateDeclared, Switch, resolve
from changeover.tensors import Datatype, TensorSpec

X = TensorSpec("x", Datatype.FP32, (-1, 8))
H = TensorSpec("h", Datatype.FP32, (2, -1, 16))
START = TensorSpec("START", Datatype.FP32, (-1, 1))
ID = TensorSpec("ID", Datatype.UINT64, (-1, 1))
Y = TensorSpec("y", Datatype.FP32, (-1, 4))
HN = TensorSpec("hn", Datatype.FP32, (2, -1, 16))
STATE = StateDeclared("h", "hn")


def test_states_and_controls_are_hidden_from_clients() -> None:
    """What is left is the public signature; steps go together along the free dimension of the state."""
    declared = Declared((STATE,), Controls(start=Switch("START", 0, 1), corrid="ID"))
    found = resolve(declared, [X, H, START, ID], [Y, HN])
    assert [s.name for s in found.inputs] == ["x"]
    assert [s.name for s in found.outputs] == ["y"]
    assert found.batchable
    (state,) = found.layout.states
    assert (state.shape, state.axis, state.most) == ([2, 1, 16], 1, 32)
    assert [(c.role, c.input, c.shape) for c in found.layout.controls] == [
        ("start", "START", [1, 1]),
        ("corrid", "ID", [1, 1]),
    ]
    assert msgspec.json.decode(msgspec.json.encode(found.layout), type=Layout) == found.layout


def test_a_state_without_a_free_dimension_is_run_alone() -> None:
    """And so is everything where a client's tensor has a fixed first dimension."""
    fixed = TensorSpec("h", Datatype.FP32, (1, 16))
    found = resolve(Declared((STATE,)), [X, fixed], [Y, TensorSpec("hn", Datatype.FP32, (1, 16))])
    assert not found.batchable
    assert found.layout.states[0].axis is None
    scalar = TensorSpec("sr", Datatype.INT64, ())
    assert not resolve(Declared((STATE,)), [X, scalar, H], [Y, HN]).batchable


def test_a_slot_holds_the_largest_step() -> None:
    """Growing states have room for `max`, replayed inputs and answers are counted, and tombstones have slots too."""
    grows = TensorSpec("h", Datatype.FP32, (-1, -1, 16))
    small = resolve(Declared((StateDeclared("h", "hn", max=10),), max=100), [X, grows], [Y, HN]).layout
    large = resolve(Declared((StateDeclared("h", "hn", max=20),), max=100), [X, grows], [Y, HN]).layout
    assert large.saved_bytes - small.saved_bytes == 10 * 16 * 4
    assert small.states[0].shape == [1, -1, 16]
    assert small.slots > 100
    kept = resolve(Declared((STATE,), replay=4), [X, H], [Y, HN]).layout
    assert kept.saved_bytes - resolve(Declared((STATE,)), [X, H], [Y, HN]).layout.saved_bytes >= 4 * 32
    more = resolve(Declared((STATE,), answer_limit=16 + 100), [X, H], [Y, HN]).layout
    assert more.saved_bytes - resolve(Declared((STATE,)), [X, H], [Y, HN]).layout.saved_bytes == 100


def test_replay_keeps_sixteen_inputs_unless_it_is_told_how_many() -> None:
    """Only that strategy keeps any by itself."""
    assert Declared(on_changeover="replay").kept == 16
    assert Declared(on_changeover="replay", replay=3).kept == 3
    assert Declared().kept == 0


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (Declared((StateDeclared("k", "hn"),)), "no input 'k', it has x, h"),
        (Declared((StateDeclared("h", "kn"),)), "no output 'kn', it has y, hn"),
        (Declared((StateDeclared("h", "y"),)), "its output y is"),
        (Declared((StateDeclared("h", "hn", batch_axis=0),)), "dimension 0 is not free"),
        (Declared((STATE,), Controls(start="h")), r"control input h \(start\) is FP32"),
        (Declared((STATE, StateDeclared("x", "y"))), "its output y is"),
        (Declared((STATE,), max=1_000_000, answer_limit=1 << 28), "are over 64 GiB"),
        (Declared((STATE,), max=1, answer_limit=1 << 30), "over 1 GiB; lower"),
    ],
)
def test_what_is_not_the_models_is_refused(declared: Declared, words: str) -> None:
    """With what the model has instead."""
    with pytest.raises(ModelRejected, match=words) as caught:
        resolve(declared, [X, H], [Y, HN])
    assert caught.value.reason == "sequence_mismatch"


def test_free_dimensions_that_could_be_anything_are_asked_about() -> None:
    """Which of them counts sequences, and how large the others get."""
    two = TensorSpec("h", Datatype.FP32, (2, -1, -1))
    out = TensorSpec("hn", Datatype.FP32, (2, -1, -1))
    with pytest.raises(ModelRejected, match="batch_axis: N"):
        resolve(Declared((STATE,)), [X, two], [Y, out])
    with pytest.raises(ModelRejected, match="max: N"):
        resolve(Declared((StateDeclared("h", "hn", batch_axis=1),)), [X, two], [Y, out])
    assert resolve(Declared((StateDeclared("h", "hn", max=9, batch_axis=1),)), [X, two], [Y, out]).batchable


def test_a_model_without_an_input_for_clients_is_refused() -> None:
    """There would be nothing to send."""
    with pytest.raises(ModelRejected, match="no input is left"):
        resolve(Declared((STATE,)), [H], [Y, HN])
