"""How a worker takes states over and hands them out as its plan declares (`changeover.sequences.moves`)."""

from __future__ import annotations

from changeover.errors import ModelRejected, ModelRunFailed
from changeover.runtime.stateless import Stateless
from changeover.runtime.stepping import Inputs, States, Stepper
from changeover.runtime.tools import open_tools
from changeover.sequences.back import rebuilt
from changeover.sequences.mapping import arrays
from changeover.sequences.moves import Conversion
from changeover.sequences.saved import Saved
from changeover.sequences.section import Declared
from changeover.tensors import Datatype, Tensor, from_numpy
from changeover.transport.control import WorkerSpec


class Converting:
    """`Moves` between versions whose states may differ.

    Args:
        spec: of this worker.
        declared: its section `sequence`.
        session: of the model.

    Raises:
        ModelRejected: a file that the declared steps need is not there (`state_unfit`).
    """

    def __init__(self, spec: WorkerSpec, declared: Declared, session: Stateless) -> None:
        steps = [*declared.map, *(declared.steps_back or ())] if declared.on_changeover == "map" else []
        self._number = spec.loading
        self._declared = declared
        self._layout = session.layout
        self._conversion = Conversion(declared, session.layout, open_tools(steps, spec))
        self._stepper = Stepper(session.whole, session.layout, session.initial)

    def take(self, saved: Saved, *, back: bool) -> tuple[Tensor, ...]:
        """The states as this version has them.

        Raises:
            ModelRejected: they do not fit, or there are no inputs that could be replayed.
        """
        asked_to = self._declared.on_changeover == "replay" and not back
        if asked_to or (self._layout.states and not saved.states):
            return self._tensors(self._replayed(saved))
        return self._tensors(self._conversion.taken(arrays(saved.states), back=back))

    def hand(self, saved: Saved, to: int) -> Saved:
        """What is released to a loading: an older one gets its own states back.

        Raises:
            ModelRejected: the way back does not fit.
        """
        if to > self._number:
            return saved
        return rebuilt(saved, self._conversion.handed(arrays(saved.states)))

    def _replayed(self, saved: Saved) -> States:
        if not saved.inputs:
            raise ModelRejected("no inputs were kept that could be replayed (sequence.replay)", reason="state_unfit")
        steps: list[Inputs] = [arrays(step) for step in saved.inputs]
        try:
            return self._stepper.replay(steps, whole=saved.steps <= len(steps))
        except ModelRunFailed as error:
            raise ModelRejected(f"a replay failed: {error.message}", reason="state_unfit") from error

    def _tensors(self, states: States) -> tuple[Tensor, ...]:
        return tuple(
            from_numpy(state.input, states[state.input], Datatype[state.datatype]) for state in self._layout.states
        )
