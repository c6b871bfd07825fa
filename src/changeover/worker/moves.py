"""How a sequence's state comes from another version, and goes to one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from changeover.errors import ModelRejected
from changeover.sequences.declared import Layout
from changeover.sequences.saved import Saved
from changeover.tensors import Tensor


class Moves(Protocol):
    """How states come from, and go to, other versions."""

    def take(self, saved: Saved, *, back: bool) -> tuple[Tensor, ...]:
        """The states as this version has them.

        Raises:
            ModelRejected: they do not fit.
        """

    def hand(self, saved: Saved, to: int) -> Saved:
        """What is released to a loading.

        Raises:
            ModelRejected: it cannot be made.
        """


class Carry:
    """States go as they are, between versions of one layout."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def take(self, saved: Saved, *, back: bool) -> tuple[Tensor, ...]:
        """The same, in this version's order."""
        del back
        had = {tensor.name: tensor for tensor in saved.states}
        for state in self._layout.states:
            tensor = had.get(state.input)
            if tensor is None or tensor.datatype.name != state.datatype or not _fits(tensor.shape, state.shape):
                raise ModelRejected(f"state {state.input} does not fit", reason="sequence_mismatch")
        return tuple(had[state.input] for state in self._layout.states)

    def hand(self, saved: Saved, to: int) -> Saved:
        """The same."""
        del to
        return saved


def _fits(shape: Sequence[int], declared: Sequence[int]) -> bool:
    return len(shape) == len(declared) and all(d in (-1, s) for s, d in zip(shape, declared, strict=True))
