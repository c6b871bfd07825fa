"""What people ask of a rollout: pause, resume, promote, abort, undo, a weight. Each returns when it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from changeover.errors import ChangeoverError, Conflict, Internal
from changeover.records.rollouts import RolloutRecord
from changeover.rollout.course import Place
from changeover.rollout.current import Current
from changeover.rollout.machine import Event, Phase, Rollout, Told
from changeover.rollout.transitions import advance

if TYPE_CHECKING:
    from changeover.rollout.driver import Driver

_OPERATOR: Final = "operator"
_LOADING: Final = (Phase.PENDING, Phase.VALIDATING)


class _Wish(NamedTuple):
    """What is asked.

    Attributes:
        event, told: for the machine.
        done: whether a rollout is as it was wanted.
        stopped: it has ended the loading of the candidate, so that the rollout may have come to its end of it already.
    """

    event: Event
    told: Told
    done: Callable[[Rollout], bool]
    stopped: bool


class Hand:
    """Takes what is asked to the driver, and tells what came of it."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def pause(self) -> RolloutRecord:
        """Nothing goes up by itself any more."""
        return await self._ask(Event.PAUSE_ASKED, Told(by=_OPERATOR), lambda r: r.phase is Phase.PAUSED)

    async def resume(self) -> RolloutRecord:
        """The plan goes on, from the first step that is not below the weight set by hand."""
        return await self._ask(Event.RESUME_ASKED, Told(by=_OPERATOR), lambda r: not r.held and r.goal == r.stands)

    async def promote(self) -> RolloutRecord:
        """Everything to the candidate, whatever steps are left."""
        return await self._ask(Event.PROMOTE_ASKED, Told(by=_OPERATOR), lambda r: r.promoted)

    async def abort(self) -> RolloutRecord:
        """Everything back to the version that serves; the candidate is let go."""
        told = Told("aborted", "an operator ended it", _OPERATOR)
        back = (Phase.ROLLING_BACK, Phase.ROLLED_BACK, Phase.FAILED)
        return await self._ask(Event.ABORT_ASKED, told, lambda r: r.phase in back)

    async def undo(self) -> RolloutRecord:
        """Everything back to the version kept warm."""
        return await self._ask(Event.UNDO_ASKED, Told(by=_OPERATOR), lambda r: r.phase is not Phase.WATCHING)

    async def set_weight(self, buckets: int) -> RolloutRecord:
        """So many buckets of 10,000 to the candidate; all of them are the promotion."""
        if Place(-1, buckets).promotion:
            return await self.promote()
        told = Told(by=_OPERATOR, weight=buckets)
        return await self._ask(Event.WEIGHT_ASKED, told, lambda r: r.stands is not None and r.stands.weight == buckets)

    async def _ask(self, event: Event, told: Told, done: Callable[[Rollout], bool]) -> RolloutRecord:
        """Have an event fed between the driver's other calls.

        It is for the rollout in hand when it was asked for, never for one that came meanwhile.

        Raises:
            Conflict: not possible (`no_rollout`, `wrong_phase`, `no_standby`).
            Internal: it was tried, and all is as it was.
        """
        asked = self._driver.current
        loading = asked is not None and asked.rollout.phase in _LOADING
        if asked is not None and loading:
            advance(asked.rollout, event, told)  # says why not, without waiting for the load
            asked.stop(event, told)
        answer: asyncio.Future[RolloutRecord] = asyncio.get_running_loop().create_future()
        wish = _Wish(event, told, done, loading)
        self._driver.enqueue(lambda: self._answer(asked, wish, answer))
        return await answer

    async def _answer(self, asked: Current | None, wish: _Wish, answer: asyncio.Future[RolloutRecord]) -> None:
        try:
            record = await self._done(asked or self._driver.current, wish)
        except ChangeoverError as error:
            if not answer.done():
                answer.set_exception(error)
            return
        if not answer.done():
            answer.set_result(record)

    async def _done(self, current: Current | None, wish: _Wish) -> RolloutRecord:
        driver, event = self._driver, wish.event
        if current is None or current is not driver.current:
            raise self._nothing(event)
        if not (wish.stopped and current.rollout.phase.terminal):
            if current.rollout.phase.terminal or (event is Event.UNDO_ASKED and driver.standby is None):
                raise self._nothing(event)
            await driver.feed(current, event, wish.told)
        rollout = current.rollout
        if not wish.done(rollout):
            raise Internal(
                f"{driver.model}: {event.value.removesuffix('_asked')} was not done: {rollout.detail}",
                reason=rollout.reason or "not_done",
            )
        record = await asyncio.to_thread(driver.journal.rollouts.get, current.id)
        return replace(record, phase=rollout.phase)  # the journal may be behind

    def _nothing(self, event: Event) -> Conflict:
        model = self._driver.model
        if event is Event.UNDO_ASKED:
            return Conflict(
                f"{model}: no previous version is kept warm, so there is nothing to undo; "
                "push the version you want instead",
                reason="no_standby",
            )
        return Conflict(f"{model}: no rollout is under way", reason="no_rollout")
