"""The vigil over a rollout: each second what the fleet saw is shown to the judge, and its ruling becomes an event.

Before the promotion two versions are compared at a step. In the undo window the judge goes on with what is held back on
the previous version as control; without a control only the worker's memory is looked at, and deaths.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from changeover.clock import utc_now
from changeover.rollout import judge
from changeover.rollout.current import Current, Totals
from changeover.rollout.fleet import Fleet
from changeover.rollout.judge import Limits, Ruling, Verdict
from changeover.rollout.loading import Loading
from changeover.rollout.machine import Event, Phase, Told
from changeover.rollout.plan import Plan
from changeover.telemetry.evidence import Window
from changeover.transport.control import RoutingTable

_FOREVER: Final = float("inf")
_PUT_OFF: Final = 10.0
"""Seconds after which a step that could not be taken is tried again."""
_EVENTS: Final = {
    Verdict.FAILED: Event.STEP_FAILED,
    Verdict.CLEAR: Event.STEP_CLEAR,
    Verdict.PASSED: Event.STEP_CLEAR,
    Verdict.INCONCLUSIVE: Event.STEP_INCONCLUSIVE,
}


class Judging(Protocol):
    """What the vigil needs of a judge; tests script one."""

    def observe(self, window: Window) -> None:
        """Take in what was seen since the last window."""

    def ruling(
        self, elapsed: float, minimum: int, hold: float, max_hold: float, next_weight: int | None = None
    ) -> Ruling:
        """What all of it comes to, `elapsed` seconds after the step's table was in force, and may it grow?"""

    def memory(self) -> dict[str, Any]:
        """What a judge of the next term has to know, as plain values."""

    def remember(self, memory: dict[str, Any]) -> None:
        """Go on from there."""


def judge_of(plan: Plan) -> Judging:
    """The judge that a plan asks for."""
    rollout = plan.rollout
    limits = Limits(
        latency_increase=rollout.limits.latency_increase,
        error_rate=rollout.limits.error_rate,
        disagreement=rollout.limits.disagreement,
        memory=rollout.limits.memory,
    )
    return judge.Judge(limits, prove=rollout.prove)


class Vigil:
    """Over one model's rollout in hand.

    Attributes:
        clock: seconds that only grow.
        make: a judge for a plan.
    """

    def __init__(self, model: str, fleet: Fleet) -> None:
        self.clock: Callable[[], float] = time.monotonic
        self.make: Callable[[Plan], Judging] = judge_of
        self._model = model
        self._fleet = fleet
        self._judge: Judging | None = None
        self._of: str | None = None
        self._stood: str | None = None
        self._epoch = 0
        self._began = 0.0
        self._not_before = 0.0
        self._seen_ns = 0

    def stand(self, current: Current, table: RoutingTable, seconds_ns: int) -> None:
        """A table of this rollout is in force: its step begins.

        Args:
            current: the rollout.
            table: in force.
            seconds_ns: CLOCK_MONOTONIC of its store; what was before is no evidence of this step.
        """
        self._stood, self._epoch, self._began, self._seen_ns = current.id, table.epoch, self.clock(), seconds_ns
        current.since, current.held = utc_now(), 0.0
        current.ruling = current.evidence = None
        current.totals = Totals()

    def stands(self, current: Current) -> bool:
        """Whether a table of this rollout was stored in this term."""
        return self._stood == current.id

    def put_off(self) -> None:
        """A switch was given up: what would only try it again waits a moment."""
        self._not_before = self.clock() + _PUT_OFF

    def wanted(self, current: Current) -> bool:
        """Whether there is anything to look at."""
        plan, phase = current.offer.plan, current.rollout.phase
        if phase is Phase.WATCHING:
            return plan.rollout.held_back > 0 or plan.runtime.memory_limit is not None
        return phase.compares

    def look(self, current: Current, source: Loading | None, candidate: Loading | None) -> tuple[Event, Told] | None:
        """One tick: what the machine is to hear, if anything.

        Args:
            current: the rollout in hand.
            source: the version that everything can go back to.
            candidate: the target's loading.
        """
        if source is None or candidate is None or not self.stands(current):
            return None
        current.held = self.clock() - self._began
        lost = self._memory(current, candidate)
        if lost is not None or not self._has_control(current):
            return lost
        judging = self._judge_for(current)
        window = self._fleet.evidence(self._model, source.number, candidate.number, self._epoch, self._seen_ns)
        self._seen_ns = max(window.end_ns, self._seen_ns)
        judging.observe(window)
        current.evidence = window
        current.totals.add(window)
        current.ruling = _ruling(judging, current)
        current.memory = judging.memory()
        return _exhausted(current, window) or self._heard(current, current.ruling)

    def _judge_for(self, current: Current) -> Judging:
        """One for the whole rollout, whatever its steps; after a restart it goes on from its memory."""
        if self._judge is None or self._of != current.id:
            self._judge, self._of = self.make(current.offer.plan), current.id
            if current.memory:
                self._judge.remember(current.memory)
        return self._judge

    def _heard(self, current: Current, ruling: Ruling) -> tuple[Event, Told] | None:
        event = _EVENTS.get(ruling.verdict)
        if event is Event.STEP_FAILED:
            return event, Told(ruling.reason, ruling.detail + in_spite(current), "judge")
        climbing = current.rollout.phase in (Phase.SHADOWING, Phase.PROGRESSING)
        if event is None or not climbing or self.clock() < self._not_before:
            return None
        if event is Event.STEP_INCONCLUSIVE:
            return event, Told("inconclusive", ruling.detail, "plan")
        return event, Told(by="plan")

    def _memory(self, current: Current, candidate: Loading) -> tuple[Event, Told] | None:
        """Over the plan's share of `runtime.memory_limit`; without a limit the supervisor's own rules count."""
        limit, part = current.offer.plan.runtime.memory_limit, current.offer.plan.rollout.limits.memory
        taken = self._fleet.memory(candidate.number) if limit else None
        if limit is None or taken is None or taken <= part * limit:
            return None
        detail = f"the worker of version {candidate.name} has {taken:,} bytes, which is over {part:.0%} of {limit:,}"
        return Event.LOST, Told("memory", detail + in_spite(current), "worker")

    def _has_control(self, current: Current) -> bool:
        return current.rollout.phase is not Phase.WATCHING or current.offer.plan.rollout.held_back > 0


def _ruling(judging: Judging, current: Current) -> Ruling:
    if current.rollout.phase in (Phase.SHADOWING, Phase.PROGRESSING):
        step, plan = current.step, current.offer.plan.rollout
        goal = current.rollout.goal or current.rollout.course.first
        weight = current.rollout.course.after(goal).weight
        return judging.ruling(current.held, step.min_requests or 0, step.hold or 0.0, plan.max_hold, weight)
    return judging.ruling(current.held, 0, _FOREVER, _FOREVER)  # nothing goes up by itself


def _exhausted(current: Current, window: Window) -> tuple[Event, Told] | None:
    """The budget of replays is empty, so clients begin to see the candidate's failures: a verdict by itself."""
    if not window.candidate.spent or not current.rollout.phase.compares:
        return None
    detail = f"the budget of replays is used up: {window.candidate.spent} requests were not given to the candidate"
    return Event.STEP_FAILED, Told("shield_exhausted", detail + in_spite(current), "judge")


def in_spite(current: Current) -> str:
    """Said with everything that moves a rollout which people have in hand."""
    return " (although it was in an operator's hands)" if current.rollout.held else ""
