"""Putting a rollout's transitions on record, before their commands act; and reading them again in a next term."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from changeover.errors import ChangeoverError
from changeover.records.journal import Journal
from changeover.records.rollouts import RolloutRecord
from changeover.rollout.course import Place
from changeover.rollout.current import Current
from changeover.rollout.loading import Loader
from changeover.rollout.machine import Event, Phase, Rollout
from changeover.rollout.plan import Plan, plan_of

_PATIENCE = 0.05
"""Seconds that the way back waits for its record (DESIGN §5.6)."""
_GIVEN_UP: Final = {Phase.VALIDATING: Event.REFUSED, Phase.PROMOTING: Event.NOT_SWITCHED}
"""Phases that must be on record before they act. What comes after the switch goes on, and is recorded late."""
log = logging.getLogger("changeover.controller")


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """A transition that is not done, because it cannot be recorded; the event says what the machine makes of that."""

    event: Event | None
    error: ChangeoverError


class Recorder:
    """Writes down one model's rollouts.

    Args:
        again: has a call made once more after a pause, between the driver's other calls.
        beside: runs a coroutine beside the driver.
    """

    def __init__(
        self,
        journal: Journal,
        loader: Loader,
        *,
        again: Callable[[Callable[[], Awaitable[object]]], None],
        beside: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]],
    ) -> None:
        self._journal = journal
        self._loader = loader
        self._again = again
        self._beside = beside

    async def record(self, current: Current, *, asked: bool, moves: bool) -> Unrecorded | None:
        """Record the state that a rollout is in.

        Args:
            current: the rollout in hand.
            asked: by hand, so that it is refused when it cannot be recorded.
            moves: commands follow it.
        """
        rollout = current.rollout
        if rollout.phase is Phase.ROLLING_BACK:  # a disk that is slow does not hold up the way back
            await asyncio.wait([self._beside(self._put(current, rollout))], timeout=_PATIENCE)
            return None
        if asked and (rollout.phase.compares or rollout.phase is Phase.PROMOTING):
            error = await self._put(current, rollout, again=False)
            return None if error is None else Unrecorded(None, error)
        given_up = Event.NOT_SWITCHED if rollout.phase.compares and moves else _GIVEN_UP.get(rollout.phase)
        error = await self._put(current, rollout, again=given_up is None)
        return None if error is None or given_up is None else Unrecorded(given_up, error)

    async def _put(self, current: Current, rollout: Rollout, *, again: bool = True) -> ChangeoverError | None:
        try:
            await asyncio.to_thread(self._write, current, rollout)
        except ChangeoverError as error:
            if again:
                log.error("%r is not on record yet: %s", rollout, error.message)  # noqa: TRY400
                self._again(lambda: self._put(current, rollout))
            return error
        return None

    def _write(self, current: Current, rollout: Rollout) -> None:
        """The phase, and what it says of the candidate's loading, in one commit."""
        phase, offer, candidate = rollout.phase, current.offer, current.candidate
        with self._journal.together():
            if current.rollout is not rollout:
                return  # a later state is recorded instead, before this one's turn came
            self._journal.rollouts.move(current.id, phase, record=_body(current), ended=phase.terminal)
            if phase is Phase.VALIDATING:
                candidate = self._loader.record_new(offer.version, offer.artifact, offer.plan)
            elif candidate is not None and not candidate.recorded and _serving(rollout):
                self._loader.record_ready(candidate)
        if candidate is not None:
            candidate.recorded = candidate.recorded or _serving(rollout)
        current.candidate = candidate


def _serving(rollout: Rollout) -> bool:
    """Whether the candidate is proven, so that a table may name it."""
    return rollout.phase.compares or rollout.phase is Phase.PROMOTING


def _body(current: Current) -> dict[str, Any]:
    """What a next term finds.

    `memory` is of the tables before the one in force alone, as long as that stays: the gateways tell a next term again
    all that was counted under it. After a restart of the machine nobody does, and then `seen` counts, which is of all.
    """
    rollout = current.rollout
    leaving = rollout.goal != rollout.stands
    return {
        **current.receipt.record(),
        "loading": current.candidate.number if current.candidate is not None else None,
        "reason": rollout.reason,
        "detail": rollout.detail,
        "plan": msgspec.to_builtins(current.offer.plan),
        "place": msgspec.to_builtins(rollout.goal),
        "hand": rollout.held,
        "by": rollout.by,
        "step_since": current.since,
        "memory": current.memory if leaving else current.known_before,
        "seen": None if leaving else current.memory,
        "history": current.history,
    }


def restored(rollout: Rollout, record: RolloutRecord) -> Rollout:
    """A fresh rollout with what the last term recorded of it; where it stands the table in force tells."""
    kept: dict[str, Any] = record.record
    return replace(
        rollout,
        phase=Phase(record.phase),
        goal=msgspec.convert(kept.get("place"), Place | None),
        held=bool(kept.get("hand")),
        by=str(kept.get("by") or "plan"),
        reason=kept.get("reason"),
        detail=kept.get("detail"),
    )


def judge_on_record(record: RolloutRecord, *, told_again: bool) -> dict[str, Any]:
    """What the judge knew.

    Args:
        record: of the last term.
        told_again: the gateways tell all that was counted under the table in force once more.
    """
    kept = record.record
    return msgspec.convert((None if told_again else kept.get("seen")) or kept.get("memory", {}), dict[str, Any])


def plan_on_record(record: RolloutRecord) -> Plan | None:
    """The plan that a rollout was begun with, `None` when it was not written down.

    Raises:
        InvalidPlan: another release wrote it.
    """
    kept = record.record.get("plan")
    return None if kept is None else plan_of(kept, "The plan on record")


def tell(before: Rollout, after: Rollout) -> None:
    """Log where a rollout stands, as an error where it has a new reason for that."""
    serious = after.reason is not None and after.reason != before.reason
    log.log(logging.ERROR if serious else logging.INFO, "%r%s", after, f": {after.detail}" if serious else "")
