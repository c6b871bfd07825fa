"""The gate `state`: may a live sequence of the active version go on in the candidate, and come back?

Both versions run the same steps. Before each step of the active version its state is moved to the candidate as the plan
declares, and the candidate runs that step too: what it answers, and the state it leaves, are laid beside the active
version's. In the middle of each sequence one state is moved for good and goes on in the candidate to the end, since
small differences may grow. Where states can come back, each one is taken back too.

A replay is measured otherwise, because its states come from nowhere: by the candidate's own answers with the state of
the whole sequence, beside those with the state of the last inputs alone.

**Divergence** of a tensor: its largest difference over the largest value that the reference has there, on all steps
together; of numbers that are no floating-point ones, the share that differs. The version's is that of the worst tensor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from changeover.errors import ModelRejected, ModelRunFailed
from changeover.prover.comparison import numbers
from changeover.prover.course import Course, Steps
from changeover.prover.subject import bounded
from changeover.prover.verdict import failed
from changeover.runtime.session import Array
from changeover.runtime.stepping import Inputs, States, Stepper
from changeover.sequences.declared import Declared, Layout
from changeover.sequences.moves import Conversion, differences, proposal, unfit
from changeover.tensors import Datatype, TensorSpec
from changeover.transport.control import GateResult

GATE: Final = "state"
_BUDGET: Final = 4.0
"""Seconds of processor time, once one sequence was looked at."""
_FLOATS: Final = (Datatype.FP16, Datatype.FP32, Datatype.FP64, Datatype.BF16)


@dataclass(frozen=True, slots=True)
class Side:
    """One version: its steps, and what its public outputs are."""

    stepper: Stepper
    outputs: Sequence[TensorSpec]
    run_timeout: float

    def step(self, states: States, inputs: Inputs, *, start: bool) -> tuple[States, States]:
        """One step of bounded length; answer and states. Raises as `Stepper.step`."""
        with bounded(self.run_timeout):
            return self.stepper.step(states, inputs, start=start)


def beforehand(declared: Declared, before: Layout | None, after: Layout) -> GateResult | None:
    """What can be said without a run: a refusal, or that there is nothing to run; None when it is to be run.

    Args:
        declared: the candidate's section `sequence`.
        before: the active version's layout; None where no version serves, or its requests have no sequences.
        after: the candidate's layout.
    """
    way = declared.on_changeover
    if before is None:
        return GateResult(GATE, "skipped", "no version serves whose sequences could go on in the candidate")
    if way in ("drain", "reset"):
        why = {"drain": "end where they began", "reset": "begin anew, which is a declared loss"}[way]
        return GateResult(GATE, "skipped", f"live sequences {why} (sequence.on_changeover: {way})")
    found = differences(before, after)
    if way == "carry" and found:
        offer = proposal(before, after)
        detail = f"live sequences cannot be carried over: {'; '.join(found)}. Declare, for example: {offer}"
        return failed(GATE, "state_layout", detail, {"differences": found, "proposal": {"sequence": offer.sequence}})
    if way == "replay" and not before.replay:
        detail = (
            "the active version keeps no inputs that could be replayed; let it serve with sequence.replay first, or "
            "declare on_changeover: drain"
        )
        return failed(GATE, "replay_inputs_missing", detail)
    return None


class State:
    """Two versions under one declaration.

    Args:
        declared: the candidate's section `sequence`.
        limit: `rollout.limits.state_divergence`.
        conversion: moves states as that section says.
        alive: called now and then, as a sign of life.
    """

    def __init__(self, declared: Declared, limit: float, conversion: Conversion, alive: Callable[[], None]) -> None:
        self._declared = declared
        self._limit = limit
        self._conversion = conversion
        self._alive = alive
        self._apart: dict[str, _Apart] = {}
        self._back = declared.way_back

    def gate(self, course: Course, candidate: Side, active: Side) -> GateResult:
        """Run them."""
        replay = self._declared.on_changeover == "replay"
        steps, until = 0, time.thread_time() + _BUDGET
        looked = 0
        for sequence in course.sequences:
            try:
                self._replayed(sequence, candidate) if replay else self._moved(sequence, candidate, active)
            except ModelRejected as error:
                return failed(GATE, error.reason, f"{error.message}{self._offer(candidate, active)}")
            except ModelRunFailed as error:
                return self._not_run(course, error)
            looked, steps = looked + 1, steps + len(sequence)
            self._alive()
            if time.thread_time() > until:
                break
        return self._judged(course, looked, steps)

    # -- the runs ------------------------------------------------------------------------------------------

    def _moved(self, sequence: Steps, candidate: Side, active: Side) -> None:
        states, gone = active.stepper.initial, None
        for at, inputs in enumerate(sequence):
            taken = self._conversion.taken(states)
            self._taken_back(taken, states, active)
            if at == len(sequence) // 2:
                gone = taken
            answer, states = active.step(states, inputs, start=at == 0)
            theirs, after = candidate.step(taken, inputs, start=at == 0)
            self._lay("output", active.outputs, answer, theirs)
            self._lay("state", _specs(candidate), self._conversion.taken(states), after)
            if gone is not None:
                theirs, gone = candidate.step(gone, inputs, start=at == 0)
                self._lay("output going on", active.outputs, answer, theirs)

    def _taken_back(self, taken: States, states: States, active: Side) -> None:
        """What was moved there comes back as it was."""
        if self._back not in ("carry", "map"):
            return
        handed = self._conversion.handed(taken)
        wrong = unfit(handed, active.stepper.layout)
        if wrong:
            raise ModelRejected(f"the way back does not fit: {'; '.join(wrong)}", reason="state_unfit")
        self._lay("state taken back", _specs(active), states, handed)

    def _replayed(self, sequence: Steps, candidate: Side) -> None:
        kept, states = self._declared.kept, candidate.stepper.initial
        for at, inputs in enumerate(sequence):
            last = sequence[max(0, at - kept) : at]
            with bounded(candidate.run_timeout * (kept + 1)):
                made = candidate.stepper.replay(last, whole=at <= kept)
            theirs, _ = candidate.step(made, inputs, start=at == 0)
            answer, states = candidate.step(states, inputs, start=at == 0)
            self._lay("output", candidate.outputs, answer, theirs)

    def _lay(self, kind: str, specs: Sequence[TensorSpec], wanted: Mapping[str, Array], given: States) -> None:
        for spec in specs:
            name = f"{kind} {spec.name}"
            self._apart.setdefault(name, _Apart(spec)).add(wanted[spec.name], given.get(spec.name))

    # -- judging -------------------------------------------------------------------------------------------

    def _judged(self, course: Course, looked: int, steps: int) -> GateResult:
        found = {name: apart.value for name, apart in self._apart.items()}
        worst = max(found, key=lambda name: found[name], default="")
        value = found.get(worst, 0.0)
        evidence: dict[str, Any] = {
            "on_changeover": self._declared.on_changeover, "way_back": self._back, "divergence": _figure(value),
            "worst": worst, "limit": self._limit, "sequences": looked, "steps": steps, "of": course.source,
            "tensors": {name: _figure(v) for name, v in found.items()},
        }  # fmt: skip
        sentence = (
            f"sequences that are moved by {self._declared.on_changeover} diverge by {value:.3g} at most ({worst}) on "
            f"{looked} {'recorded' if course.recorded else 'generated'} sequences of {steps} steps"
        )
        if not value <= self._limit:
            told = f"{sentence}, over rollout.limits.state_divergence of {self._limit:g}; {_REMEDY}"
            return failed(GATE, "state_diverges", told, evidence)
        return GateResult(GATE, "passed", f"{sentence}, within {self._limit:g}", evidence)

    def _not_run(self, course: Course, error: ModelRunFailed) -> GateResult:
        if course.recorded:
            return failed(GATE, "golden_run_failed", f"a step of the golden set failed: {error.message}")
        why = f"a generated step failed ({error.message}); a golden set with recorded steps would be run"
        return GateResult(GATE, "skipped", why)

    def _offer(self, candidate: Side, active: Side) -> str:
        before, after = active.stepper.layout, candidate.stepper.layout
        return f". Declare, for example: {proposal(before, after)}" if differences(before, after) else ""


_REMEDY: Final = (
    "a version whose states mean something else needs on_changeover: replay or drain, one that may answer otherwise a "
    "higher limit"
)


@dataclass(slots=True)
class _Apart:
    """One tensor of two versions, over all steps."""

    spec: TensorSpec
    distance: float = 0.0
    size: float = 0.0
    unequal: list[float] = field(default_factory=list)

    def add(self, wanted: Array, given: Array | None) -> None:
        """One step's."""
        if given is None or given.shape != wanted.shape:
            self.distance = float("inf")
        elif self.spec.datatype not in _FLOATS:
            self.unequal.append(float(np.mean(wanted != given)) if wanted.size else 0.0)
        elif wanted.size:
            ours, theirs = numbers(self.spec, wanted), numbers(self.spec, given)
            same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
            with np.errstate(all="ignore"):
                apart = np.where(same, 0.0, np.abs(theirs - ours))
            self.distance = max(self.distance, float(np.nan_to_num(apart, nan=np.inf, posinf=np.inf).max()))
            self.size = max(self.size, float(np.abs(ours[np.isfinite(ours)]).max(initial=0.0)))

    @property
    def value(self) -> float:
        """The divergence."""
        if self.unequal:
            return max(self.unequal)
        if not self.distance:
            return 0.0
        return self.distance / self.size if self.size else float("inf")


def _specs(side: Side) -> list[TensorSpec]:
    return [TensorSpec(s.input, Datatype[s.datatype], tuple(s.shape)) for s in side.stepper.layout.states]


def _figure(value: float) -> float | None:
    """A number for the record: JSON has no infinity."""
    return float(f"{value:.6g}") if np.isfinite(value) else None
