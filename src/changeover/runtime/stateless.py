"""A sequence model as a session without sequences: every run is a first step.

Warm-up, gates and comparisons see what clients see, the public inputs and outputs; the states begin at their
initial values and the control inputs say that a sequence begins. What steps through sequences takes the parts: `feeds`
completes the inputs of any step, `parted` divides what came out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from changeover.runtime.session import Array, Loaded, Session
from changeover.runtime.stepping import States, initial_states
from changeover.sequences.declared import ControlLayout, Layout, Resolved, resolve
from changeover.sequences.saved import Flag
from changeover.sequences.wire import identity, sequence_key
from changeover.tensors import Datatype
from changeover.transport.control import WorkerSpec

Row = tuple[Flag, bytes]
"""What the control inputs are told of one step: START and END, and the tag of the sequence."""
_NOBODY: Row = (Flag.START, b"\x011")


def without_sequences(loaded: Loaded, spec: WorkerSpec) -> Loaded:
    """What was loaded; of a sequence model as a session without sequences.

    Raises:
        ModelRejected: `sequence_mismatch`: what is declared does not fit the model.
    """
    if spec.sequence is None:
        return loaded
    found = resolve(spec.sequence, loaded.session.inputs, loaded.session.outputs)
    initial = initial_states(spec.sequence, found.layout, Path(spec.path).parent)
    return replace(loaded, session=Stateless(loaded.session, found, initial))


class Stateless(Session):
    """The session that clients would see.

    Attributes:
        whole: the model's own session.
        layout: of its sequences.
        initial: the states with which a sequence begins, by input.
        together: steps of several sequences may share a run, as far as the shapes tell.
    """

    def __init__(self, whole: Session, found: Resolved, initial: States) -> None:
        self.inputs, self.outputs = found.inputs, found.outputs
        self.whole = whole
        self.layout: Layout = found.layout
        self.initial = initial
        self.together = found.batchable
        self._axes = {state.input: state.axis or 0 for state in self.layout.states}
        self._states = {state.output: state.input for state in self.layout.states}
        self._rowed = [spec.name for spec in self.inputs if spec.shape and spec.shape[0] < 0]

    def run(self, arrays: list[Array]) -> list[Array]:
        """One execution, a first step in each row. Raises as `Session.run`."""
        return self.run_feeds({spec.name: array for spec, array in zip(self.inputs, arrays, strict=True)})

    def run_feeds(self, feeds: dict[str, Array]) -> list[Array]:
        """The same with arrays by input name."""
        rows = len(feeds[self._rowed[0]]) if self._rowed else 1
        states = {state.input: self._begun(state.input, rows, state.axis) for state in self.layout.states}
        return self.parted(self.whole.run_feeds(self.feeds(feeds, states, [_NOBODY] * rows)))[0]

    def feeds(self, public: dict[str, Array], states: States, rows: Sequence[Row]) -> dict[str, Array]:
        """All inputs of a run: the clients', the states, and what the control inputs are told of each row."""
        controls = {control.input: _told(control, rows) for control in self.layout.controls}
        return {**public, **states, **controls}

    def parted(self, outputs: Iterable[Array]) -> tuple[list[Array], States]:
        """The public outputs in their order, and the next states by input."""
        public: list[Array] = []
        states: States = {}
        for spec, array in zip(self.whole.outputs, outputs, strict=True):
            state = self._states.get(spec.name)
            if state is None:
                public.append(array)
            else:
                states[state] = array
        return public, states

    def gathered(self, states: Sequence[States]) -> States:
        """The states of several sequences as those of one run."""
        if len(states) == 1:
            return {name: np.require(array, requirements="A") for name, array in states[0].items()}
        return {name: np.concatenate([one[name] for one in states], axis) for name, axis in self._axes.items()}

    def scattered(self, states: States, rows: int) -> list[States]:
        """The states of a run as those of its sequences, as views."""
        if rows == 1:
            return [states]
        cut = {name: np.split(array, rows, self._axes[name]) for name, array in states.items()}
        return [{name: parts[row] for name, parts in cut.items()} for row in range(rows)]

    def _begun(self, name: str, rows: int, axis: int | None) -> Array:
        state = self.initial[name]
        return state if axis is None else np.repeat(state, rows, axis)


def _told(control: ControlLayout, rows: Sequence[Row]) -> Array:
    datatype = Datatype[control.datatype]
    shape = [len(rows), *control.shape[1:]] if control.shape else []
    if control.role == "corrid":
        return np.array([_number(tag, datatype) for _, tag in rows], datatype.numpy).reshape(shape)
    asked = {"start": Flag.START, "end": Flag.END}.get(control.role)
    on = [asked is None or bool(flags & asked) for flags, _ in rows]
    return np.array([control.on if one else control.off for one in on], datatype.numpy).reshape(shape)


def _number(tag: bytes, datatype: Datatype) -> int | str:
    """A sequence's id as its control input takes it; of a text that is to be a number, one made of it."""
    told = identity(tag)
    if datatype is Datatype.BYTES:
        return str(told)
    number = told if isinstance(told, int) else int.from_bytes(sequence_key(tag)[:8], "little")
    bits = 8 * datatype.itemsize - (datatype.numpy.kind == "i")
    return number & (1 << bits) - 1
