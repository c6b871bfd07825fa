"""The gate `state` for a candidate: what is asked beforehand, and with what it is run."""

from __future__ import annotations

from collections.abc import Callable

from changeover.errors import ModelRejected
from changeover.prover.course import course
from changeover.prover.gates.state import GATE, Side, State, beforehand
from changeover.prover.subject import Subject
from changeover.prover.verdict import failed
from changeover.runtime.stateless import Stateless
from changeover.runtime.stepping import Stepper
from changeover.runtime.tools import open_tools
from changeover.sequences.moves import Conversion
from changeover.transport.control import GateResult, WorkerSpec
from changeover.transport.proving import ProverSpec


def state(
    spec: ProverSpec,
    worker: WorkerSpec,
    candidate: Subject,
    beside: Callable[[], Subject | None],
    alive: Callable[[], None],
) -> GateResult | None:
    """The gate `state`; None of a model without sequences, unless the active version has some.

    Requests go to both versions during a rollout, so either both keep state or none does.

    Args:
        spec: what is to be proven.
        worker: the candidate's.
        candidate: loaded.
        beside: gives the active version, None where there is none or no room for it.
        alive: called now and then, as a sign of life.
    """
    said = worker.sequence
    ours = candidate.session
    if said is None or not isinstance(ours, Stateless):
        return _dropped(spec)
    if spec.reference is not None and spec.reference.sequence is None:
        return _begun()
    early = beforehand(said, spec.reference.sequence if spec.reference else None, ours.layout)
    if early is not None:
        return early
    try:
        active = beside()
    except ModelRejected as error:
        return GateResult(GATE, "skipped", f"the active version cannot be loaded: {error.message}")
    if active is None or not isinstance(active.session, Stateless):
        return GateResult(GATE, "skipped", "there is no room for a second session of the active version")
    tools = open_tools([*said.map, *(said.steps_back or ())], worker)
    asked = State(said, spec.state_divergence, Conversion(said, ours.layout, tools), alive)
    return asked.gate(course(spec.golden, ours.inputs), _side(ours, candidate), _side(active.session, active))


def _dropped(spec: ProverSpec) -> GateResult | None:
    """Live sequences of the active version could go nowhere."""
    if spec.reference is None or spec.reference.sequence is None:
        return None
    what = "the active version keeps state from step to step, and this one declares none (sequence:); unload the model"
    return failed(GATE, "sequences_dropped", f"{what} first if that is meant")


def _begun() -> GateResult:
    """Clients that name no sequence would be refused, and steps of those that do would be answered without state."""
    what = "the active version keeps no state from step to step, and this one does (sequence:); serve it as another"
    return failed(GATE, "sequences_begun", f"{what} model, or unload the model first if that is meant")


def _side(session: Stateless, subject: Subject) -> Side:
    return Side(Stepper(session.whole, session.layout, session.initial), session.outputs, subject.run_timeout)
