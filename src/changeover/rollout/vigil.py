"""The vigil over a rollout: each second what the fleet saw is shown to the judge, and its ruling becomes an event.

Before the promotion two versions are compared at a step. In the undo window the judge goes on with what is held back on
the previous version as control; without a control what it says is an alarm, and only the worker's memory and its deaths
take anything back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
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

log = logging.getLogger("changeover.controller")
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
        self._inherited = 0
        self._alarmed: str | None = None

    def inherit(self, epoch: int) -> None:
        """The last term has left this table in force: what was counted under it is looked at once."""
        self._inherited = epoch

    def stand(self, current: Current, table: RoutingTable, seconds_ns: int) -> None:
        """A table of this rollout is in force: its step begins.

        Args:
            current: the rollout.
            table: in force.
            seconds_ns: CLOCK_MONOTONIC of its store; what was before is no evidence of this step.
        """
        if self._stood != current.id:
            self._alarmed = None
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
        return current.rollout.phase.compares or current.rollout.phase is Phase.WATCHING

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
        if lost is not None:
            return lost
        judging = self._judge_for(current)
        self._take_over(judging, current, (source, candidate))
        window = self._fleet.evidence(self._model, source.number, candidate.number, self._epoch, self._seen_ns)
        self._seen_ns = max(window.end_ns, self._seen_ns)
        judging.observe(window)
        current.evidence = window
        current.totals.add(window)
        current.ruling = _ruling(judging, current)
        current.memory = judging.memory()
        heard = _exhausted(current, window) or self._heard(current, current.ruling)
        if heard is not None and not self._has_control(current):
            self._alarm(current, heard[1])
            return None
        return heard

    def _take_over(self, judging: Judging, current: Current, versions: tuple[Loading, Loading]) -> None:
        """Show the judge what the gateways had counted when this term began, unless its memory is of that table too.

        It is one window, for nobody knows how its requests lay in time; so nothing in it is a rate or a latency.
        """
        epoch, self._inherited = self._inherited, 0
        if not epoch or current.memory.get("epoch") == epoch:
            return
        source, candidate = versions
        window = self._fleet.evidence(self._model, source.number, candidate.number, epoch, 0)
        arms = [replace(arm, latency={}) for arm in (window.active, window.candidate)]
        judging.observe(replace(window, start_ns=window.end_ns, active=arms[0], candidate=arms[1]))

    def _alarm(self, current: Current, told: Told) -> None:
        """Nothing was held back, so nothing is taken back; said once for each reason."""
        if told.reason != self._alarmed:
            self._alarmed = told.reason
            log.error("%r: %s; nothing is held back to compare with, so it goes on", current.rollout, told.detail)

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
        """Over the plan's share of `runtime.memory_limit`, or without one of all the memory that there is."""
        own, part = current.offer.plan.runtime.memory_limit, current.offer.plan.rollout.limits.memory
        limit, taken = own or self._fleet.machine_memory(), self._fleet.memory(candidate.number)
        if taken is None or taken <= part * limit:
            return None
        whose = "" if own else ", all that there is"
        detail = f"the worker of version {candidate.name} has {taken:,} bytes, over {part:.0%} of {limit:,}{whose}"
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
