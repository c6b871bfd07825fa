"""Section `sequence` of a plan: what its types alone do not refuse. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from changeover.rollout.plan_rollout import PlanStep
from changeover.sequences.declared import Declared


def climbed(steps: tuple[PlanStep, ...]) -> tuple[PlanStep, ...]:
    """The steps without `shadow`: a copy of a sequence's step would need a copy of its state, so none is made."""
    return tuple(step for step in steps if not step.shadow) or (PlanStep(1.0),)


def check(declared: Declared) -> None:
    """Let a section pass that can be meant.

    Raises:
        msgspec.ValidationError: what is wrong, with its place.
    """
    for sentence, place in _faults(declared):
        raise msgspec.ValidationError(f"{sentence} - at `$.sequence{place}`")


def _faults(declared: Declared) -> Iterator[tuple[str, str]]:
    seen: dict[str, set[str]] = {"input": set(), "output": set()}
    for place, kind, name in _names(declared):
        if name in seen[kind]:
            yield f"{kind} {name!r} has a use already", place
        seen[kind].add(name)
    for index, state in enumerate(declared.state):
        initial = state.initial
        if initial is not None and (initial.file is None) == (initial.data is None):
            yield "either file or data", f".state[{index}].initial"
    if declared.on_changeover == "replay" and declared.replay == 0:
        yield "on_changeover: replay needs the inputs of one step at least", ".replay"
    if not declared.state and not any(kind for _, kind, _ in _names(declared)):
        yield "there is no state and no control input", ""


def _names(declared: Declared) -> Iterator[tuple[str, str, str]]:
    """The model's names that a section uses: where, of what kind, which."""
    for index, state in enumerate(declared.state):
        yield f".state[{index}].input", "input", state.input
        yield f".state[{index}].output", "output", state.output
    control = declared.control
    for role in ("start", "end", "ready", "corrid"):
        said = getattr(control, role)
        if said is not None:
            yield f".control.{role}", "input", said if isinstance(said, str) else said.input
