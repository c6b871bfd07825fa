"""The driver of one model: feeds the rollout machine with what happens, and has its commands executed.

One rollout at a time; versions offered meanwhile queue. Every transition is journalled before its commands act.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

from changeover.errors import ChangeoverError
from changeover.lifecycle.artifacts import Artifact
from changeover.records.journal import Journal
from changeover.records.rollouts import RolloutRecord
from changeover.rollout.commands import Around, Commands, Happened
from changeover.rollout.course import Course
from changeover.rollout.current import Current
from changeover.rollout.fleet import Death, Fleet
from changeover.rollout.hand import Hand
from changeover.rollout.loading import Loader, Loading
from changeover.rollout.machine import NOTHING, Command, Event, Phase, Rollout, Told
from changeover.rollout.offer import Offer
from changeover.rollout.plan import Plan
from changeover.rollout.queue import Queue
from changeover.rollout.receipt import Receipt
from changeover.rollout.recording import Recorder, tell
from changeover.rollout.recovery import recover
from changeover.rollout.switch import Switch, Switched
from changeover.rollout.transitions import advance
from changeover.rollout.vigil import Vigil
from changeover.rollout.worker_news import lost
from changeover.settings import Settings
from changeover.transport.control import WorkerHealth

_AGAIN = 1.0
"""Seconds until what a sick journal or gateway refused is tried once more."""
_TICK = 1.0  # seconds between two looks at a rollout
log = logging.getLogger("changeover.controller")


class Driver:
    """One model's control: `active`, `standby` and `candidate` are its loadings by role."""

    def __init__(self, model: str, word: int, fleet: Fleet, journal: Journal, term: int, settings: Settings) -> None:
        self.model = model
        self.current: Current | None = None
        self.fleet = fleet
        self.journal = journal
        self.settings = settings
        self.store = settings.state / "artifacts"
        self.loader = Loader(model, fleet, journal, settings)
        self.switch = Switch(model, word, fleet, journal, term, beside=self._beside)
        self.vigil = Vigil(model, fleet)
        self.taken_over = asyncio.Event()
        """Set when recovery has read what the last term left open: only then may this term open rollouts."""
        self.recovered = asyncio.Event()
        """Set when recovery has ended, well or not: what is not here then is not."""
        around = Around(
            later=self._start_clock, stands=self._stands, again=self._again, feed=self.feed, beside=self._beside
        )
        self.commands = Commands(
            self.loader, self.switch, fleet, journal, drain_deadline=settings.drain_deadline, around=around
        )
        self.queue = Queue(self)
        self.on_end: Callable[[], None] = lambda: None
        self._hand = Hand(self)
        self._recorder = Recorder(journal, self.loader, again=self._again, beside=self._beside)
        self._ticking: asyncio.TimerHandle | None = None
        self._tasks: asyncio.TaskGroup
        self._inbox: asyncio.Queue[Callable[[], Awaitable[object]]] = asyncio.Queue()
        self.enqueue(lambda: recover(self))  # before anything that is asked of it, also before it runs

    async def run(self) -> None:
        """Recover, then do one thing after the other, as long as the controller lives."""
        async with asyncio.TaskGroup() as self._tasks:
            while True:
                call = await self._inbox.get()
                try:
                    await call()
                    await self.queue.go_on()
                except ChangeoverError as error:
                    log.error("%s: %s", self.model, error.message)  # noqa: TRY400 - a sentence for the operator
                finally:
                    self.taken_over.set()  # also when the recovery failed: pushes go on
                    self._inbox.task_done()

    def enqueue(self, call: Callable[[], Awaitable[object]]) -> None:
        """Have a call made between the others."""
        self._inbox.put_nowait(call)

    async def idle(self) -> None:
        """Wait until everything asked for so far was done, as far as it goes without waiting for time or people.

        What a version before still drains is time: with long-lived sequences it is hours, and others wait for this.
        """
        await self.commands.releases.unless_awaited(self._inbox.join())

    # -- asked from outside --------------------------------------------------------------------------------

    async def offer(self, offer: Offer) -> str:
        """Queue a rollout to this version; returns its id at once."""
        return await self.queue.offer(offer)

    async def push(
        self, version: int | None, artifact: Artifact, plan: Plan, unless: Callable[[], bool] = lambda: False
    ) -> tuple[Offer, str]:
        """Record a version and a rollout to it in one commit, and queue it; `None` takes the next number.

        Raises:
            Conflict: `unless` is so by then (`rollout_under_way`).
        """
        return await self.queue.push(version, artifact, plan, unless)

    async def offer_found(self, offer: Offer) -> None:
        """A version lies in the repository: roll out to it if it is news, see `found.is_news`."""
        await self.queue.found(offer)

    async def pause(self) -> RolloutRecord:
        """Let nothing go up by itself; `Conflict` when no rollout is at a step."""
        return await self._hand.pause()

    async def resume(self) -> RolloutRecord:
        """Let the plan go on; `Conflict` when nothing is paused, or the strategy is manual."""
        return await self._hand.resume()

    async def promote(self) -> RolloutRecord:
        """Everything to the candidate now; `Conflict` when there is none, `Internal` when it was not done."""
        return await self._hand.promote()

    async def abort(self) -> RolloutRecord:
        """Everything back, and the candidate let go; `Conflict` when no rollout is before its promotion."""
        return await self._hand.abort()

    async def set_weight(self, buckets: int) -> RolloutRecord:
        """So many buckets of 10,000 to the candidate, until people say more; `Conflict` when there is none."""
        return await self._hand.set_weight(buckets)

    async def undo(self) -> RolloutRecord:
        """Everything back to the standby; `Conflict` without one, `Internal` when the new version still serves."""
        return await self._hand.undo()

    # -- heard ---------------------------------------------------------------------------------------------

    def on_news(self, news: Death | WorkerHealth) -> None:
        """Of any worker: when it is the candidate's, and says enough by itself, everything is taken back."""
        if isinstance(news, Death) and news.restarts and news.loading in self.loader.live:
            log.warning("the worker of loading %d died with %d and is replaced", news.loading, news.code)
        told, current = lost(self.current, news), self.current
        if told is not None and current is not None:
            self.enqueue(lambda: self._feed_if(current, Event.LOST, told))

    async def _feed_if(self, current: Current, event: Event, told: Told) -> None:
        """Unless something else has ended what it is about."""
        phase = current.rollout.phase
        if current is self.current and (phase.compares or phase is Phase.WATCHING):
            await self.feed(current, event, told)

    # -- shown ---------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> list[Offer]:
        """Versions found that are not looked at yet; what was pushed is in the journal."""
        return self.queue.waiting

    @property
    def active(self) -> Loading | None:
        """The loading that serves."""
        return self.commands.active

    @property
    def standby(self) -> Loading | None:
        """The previous one, kept warm."""
        return self.commands.standby

    @property
    def candidate(self) -> Loading | None:
        """The loading that is being proven."""
        current = self.current
        loading = current.candidate if current else None
        if loading is None or loading in (self.active, self.standby) or loading.number not in self.loader.live:
            return None
        return loading

    @property
    def epoch(self) -> int:
        """Of the table in force, 0 for none."""
        return self.switch.table.epoch if self.switch.table else 0

    def can_undo(self, rollout: str) -> bool:
        """Whether `undo` would undo this rollout."""
        current = self.current
        return current is not None and current.id == rollout and current.rollout.phase is Phase.WATCHING

    def role(self, loading: Loading) -> str:
        """Derived from the table in force, never stored."""
        for name, other in (("active", self.active), ("standby", self.standby), ("candidate", self.candidate)):
            if loading is other:
                return name
        return "none"

    # -- rollouts ------------------------------------------------------------------------------------------

    async def begin(self, rollout_id: str, offer: Offer) -> None:
        """Take the next rollout in hand and carry it as far as it goes without waiting for time or people."""
        await self.end_window()
        await self.feed(self.take_in_hand(rollout_id, offer, self.active), Event.STARTED)

    async def end_window(self) -> None:
        """The undo window is over, if one runs: the version kept warm is let go."""
        previous = self.current
        if previous is not None and previous.rollout.phase is Phase.WATCHING:
            await self.feed(previous, Event.WINDOW_ENDED)

    def take_in_hand(self, rollout_id: str, offer: Offer, source: Loading | None) -> Current:
        """Make a rollout from a loading to an offer the current one."""
        plan = offer.plan.rollout
        rollout = Rollout(
            self.model, str(source.version) if source else None, str(offer.version), course=Course.of(plan)
        )
        receipt = Receipt(self.model, rollout_id, offer, source, self.fleet)
        self.current = Current(rollout_id, offer, rollout, receipt, plan.undo_window)
        return self.current

    async def feed(self, current: Current, event: Event, told: Told = NOTHING) -> None:
        """Advance the machine, journal the state, execute its commands; and again with what these brought about."""
        happened: Happened | None = Happened(event, told=told)
        while happened is not None:
            before, error = current.rollout, happened.error
            told = Told(error.reason, error.message, current.refused_by) if error else happened.told
            current.rollout, commands = advance(before, happened.event, told)
            if current.moved(before, happened.event):
                tell(before, current.rollout)
            if happened.event is Event.NOT_SWITCHED:
                self.vigil.put_off()
            happened = await self._record(current, before, happened.event, commands)
            if happened is not None:
                continue
            for command in commands:
                happened = await self.commands.execute(command, current) or happened
        self._follow()

    async def _record(
        self, current: Current, before: Rollout, event: Event, commands: tuple[Command, ...]
    ) -> Happened | None:
        """On record before it acts; that a step is in force says nothing new."""
        after = current.rollout
        if not commands and replace(after, stands=before.stands, by=before.by) == before:
            return None
        unrecorded = await self._recorder.record(current, asked=event.asked, moves=bool(commands))
        if unrecorded is None:
            return None
        if unrecorded.event is None:  # asked by hand, and not to be forgotten by the next term
            current.taken_back(before)
            raise unrecorded.error
        return Happened(unrecorded.event, unrecorded.error)

    def _follow(self) -> None:
        """What comes after the machine stands still: ticks, as long as there is something to look at."""
        current = self.current
        if current is None or current.rollout.phase.terminal:
            self.on_end()
        elif self._ticking is None and self.vigil.wanted(current):
            self._ticking = asyncio.get_running_loop().call_later(_TICK, self.enqueue, self._tick)

    async def _tick(self) -> None:
        self._ticking = None
        await self.look()
        self._follow()

    def _stands(self, current: Current, switched: Switched) -> None:
        self.vigil.stand(current, switched.table, switched.times.after_ns)
        current.receipt.step(*current.standing(switched.table.step), switched.table.epoch)

    async def look(self) -> None:
        """Show the judge what was seen since the last look, and do what it says."""
        current = self.current
        if current is None or not self.vigil.wanted(current):
            return
        if current.rollout.phase.compares and not self.vigil.stands(current):
            await self.feed(current, Event.FOUND_SPLIT)  # a restart could not store its table yet
            return
        current.receipt.count()
        versions = self.standby if current.rollout.promoted else self.active, current.candidate
        if self.vigil.take_over(current, *versions):
            await self._recorder.record(current, asked=False, moves=False)
        if (heard := self.vigil.look(current, *versions)) is not None:
            await self.feed(current, *heard)

    def _again(self, call: Callable[[], Awaitable[object]]) -> None:
        asyncio.get_running_loop().call_later(_AGAIN, self.enqueue, call)

    def _beside(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return self._tasks.create_task(coroutine)

    def _start_clock(self, current: Current) -> None:
        if current.clock is None:
            later = asyncio.get_running_loop().call_later
            current.clock = later(current.window, self.enqueue, lambda: self._end_window(current))

    async def _end_window(self, current: Current) -> None:
        if current is self.current:
            await self.end_window()
