"""The vigil over a rollout: each second what the fleet saw is shown to the judge, and its ruling becomes an event.

Before the promotion two versions are compared at a step. In the undo window the judge goes on with what is held back on
the previous version as control; without a control what it says is an alarm, and only the worker's memory and its deaths
take anything back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from changeover.clock import utc_now
from changeover.rollout.current import Current, Totals
from changeover.rollout.fleet import Fleet
from changeover.rollout.hearing import JUDGE_FAILED, Hearing
from changeover.rollout.judge import Ruling, Verdict
from changeover.rollout.loading import Loading
from changeover.rollout.machine import Event, Phase, Told
from changeover.telemetry.evidence import Window
from changeover.transport.control import RoutingTable

log = logging.getLogger("changeover.controller")
_PUT_OFF: Final = 10.0
"""Seconds after which a step that could not be taken is tried again."""
_SOUND_AGAIN: Final = 10
"""Windows in a row after which a judge that had failed counts as sound, so that one that fails now and then does not
fill the history."""
_OF_THE_JUDGE: Final = (Event.UNJUDGED, Event.JUDGED)
"""About the judge itself: these need no control, and move nothing."""
_EVENTS: Final = {
    Verdict.FAILED: Event.STEP_FAILED,
    Verdict.CLEAR: Event.STEP_CLEAR,
    Verdict.PASSED: Event.STEP_CLEAR,
    Verdict.INCONCLUSIVE: Event.STEP_INCONCLUSIVE,
}


class Vigil:
    """Over one model's rollout in hand.

    Attributes:
        clock: seconds that only grow.
        hearing: of the judge.
    """

    def __init__(self, model: str, fleet: Fleet) -> None:
        self.clock: Callable[[], float] = time.monotonic
        self.hearing = Hearing()
        self._model = model
        self._fleet = fleet
        self._stood: str | None = None
        self._epoch = 0
        self._began = 0.0
        self._not_before = 0.0
        self._seen_ns = 0
        self._alarmed: str | None = None

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
        current.known_before = current.memory

    def stands(self, current: Current) -> bool:
        """Whether a table of this rollout was stored in this term."""
        return self._stood == current.id

    def put_off(self) -> None:
        """A switch was given up: what would only try it again waits a moment."""
        self._not_before = self.clock() + _PUT_OFF

    def wanted(self, current: Current) -> bool:
        """Whether there is anything to look at."""
        return current.rollout.phase.compares or current.rollout.phase is Phase.WATCHING

    def take_over(self, current: Current, source: Loading | None, candidate: Loading | None) -> bool:
        """Have the judge know what was counted for the last term; whether there is anything new to record."""
        if source is None or candidate is None or not self.stands(current):
            return False
        of = self._model, source.number, candidate.number
        return self.hearing.take_over(current, lambda epoch: self._fleet.evidence(*of, epoch, 0))

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
        of = self._model, source.number, candidate.number
        window = self._fleet.evidence(*of, self._epoch, self._seen_ns, row=True)
        self._seen_ns = max(window.end_ns, self._seen_ns)
        current.evidence = window
        current.totals.add(window)
        current.ruling = self.hearing.hear(current, window)
        heard = _exhausted(current, window) or self._heard(current, current.ruling)
        if heard is not None and heard[0] not in _OF_THE_JUDGE and not self._has_control(current):
            self._alarm(current, heard[1])
            return None
        return heard

    def _alarm(self, current: Current, told: Told) -> None:
        """Nothing was held back, so nothing is taken back; said once for each reason."""
        if told.reason != self._alarmed:
            self._alarmed = told.reason
            log.error("%r: %s; nothing is held back to compare with, so it goes on", current.rollout, told.detail)

    def _heard(self, current: Current, ruling: Ruling) -> tuple[Event, Told] | None:
        if ruling.reason == JUDGE_FAILED:
            said = current.rollout.reason == JUDGE_FAILED
            return None if said else (Event.UNJUDGED, Told(ruling.reason, ruling.detail))
        event = _EVENTS.get(ruling.verdict)
        if event is Event.STEP_FAILED:
            return event, Told(ruling.reason, ruling.detail + in_spite(current), "judge")
        climbing = current.rollout.phase in (Phase.SHADOWING, Phase.PROGRESSING)
        if event is None or not climbing or self.clock() < self._not_before:
            sound = current.rollout.reason == JUDGE_FAILED and self.hearing.sound >= _SOUND_AGAIN
            return (Event.JUDGED, Told()) if sound else None
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


def _exhausted(current: Current, window: Window) -> tuple[Event, Told] | None:
    """The budget of replays is empty, so the candidate has to be spared: a verdict by itself.

    Unless the active version fails alike, by the same measure: then the machine stood still, or something else is wrong
    that both have to bear, and the judge, who compares them, decides.
    """
    if not window.candidate.spent or not current.rollout.phase.compares or current.totals.alike:
        return None
    detail = f"the budget of replays is used up: {window.candidate.spent} requests were not given to the candidate"
    return Event.STEP_FAILED, Told("shield_exhausted", detail + in_spite(current), "judge")


def in_spite(current: Current) -> str:
    """Said with everything that moves a rollout which people have in hand."""
    return " (although it was in an operator's hands)" if current.rollout.held else ""
