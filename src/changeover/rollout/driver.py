"""The driver of one model: executes what the rollout machine commands, and feeds it what happens.

One rollout at a time; versions offered meanwhile queue. Every phase is journalled before its commands act. A new
rollout first ends a running undo window.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from changeover.errors import ChangeoverError, Conflict
from changeover.lifecycle.artifacts import Artifact, open_artifact, verify_sealed
from changeover.records.certificate import VersionRef
from changeover.records.journal import Journal
from changeover.records.rollouts import RolloutRecord
from changeover.rollout.fleet import Fleet
from changeover.rollout.loading import Loader, Loading
from changeover.rollout.machine import Command, Event, Phase, Rollout, advance
from changeover.rollout.plan import Plan, parse_plan
from changeover.rollout.receipt import Receipt
from changeover.rollout.recovery import recover
from changeover.rollout.switch import Prepared, Switch
from changeover.rollout.tables import all_to
from changeover.settings import Settings
from changeover.transport.control import LoadingEntry, RoutingTable

PLAN_FILE = "model.yaml"
log = logging.getLogger("changeover.controller")


@dataclass(frozen=True, slots=True)
class Offer:
    """A sealed version that wants to serve; `source` tells where it came from (repository, push, restart)."""

    version: int
    artifact: Artifact
    plan: Plan
    source: str

    @property
    def ref(self) -> VersionRef:
        """Number and digest."""
        return VersionRef(self.version, self.artifact.digest)


@dataclass(slots=True)
class Current:
    """The rollout in hand: its machine state and what belongs to it outside the machine."""

    id: str
    offer: Offer
    rollout: Rollout
    receipt: Receipt
    candidate: Loading | None = None
    way_back: RoutingTable | None = None
    clock: asyncio.TimerHandle | None = None


class Driver:
    """One model's control: `active`, `standby` and `candidate` are its loadings by role."""

    def __init__(self, model: str, word: int, fleet: Fleet, journal: Journal, term: int, settings: Settings) -> None:
        self.model = model
        self.active: Loading | None = None
        self.standby: Loading | None = None
        self.current: Current | None = None
        self.loader = Loader(model, fleet, journal, settings.state, settings.load_timeout)
        self.switch = Switch(model, word, fleet, journal, term)
        self.fleet = fleet
        self.journal = journal
        self.settings = settings
        self.store = settings.state / "artifacts"
        self._tasks: asyncio.TaskGroup
        self._inbox: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()
        self._spare: deque[Offer] = deque()
        self.taken_over = asyncio.Event()
        """Set when recovery has read what the last term left open: only then may this term open rollouts."""
        self._commands: dict[Command, Callable[[Current], Awaitable[None]]] = {
            Command.LOAD: self._load,
            Command.PROMOTE: self._promote,
            Command.OPEN_WINDOW: self._open_window,
            Command.MOVE_BACK: self._move_back,
            Command.RELEASE_SOURCE: self._release_standby,
            Command.RELEASE_CANDIDATE: self._release_candidate,
            Command.CERTIFY: self._certify,
        }

    async def run(self) -> None:
        """Recover, then do one thing after the other, as long as the controller lives."""
        self._inbox.put_nowait(lambda: recover(self))
        async with asyncio.TaskGroup() as self._tasks:
            while True:
                call = await self._inbox.get()
                try:
                    await call()
                except ChangeoverError as error:
                    log.error("%s: %s", self.model, error.message)  # noqa: TRY400 - a sentence for the operator
                finally:
                    self.taken_over.set()  # also when the recovery failed: pushes go on
                    self._inbox.task_done()

    async def idle(self) -> None:
        """Wait until everything asked for so far was done."""
        await self._inbox.join()

    # -- asked from outside --------------------------------------------------------------------------------

    async def offer(self, offer: Offer) -> str:
        """Queue a rollout to this version; returns its id at once."""
        await self.taken_over.wait()
        source = VersionRef(self.active.version, self.active.digest) if self.active else None
        record = await asyncio.to_thread(
            self.journal.rollouts.open, self.model, source, offer.ref, {"offer": offer.source}
        )
        self._inbox.put_nowait(lambda: self._begin(record.id, offer))
        return record.id

    async def offer_found(self, offer: Offer) -> None:
        """A version lies in the repository: roll out to it if it is news.

        Not news are the active version, what was tried before (with these bytes), and lower numbers than the
        active one's; these wait as spares for the case that no version serves at all.
        """
        self._inbox.put_nowait(lambda: self._consider(offer))

    async def refuse(self, version: int, error: ChangeoverError) -> None:
        """Record that a version could not even be offered."""
        await self.taken_over.wait()
        record = await asyncio.to_thread(
            self.journal.rollouts.open, self.model, None, VersionRef(version, "0" * 64), {"offer": "repository"}
        )
        failed, _ = advance(
            Rollout(self.model, None, str(version)), Event.REFUSED, reason=error.reason, detail=error.message
        )
        await self._journal_phase(record.id, failed, {})

    async def undo(self) -> RolloutRecord:
        """Move all traffic back to the standby; returns when it is there.

        Raises:
            Conflict: there is no standby (reason `no_standby`).
        """
        done: asyncio.Future[RolloutRecord] = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait(lambda: self._undo(done))
        return await done

    async def _undo(self, done: asyncio.Future[RolloutRecord]) -> None:
        try:
            done.set_result(await self._move_all_back())
        except ChangeoverError as error:
            done.set_exception(error)

    async def _move_all_back(self) -> RolloutRecord:
        current = self.current
        if self.standby is None or current is None or current.rollout.phase is not Phase.WATCHING:
            raise Conflict(
                f"{self.model}: no previous version is kept warm, so there is nothing to undo; "
                "push the version you want instead",
                reason="no_standby",
            )
        await self._feed(current, Event.UNDO_ASKED)
        return await asyncio.to_thread(self.journal.rollouts.get, current.id)

    # -- recovery ------------------------------------------------------------------------------------------

    def plan_for(self, artifact: Artifact) -> Plan:
        """The plan that came with a version, else the model's in the repository, else the defaults.

        Raises:
            InvalidPlan: of the file that counts.
        """
        places = [artifact.folder / PLAN_FILE]
        if self.settings.repository is not None:
            places.append(Path(self.settings.repository) / self.model / PLAN_FILE)
        for place in places:
            if place.is_file():
                return parse_plan(place.read_bytes(), place.name)
        return Plan()

    async def go_on_watching(self, record: RolloutRecord) -> None:
        """An undo window that the last term began: it begins again, since nothing tells how long it ran."""
        artifact = await asyncio.to_thread(open_artifact, self.store, record.target.digest)
        offer = Offer(record.target.version, artifact, self.plan_for(artifact), "restart")
        source = str(record.source.version) if record.source else None
        rollout = Rollout(self.model, source, str(record.target.version), Phase.WATCHING)
        self.current = Current(
            record.id, offer, rollout, Receipt(self.model, record.id, offer, self.standby, self.fleet)
        )
        await self._prepare_way_back(self.current)
        await self._open_window(self.current)

    async def close(self, record: RolloutRecord, phase: Phase, error: ChangeoverError | None = None) -> None:
        """End a rollout that the last term left open."""
        kept = {**record.record, "reason": error.reason if error else None, "detail": error.message if error else None}
        await asyncio.to_thread(self.journal.rollouts.move, record.id, phase, record=kept, ended=True)

    async def offer_again(self, record: RolloutRecord) -> None:
        """Give an interrupted version another rollout."""
        artifact = await asyncio.to_thread(verify_sealed, self.store, record.target.digest)
        await self.offer(Offer(record.target.version, artifact, self.plan_for(artifact), "restart"))

    async def _prepare_way_back(self, current: Current) -> None:
        """Make undo possible again: a fresh pair of tables, of which the forward one says what is so already."""
        prepared = await self._prepare(self.active, self.standby)
        await self.switch.forward(prepared)
        current.way_back = prepared.back

    # -- shown ---------------------------------------------------------------------------------------------

    @property
    def candidate(self) -> Loading | None:
        """The loading that is being proven."""
        current = self.current
        return current.candidate if current and current.candidate not in (self.active, self.standby) else None

    @property
    def epoch(self) -> int:
        """Of the table in force, 0 for none."""
        return self.switch.table.epoch if self.switch.table else 0

    def can_undo(self, rollout: str) -> bool:
        """Whether `undo` would undo this rollout."""
        current = self.current
        return current is not None and current.id == rollout and current.rollout.phase is Phase.WATCHING

    def live(self, version: int, digest: str) -> Loading | None:
        """The living loading of a version."""
        return next((x for x in self.loader.live.values() if (x.version, x.digest) == (version, digest)), None)

    def role(self, loading: Loading) -> str:
        """Derived from the table in force, never stored."""
        for name, other in (("active", self.active), ("standby", self.standby), ("candidate", self.candidate)):
            if loading is other:
                return name
        return "none"

    # -- rollouts ------------------------------------------------------------------------------------------

    async def _consider(self, offer: Offer) -> None:
        active = self.active
        if active is not None and (active.version, active.digest) == (offer.version, offer.artifact.digest):
            return
        tried = await asyncio.to_thread(self.journal.rollouts.latest_for, self.model, offer.ref)
        if tried is not None:
            log.info("%s/%d was tried before (%s is %s)", self.model, offer.version, tried.id, tried.phase)
        elif active is not None and offer.version < active.version:
            self._spare.append(offer)
        else:
            await self.offer(offer)

    async def _begin(self, rollout_id: str, offer: Offer) -> None:
        """Take the next rollout in hand and carry it as far as it goes without waiting for time or people."""
        previous = self.current
        if previous is not None and previous.rollout.phase is Phase.WATCHING:
            await self._feed(previous, Event.WINDOW_ENDED)
        source = str(self.active.version) if self.active else None
        receipt = Receipt(self.model, rollout_id, offer, self.active, self.fleet)
        self.current = Current(rollout_id, offer, Rollout(self.model, source, str(offer.version)), receipt)
        await self._feed(self.current, Event.STARTED)
        if self.active is None and self._spare:
            await self.offer(self._spare.popleft())

    async def _feed(self, current: Current, event: Event, error: ChangeoverError | None = None) -> None:
        """Advance the machine, journal the phase, then execute its commands."""
        reason, detail = (error.reason, error.message) if error else (None, None)
        current.rollout, commands = advance(current.rollout, event, reason=reason, detail=detail)
        log.log(logging.ERROR if reason else logging.INFO, "%r%s", current.rollout, f": {detail}" if detail else "")
        await self._journal_phase(current.id, current.rollout, current.receipt.record())
        for command in commands:
            await self._commands[command](current)

    async def _journal_phase(self, rollout_id: str, rollout: Rollout, record: dict[str, object]) -> None:
        body = {**record, "reason": rollout.reason, "detail": rollout.detail}
        ended = rollout.phase.terminal
        try:
            await asyncio.to_thread(self.journal.rollouts.move, rollout_id, rollout.phase, record=body, ended=ended)
        except ChangeoverError as error:
            if rollout.phase not in (Phase.ROLLING_BACK, Phase.ROLLED_BACK):
                raise
            log.error("a rollback goes on although it cannot be recorded: %s", error.message)  # noqa: TRY400

    # -- commands ------------------------------------------------------------------------------------------

    async def _load(self, current: Current) -> None:
        offer = current.offer
        try:
            current.candidate = await self.loader.load(offer.version, offer.artifact, offer.plan)
            current.receipt.loading(current.candidate)
            await self.loader.ready(current.candidate, self.active)
        except ChangeoverError as error:
            current.receipt.gates(current.candidate)
            await self._feed(current, Event.REFUSED, error)
            return
        current.receipt.gates(current.candidate)
        await self._feed(current, Event.PROVEN)

    async def _promote(self, current: Current) -> None:
        candidate, source = current.candidate, self.active
        try:
            prepared = await self._prepare(candidate, source)
            switched = await self.switch.forward(prepared)
        except ChangeoverError as error:
            await self._feed(current, Event.NOT_SWITCHED, error)
            return
        self.active, self.standby = candidate, source
        current.way_back = prepared.back
        current.receipt.switched(switched)
        if source is not None:
            current.receipt.window(current.offer.plan.rollout.undo_window)
        await self._feed(current, Event.SWITCHED)

    async def _prepare(self, candidate: Loading | None, source: Loading | None) -> Prepared:
        """The forward table and, when there is a source, its way back."""
        to, before = _entry(candidate), _entry(source) if source else None
        model, word = self.model, self.switch.word

        def forward(epoch: int) -> RoutingTable:
            return all_to(model, word, epoch, to, standby=before)

        if before is None:
            return await self.switch.prepare(forward, None)
        return await self.switch.prepare(forward, lambda epoch: all_to(model, word, epoch, before, standby=to))

    async def _open_window(self, current: Current) -> None:
        window = current.offer.plan.rollout.undo_window
        loop = asyncio.get_running_loop()
        current.clock = loop.call_later(window, self._inbox.put_nowait, lambda: self._end_window(current))

    async def _end_window(self, current: Current) -> None:
        if current is self.current and current.rollout.phase is Phase.WATCHING:
            await self._feed(current, Event.WINDOW_ENDED)

    async def _move_back(self, current: Current) -> None:
        if current.way_back is None:
            await self._feed(
                current, Event.NOT_SWITCHED, Conflict("the way back is not prepared", reason="no_way_back")
            )
            return
        switched = await self.switch.back(current.way_back)
        self.active, self.standby = self.standby, self.active
        current.receipt.switched(switched)
        await self._feed(current, Event.SWITCHED)

    async def _release_standby(self, current: Current) -> None:
        """Drain with a table that does not name it, then end its worker."""
        standby = self.standby
        if standby is None or self.active is None:
            return
        active = _entry(self.active)
        prepared = await self.switch.prepare(lambda e: all_to(self.model, self.switch.word, e, active), None)
        await self.switch.forward(prepared)
        self.standby = None
        held = self.fleet.memory(standby.number)
        await self.drain_and_release(standby)
        current.receipt.released(held)

    async def _release_candidate(self, current: Current) -> None:
        """The candidate is standby after a rollback, and named by no table when it never served."""
        if current.candidate is self.standby:
            await self._release_standby(current)
        elif current.candidate is not None:
            await self.drain_and_release(current.candidate)

    async def drain_and_release(self, loading: Loading) -> None:
        """Wait for the last lease, then end the worker; past the deadline its requests run on the active version."""
        if not await self.fleet.drained(loading.number, self.settings.drain_deadline):
            log.error(
                "%s: %r still has leases at the drain deadline; they are run again elsewhere", self.model, loading
            )
        if not await self.loader.release(loading):
            log.error("%s: the worker of %r had to be killed", self.model, loading)

    async def _certify(self, current: Current) -> None:
        """Certificates need the seconds after the switch, so they are written a little later."""
        self._tasks.create_task(self._write_certificate(current))

    async def _write_certificate(self, current: Current) -> None:
        await current.receipt.reported()
        certificate = current.receipt.certificate(current.rollout)
        try:
            await asyncio.to_thread(self.journal.rollouts.certify, current.id, certificate)
        except ChangeoverError as error:
            log.error("the certificate of %s cannot be written: %s", current.id, error.message)  # noqa: TRY400


def _entry(loading: Loading | None) -> LoadingEntry:
    if loading is None or loading.entry is None:
        raise Conflict("the version has no proven worker", reason="not_proven")
    return loading.entry
