"""The versions that wait for their turn: one rollout of a model at a time, in the order in which they came.

What was pushed or asked for is on record at once. What was found in the repository is looked at when its turn comes:
only then is it known whether it is news.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from changeover.errors import Conflict
from changeover.lifecycle.artifacts import Artifact
from changeover.records.certificate import VersionRef
from changeover.rollout import found
from changeover.rollout.current import Current
from changeover.rollout.machine import Event, Phase, Told
from changeover.rollout.offer import Offer
from changeover.rollout.plan import Plan
from changeover.rollout.transitions import TABLE
from changeover.rollout.vigil import in_spite

if TYPE_CHECKING:
    from changeover.rollout.driver import Driver

_FOUND_AGAIN = 5.0
"""Seconds until a version found, whose rollout the disk did not take, is considered again."""
_SUPERSEDED: Final = Told("superseded", "a newer version waits")


@dataclass(frozen=True, slots=True)
class _Turn:
    """One that waits: `rollout` is its id once it is on record; `resumed`: a newer one does not take its place."""

    offer: Offer
    take: Callable[[], Awaitable[object]]
    rollout: str | None = None
    supersedes: bool = False
    resumed: bool = False


class Queue:
    """What one model's driver has still to do.

    Attributes:
        waiting: versions found that are not looked at yet; what was pushed is in the journal.
    """

    def __init__(self, driver: Driver) -> None:
        self.waiting: list[Offer] = []
        self._driver = driver
        self._turns: deque[_Turn] = deque()
        self._begins = False
        self._recording = asyncio.Lock()

    @property
    def busy(self) -> bool:
        """Whether a rollout is under way; one in its undo window is ended by the next."""
        current = self._driver.current
        return (
            current is not None and not current.rollout.phase.terminal and current.rollout.phase is not Phase.WATCHING
        )

    @property
    def waits(self) -> bool:
        """Whether a version waits for its turn, or its turn begins just now."""
        return bool(self._turns) or self._begins

    # -- coming --------------------------------------------------------------------------------------------

    async def offer(self, offer: Offer) -> str:
        """Record a rollout to a version, and let it wait for its turn; returns its id."""
        await self._driver.taken_over.wait()
        async with self._recording:
            rollout = await self._open(offer)
            self._add_recorded(rollout, offer)
        return rollout

    async def push(
        self, version: int | None, artifact: Artifact, plan: Plan, unless: Callable[[], bool] = lambda: False
    ) -> tuple[Offer, str]:
        """The same of a version that is recorded with it, in one commit; of one pushed again, the rollout it has.

        `unless` is asked when whatever came before is on record, and nothing comes between it and this record.

        Raises:
            Conflict: `unless` is so (`rollout_under_way`).
        """
        driver = self._driver
        await driver.taken_over.wait()

        def record() -> tuple[Offer, str]:
            with driver.journal.together():
                known = driver.journal.versions.add(driver.model, version, artifact.digest, "push")
                offer = Offer(known.version, artifact, plan, "push")
                return offer, driver.journal.rollouts.open(driver.model, source, offer.ref, _kept(offer)).id

        async with self._recording:
            if unless():
                raise Conflict("another rollout has begun meanwhile", reason="rollout_under_way")
            if (known := self._again(version, artifact, plan)) is not None:
                return known
            source = self._source()
            offer, rollout = await asyncio.to_thread(record)
            self._add_recorded(rollout, offer)
        return offer, rollout

    def _again(self, version: int | None, artifact: Artifact, plan: Plan) -> tuple[Offer, str] | None:
        """The newest rollout, where a push asks for just that and it waits, is on its way or has come to serve.

        Somebody whose connection broke pushes again. A rollout from the version to itself would end the undo window,
        and an undo would then go back to nothing else. What was pushed before something else is asked for anew.
        """
        if version is None:
            return None
        ref = VersionRef(version, artifact.digest)
        if self._turns:
            last = self._turns[-1]
            same = last.offer.ref == ref and last.offer.plan == plan
            return (last.offer, last.rollout) if same and last.rollout is not None else None
        current, active = self._driver.current, self._driver.active
        if current is None or current.stopped.done() or current.offer.ref != ref or current.offer.plan != plan:
            return None
        phase = current.rollout.phase
        serves = active is not None and VersionRef(active.version, active.digest) == ref
        lives = (phase is Phase.SUCCEEDED and serves) or not (phase.terminal or phase is Phase.ROLLING_BACK)
        return (current.offer, current.id) if lives else None

    async def found(self, offer: Offer) -> None:
        """A version lies in the repository; only news takes the place of what is under way."""
        supersedes = offer.plan.rollout.supersede and self.busy and await found.is_news(self._driver, offer.ref)
        self.waiting.append(offer)
        self._add(_Turn(offer, lambda: self._consider(offer), supersedes=supersedes))

    def resume(self, rollout: str, offer: Offer, turn: Callable[[], Awaitable[object]]) -> None:
        """One that the last term left, and that was not under way."""
        self._add(_Turn(offer, turn, rollout=rollout, supersedes=offer.plan.rollout.supersede, resumed=True))

    def _add_recorded(self, rollout: str, offer: Offer) -> None:
        begin = lambda: self._driver.begin(rollout, offer)  # noqa: E731
        self._add(_Turn(offer, begin, rollout=rollout, supersedes=offer.plan.rollout.supersede))

    def _add(self, turn: _Turn) -> None:
        self._turns.append(turn)
        if turn.supersedes:
            self._stop_loading(turn.offer)
        self._driver.enqueue(self._supersede)

    # -- going ---------------------------------------------------------------------------------------------

    async def go_on(self) -> None:
        """Do what waits, until a rollout is under way."""
        while self._turns and not self.busy:
            turn = self._turns.popleft()
            superseded = any(later.supersedes for later in self._turns) and not turn.resumed
            self._begins = True
            try:
                if turn.rollout is not None and superseded:
                    await self._pass_over(turn.rollout, _SUPERSEDED)
                else:
                    await turn.take()
            finally:
                self._begins = False

    async def clear(self, told: Told) -> None:
        """Nothing waits any more; what was on record has not had its turn, and why is told there."""
        self.waiting.clear()
        while self._turns:
            turn = self._turns.popleft()
            if turn.rollout is not None:
                await self._pass_over(turn.rollout, told)

    async def _pass_over(self, rollout: str, told: Told) -> None:
        """Its turn does not come."""
        move, kept = self._driver.journal.rollouts.move, {"reason": told.reason, "detail": told.detail}
        record = {**(await asyncio.to_thread(self._driver.journal.rollouts.get, rollout)).record, **kept}
        await asyncio.to_thread(move, rollout, Phase.ROLLED_BACK, record=record, ended=True)

    async def _supersede(self) -> None:
        """The newest that may takes the place of what is under way."""
        newest = next((turn.offer for turn in reversed(self._turns) if turn.supersedes), None)
        current = self._driver.current
        if newest is None or current is None or not self.busy or newest.ref == current.offer.ref:
            return
        if (current.rollout.phase, Event.SUPERSEDED) in TABLE:
            await self._driver.feed(current, Event.SUPERSEDED, _told(newest, current))

    def _stop_loading(self, offer: Offer) -> None:
        """The driver is busy with the load, and would hear of it only afterwards."""
        current = self._driver.current
        if current is not None and current.rollout.phase is Phase.VALIDATING and offer.ref != current.offer.ref:
            current.stop(Event.SUPERSEDED, _told(offer, current))

    async def _consider(self, offer: Offer) -> None:
        if await found.consider(self._driver, offer, self._begin_found):
            loop = asyncio.get_running_loop()
            loop.call_later(_FOUND_AGAIN, self._add, _Turn(offer, lambda: self._consider(offer)))

    async def _begin_found(self, offer: Offer) -> None:
        # At once, so that the next lower version found is compared with what serves then.
        await self._driver.begin(await self._open(offer), offer)

    async def _open(self, offer: Offer) -> str:
        rollouts, model = self._driver.journal.rollouts, self._driver.model
        return (await asyncio.to_thread(rollouts.open, model, self._source(), offer.ref, _kept(offer))).id

    def _source(self) -> VersionRef | None:
        active = self._driver.active
        return VersionRef(active.version, active.digest) if active else None


def _kept(offer: Offer) -> dict[str, object]:
    return {"offer": offer.source, "plan": msgspec.to_builtins(offer.plan)}


def _told(offer: Offer, current: Current) -> Told:
    return Told("superseded", f"version {offer.version} takes its place{in_spite(current)}", "plan")
