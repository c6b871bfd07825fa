"""What a step leaves behind, as bytes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.errors import Internal
from changeover.sequences.saved import Extent, Flag, Saved, Token, most_bytes, peek, unpack
from changeover.tensors import Datatype, Tensor, from_numpy


def saved(steps: int = 3, **fields: object) -> Saved:
    """A step with one state, one answer and two kept inputs."""
    state = from_numpy("h", np.full((2, 1, 4), steps, np.float32))
    answer = from_numpy("probability", np.full((1, 1), steps, np.float32))
    inputs = tuple((from_numpy("x", np.full((1, 8), at, np.float32)),) for at in range(2))
    whole: dict[str, object] = {
        "token": Token(7, steps),
        "digest": b"d" * 16,
        "flags": Flag.START,
        "generation": 5,
        "since": 2,
        "steps": steps,
        "states": (state,),
        "answer": (answer,),
        "inputs": inputs,
    }
    return Saved(**{**whole, **fields})  # type: ignore[arg-type]


def plain(tensors: tuple[Tensor, ...]) -> list[tuple[str, Datatype, tuple[int, ...], bytes]]:
    """Tensors as values that compare."""
    return [(t.name, t.datatype, t.shape, bytes(t.data)) for t in tensors]


def test_what_is_packed_is_unpacked() -> None:
    """All fields and all tensors come back, with their shapes and bytes."""
    before = saved()
    after = unpack(before.pack())
    assert peek(before.pack()) == (before.token, before.digest, before.flags, 5, 2, 3)
    assert (after.token, after.digest, after.flags, after.generation) == (Token(7, 3), b"d" * 16, Flag.START, 5)
    assert plain(after.states) == plain(before.states)
    assert plain(after.answer) == plain(before.answer)
    assert [plain(step) for step in after.inputs] == [plain(step) for step in before.inputs]


def test_a_step_with_end_has_ended() -> None:
    """END in the flags, and only that."""
    assert saved(flags=Flag.START | Flag.END).ended
    assert not saved(flags=Flag.START | Flag.STAYS).ended


def test_the_size_is_foreseen() -> None:
    """`most_bytes` of the very tensors is the size of the packed step; one byte less would not be."""
    one = saved()
    size = most_bytes([Extent("h", 3, 32)], [Extent("probability", 2, 4)], [Extent("x", 2, 32)], 2)
    assert len(one.pack()) == size


def outcome(read: Callable[[bytes], object], data: bytes) -> object:
    """The type of what was read, or the reason why it was refused."""
    try:
        return type(read(data))
    except Internal as error:
        return error.reason


@given(st.data())
def test_damaged_bytes_are_refused_or_read(data: st.DataObject) -> None:
    """Whatever a hostile worker writes: a value or `state_malformed`, and no other exception."""
    packed = bytearray(saved().pack())
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(packed)))
    for damaged in (bytes(packed), bytes(packed[:cut])):
        assert outcome(unpack, damaged) in (Saved, "state_malformed")


def test_bytes_behind_the_last_tensor_are_refused() -> None:
    """Nothing is overlooked."""
    with pytest.raises(Internal, match="after the last tensor"):
        unpack(saved().pack() + b"\0")
