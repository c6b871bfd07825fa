"""Remarks on a plan that is legal, and probably not what was meant. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from changeover.rollout.lint_sequence import of_sequence
from changeover.rollout.plan import Plan
from changeover.rollout.plan_adaptive import AdaptivePlan, Apply
from changeover.rollout.plan_rollout import PlanStep, RolloutPlan, Strategy
from changeover.rollout.remark import Remark
from changeover.transport.control import BUCKETS

__all__ = ["OBSERVATION", "Remark", "lint"]
OBSERVATION: Final = 3.0
"""Seconds of requests that the judge wants to see before a step is clear: a candidate that fails shows in so many."""
_PROOF: Final = 5_000
"""Clean requests that the proof of an error rate below 0.1 % takes at least."""
_BUSY: Final = 1_000.0
"""Requests a second that are taken for possible when nobody says how many there are."""


def lint(plan: Plan, rate: float | None = None) -> list[Remark]:
    """What a second reader of a plan would ask.

    Args:
        plan: that was parsed.
        rate: requests a second that the model gets, where that is known.
    """
    rollout = plan.rollout
    remarks = [*_of_window(rollout)]
    if rollout.strategy is Strategy.CANARY:
        remarks += [*_of_ladder(rollout), *_of_steps(rollout, rate)]
    elif rollout.prove:
        remarks.append(Remark("$.rollout.prove", f"nothing is proved with strategy {rollout.strategy}"))
    if plan.sequence is not None:
        remarks += of_sequence(plan.sequence, rollout)
    if plan.adapts is not None:
        remarks += _of_adaptive(plan, plan.adapts)
    return sorted(remarks, key=lambda remark: remark.path)


def _of_adaptive(plan: Plan, adaptive: AdaptivePlan) -> Iterator[Remark]:
    pushes = adaptive.apply is Apply.PUSH
    if pushes and plan.rollout.strategy is Strategy.INSTANT:
        yield Remark(
            "$.adaptive.apply", "with strategy instant a tuned version serves at once, compared by its gates only"
        )
    if pushes and plan.private:
        yield Remark("$.adaptive.apply", "no request of a private model is kept, so nothing is calibrated with any")
    if adaptive.every < adaptive.hold:
        yield Remark(
            "$.adaptive.every", f"traffic is looked at for {adaptive.hold:g} s before it counts as another one"
        )


def _of_window(rollout: RolloutPlan) -> Iterator[Remark]:
    if rollout.undo_window == 0:
        yield Remark("$.rollout.undo_window", "nothing is kept warm after the promotion, so it cannot be undone")
    elif rollout.held_back == 0 and rollout.strategy is Strategy.CANARY:
        yield Remark("$.rollout.holdback", "without a control the sentinels of the undo window only raise alarms")
    if rollout.undo_window == 0 and rollout.holdback:
        yield Remark("$.rollout.holdback", "there is no undo window in which anything could be held back")


def _of_ladder(rollout: RolloutPlan) -> Iterator[Remark]:
    ladder = rollout.ladder
    for index, (before, after) in enumerate(pairwise(ladder), start=1):
        path = f"$.rollout.steps[{index}]"
        if after.buckets < before.buckets:
            yield Remark(path, f"the share falls from {before.name} to {after.name}: clients with a key change back")
        elif after.buckets == before.buckets and not before.shadow:
            yield Remark(path, f"{after.name} comes twice in a row")
    if rollout.steps[-1].buckets < BUCKETS:
        last = len(rollout.steps) - 1
        yield Remark(f"$.rollout.steps[{last}]", f"after {rollout.steps[-1].name} comes the promotion: 100%")
    if not ladder:
        yield Remark("$.rollout.steps", "without a step before 100% this is strategy instant")


def _of_steps(rollout: RolloutPlan, rate: float | None) -> Iterator[Remark]:
    for index, step in enumerate(rollout.ladder):
        hold, wanted = step.hold or 0.0, step.min_requests or 0
        path = f"$.rollout.steps[{index}]" if rollout.steps[index].hold is not None else "$.rollout.hold"
        if hold < OBSERVATION:
            yield Remark(
                path, f"{step.name} is held for {hold:g} s, and is not clear before {OBSERVATION:g} s of requests"
            )
        if hold > rollout.max_hold:
            yield Remark(path, f"{step.name} is inconclusive after {rollout.max_hold:g} s, before its hold has ended")
        yield from _of_counts(rollout, index, step, rate, wanted)


def _of_counts(rollout: RolloutPlan, index: int, step: PlanStep, rate: float | None, wanted: int) -> Iterator[Remark]:
    own = rollout.steps[index].min_requests is not None
    path = f"$.rollout.steps[{index}]" if own else "$.rollout.min_requests"
    part = step.mirror if step.shadow else step.buckets / BUCKETS
    needed = wanted / (part * rollout.max_hold) if part else float("inf")
    if needed > (_BUSY if rate is None else rate):
        yield Remark(path, f"{wanted} requests at {step.name} take {needed:.3g} requests a second until max_hold")
    if rollout.prove and wanted < _PROOF and not step.shadow:
        yield Remark(path, f"the proof takes {_PROOF} requests or more at {step.name}, so it is not done with {wanted}")
