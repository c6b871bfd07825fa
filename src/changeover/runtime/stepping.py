"""One sequence at a time through a session: what a replay does, and what the prover's gate `state` compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from changeover.errors import ModelRejected
from changeover.runtime.session import Array, Session
from changeover.sequences.declared import ControlLayout, Declared, Layout, StateDeclared, StateLayout
from changeover.tensors import Datatype

States = dict[str, Array]
Inputs = Mapping[str, Array]
_ID: Final = 1
"""What a model that asks for the sequence's id is told, where there is none."""


class Stepper:
    """A version's sequences.

    Args:
        session: of the loaded version.
        layout: of its sequences.
        initial: the states with which a sequence begins.
    """

    def __init__(self, session: Session, layout: Layout, initial: States) -> None:
        self.layout = layout
        self.initial = initial
        self._session = session
        self._outputs = {state.output: state.input for state in layout.states}

    def step(self, states: States, inputs: Inputs, *, start: bool, end: bool = False) -> tuple[States, States]:
        """One step.

        Args:
            states: before it, by input.
            inputs: public ones, of one row.
            start: what the control input of that name is told.
            end: the same.

        Returns:
            The public outputs, and the states after it.

        Raises:
            ModelRunFailed: as `Session.run_feeds`.
        """
        told = {"start": start, "end": end, "ready": True}
        controls = {c.input: _control(c, told.get(c.role)) for c in self.layout.controls}
        outputs = self._session.run_feeds({**inputs, **states, **controls})
        answer: States = {}
        after: States = {}
        for spec, array in zip(self._session.outputs, outputs, strict=True):
            state = self._outputs.get(spec.name)
            if state is None:
                answer[spec.name] = array
            else:
                after[state] = array
        return answer, after

    def replay(self, steps: Sequence[Inputs], *, whole: bool) -> States:
        """The states after the last of these steps.

        Args:
            steps: public inputs, oldest first.
            whole: the first of them began the sequence.
        """
        states = self.initial
        for at, inputs in enumerate(steps):
            _, states = self.step(states, inputs, start=whole and at == 0)
        return states


def initial_states(declared: Declared, layout: Layout, folder: Path) -> States:
    """The states with which a sequence begins.

    Args:
        declared: what the plan says.
        layout: of the model's sequences.
        folder: of the version's files.

    Raises:
        ModelRejected: `sequence_mismatch`: a file or a list of numbers does not fit its state.
    """
    return {
        state.input: _initial(said, state, folder)
        for said, state in zip(declared.state, layout.states, strict=True)
    }  # fmt: skip


def _initial(said: StateDeclared, state: StateLayout, folder: Path) -> Array:
    shape = [max(size, 0) for size in state.shape]
    datatype = Datatype[state.datatype].numpy
    if said.initial is None:
        return np.zeros(shape, datatype)
    try:
        if said.initial.data is not None:
            return np.array(said.initial.data, datatype).reshape(shape)
        return _read(folder / (said.initial.file or ""), datatype).reshape(shape)
    except (OSError, ValueError, OverflowError) as error:
        raise ModelRejected(
            f"sequence: the initial state of {state.input}: {error}", reason="sequence_mismatch"
        ) from error


def _read(path: Path, datatype: np.dtype[Any]) -> Array:
    if path.suffix == ".npy":
        loaded: Array = np.load(path, allow_pickle=False)
        return loaded.astype(datatype, casting="same_kind")
    return np.fromfile(path, datatype)


def _control(control: ControlLayout, on: bool | None) -> Array:
    datatype = Datatype[control.datatype]
    if on is not None:
        return np.full(control.shape, control.on if on else control.off, datatype.numpy)
    if datatype is Datatype.BYTES:
        return np.full(control.shape, str(_ID), object)
    return np.full(control.shape, _ID, datatype.numpy)
