"""Hearing the judge of one rollout: it is shown what was seen, and asked; it goes on from what the last term knew.

A judge that raises ends nothing: that window is not judged, and the next is shown to a judge that knows what the last
good one knew. Until it has judged again the step is held; what needs no judge (deaths, memory, people) goes on.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, Protocol

from changeover.rollout import judge
from changeover.rollout.current import Current
from changeover.rollout.judge import Limits, Ruling, Verdict
from changeover.rollout.judge.errors import trials_of
from changeover.rollout.machine import Phase
from changeover.rollout.plan import Plan
from changeover.telemetry.evidence import Window

log = logging.getLogger("changeover.controller")
JUDGE_FAILED: Final = "judge_failed"
_FOREVER: Final = float("inf")
_TOLD_AGAIN: Final = 4
"""Tables of which a gateway may still tell what was counted under them."""
_LONGEST: Final = 500
"""Characters of a sentence on record."""


class Judging(Protocol):
    """What is needed of a judge; tests script one."""

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


class Hearing:
    """The judge of the rollout in hand, one after the other.

    Attributes:
        make: a judge for a plan.
        sound: windows in a row that were judged.
    """

    def __init__(self) -> None:
        self.make: Callable[[Plan], Judging] = judge_of
        self.sound = 0
        self._judge: Judging | None = None
        self._of: str | None = None
        self._inherited = 0
        self._failing: str | None = None

    def inherit(self, epoch: int) -> None:
        """The last term has left this table in force: what was counted under it is looked at once."""
        self._inherited = epoch

    def take_over(self, current: Current, counted: Callable[[int], Window]) -> bool:
        """Show the judge what the gateways have counted and no record knows; whether there was any.

        That is of all tables since the one that the memory on record is of: more than one when a term ended before it
        had recorded this. Each makes one window, for nobody knows how its requests lay in time; so nothing in it is a
        rate or a latency.

        Args:
            current: the rollout in hand.
            counted: all that was counted under the table of an epoch.
        """
        newest, self._inherited = self._inherited, 0
        known = max(int(current.memory.get("epoch", 0)), newest - _TOLD_AGAIN)
        windows = [counted(epoch) for epoch in range(known + 1, newest + 1)]
        told = [window for window in windows if window.candidate.requests or trials_of(window)[1]]
        try:
            for window in told:
                self._judge_for(current).observe(_whole(window, windows[-1].weight))
            if told:
                current.memory = current.known_before = self._judge_for(current).memory()
        except Exception as error:  # noqa: BLE001 - whatever it is, and however the judge came to it
            self._failed(current, error)
        return bool(told)

    def hear(self, current: Current, window: Window) -> Ruling:
        """What the judge says now, after one more window; `judge_failed` while it cannot say anything."""
        try:
            judging = self._judge_for(current)
            judging.observe(window)
            said = _ruling(judging, current)
            if any(math.isnan(finding.log_e) for finding in said.findings):
                raise ArithmeticError("its evidence is not a number")
            current.memory = judging.memory()
        except Exception as error:  # noqa: BLE001 - the same
            return self._failed(current, error)
        if self._failing == current.id:
            log.warning("%r: the judge judges again", current.rollout)
        self._failing = None
        self.sound += 1
        return said

    def _failed(self, current: Current, error: Exception) -> Ruling:
        """Said once with all that is known; the next judge begins with what the last good one knew."""
        self._judge, self.sound = None, 0
        detail = f"the judge failed, and nothing is clear until it judges again ({type(error).__name__}: {error})"
        if self._failing != current.id:
            self._failing = current.id
            log.error("%r: %s", current.rollout, detail, exc_info=error)
        return Ruling(Verdict.WAITING, JUDGE_FAILED, detail[:_LONGEST])

    def _judge_for(self, current: Current) -> Judging:
        """One for the whole rollout, whatever its steps; after a restart it goes on from its memory."""
        if self._judge is None or self._of != current.id:
            made = self.make(current.offer.plan)
            if current.memory:
                made.remember(current.memory)
            self._judge, self._of = made, current.id
        return self._judge


def _whole(window: Window, weight: int) -> Window:
    """What was counted under a table, as one window without times; the table itself may be forgotten already."""
    arms = [replace(arm, latency={}) for arm in (window.active, window.candidate)]
    weight = window.weight or (weight if window.candidate.requests else 0)
    return replace(window, start_ns=window.end_ns, weight=weight, active=arms[0], candidate=arms[1])


def _ruling(judging: Judging, current: Current) -> Ruling:
    if current.rollout.phase in (Phase.SHADOWING, Phase.PROGRESSING):
        step, plan = current.step, current.offer.plan.rollout
        goal = current.rollout.goal or current.rollout.course.first
        weight = current.rollout.course.after(goal).weight
        return judging.ruling(current.held, step.min_requests or 0, step.hold or 0.0, plan.max_hold, weight)
    return judging.ruling(current.held, 0, _FOREVER, _FOREVER)  # nothing goes up by itself
