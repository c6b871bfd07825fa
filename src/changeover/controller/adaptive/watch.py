"""The watch over models whose plan says `adaptive`: counts, proposes, and has what is pushed tuned."""

from __future__ import annotations

import asyncio
import logging
import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, time
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from changeover.clock import utc_now
from changeover.controller.adaptive.conditions import Traffic, traffic_of
from changeover.controller.adaptive.criterion import Changed, Criterion, Known, Now, Proposal, slice_seconds
from changeover.controller.adaptive.hardware import hardware
from changeover.controller.adaptive.retuning import under_way
from changeover.controller.metrics.totals import Total
from changeover.controller.observatory import Observatory
from changeover.errors import ChangeoverError
from changeover.lifecycle.source import PLAN_FILE
from changeover.records.journal import Journal
from changeover.rollout.driver import Driver
from changeover.rollout.loading import Loading
from changeover.rollout.plan_adaptive import AdaptivePlan, Apply
from changeover.rollout.proving import GOLDEN

_ACTIVE: Final = "active"
_USUAL: Final = "http://127.0.0.1:8002"
"""Where commands look for a server that they are not told."""
_LOCAL: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a command finds who listens everywhere
_RUN: Final = 2
"""Place of the requests that were run in `Total.runs`."""
_EARLY: Final = 0.5
"""Seconds: a look comes once a second, and a little early now and then."""
_UNDER_WAY: Final = ("proposed", "tuning")
_UNWANTED: Final = "its plan asks for something else by now"
_UNRECORDED: Final = "the journal could not be written"
_CUT: Final = "the controller ended meanwhile; it is tried again with the next proposal"
log = logging.getLogger("changeover.controller")

Outcome = tuple[str, str, dict[str, Any]]
"""Of a tuning and its push: the state, a sentence, and the push's answer."""
Retune = Callable[[Driver, AdaptivePlan], Awaitable[Outcome]]
"""Tunes what serves and pushes what comes of it."""


@dataclass(slots=True)
class _Model:
    """One that is watched.

    Attributes:
        began: the slice, and what its loading had counted then.
        unwritten: events that the journal has not taken yet.
        pushing: what was proposed waits to be tuned, or is.
    """

    criterion: Criterion
    saved: Known | None
    began: float
    loading: int
    counted: Total
    unwritten: list[dict[str, Any]] = field(default_factory=list)
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    pushing: bool = False

    @property
    def proposal(self) -> Proposal | None:
        """The one that stands."""
        return self.criterion.known.proposal if self.criterion.known is not None else None


class AdaptiveWatch:
    """Over all models.

    Args:
        journal: keeps what is known; what it does not take at once it gets with the next slice.
        observatory: knows the traffic.
        retune: for plans that say `apply: push`; one at a time.
    """

    def __init__(self, journal: Journal, observatory: Observatory, retune: Retune) -> None:
        self.tasks: asyncio.TaskGroup
        self._journal = journal
        self._observatory = observatory
        self._retune = retune
        self._models: dict[str, _Model] = {}
        self._turn = asyncio.Semaphore()

    async def look(self, drivers: Mapping[str, Driver]) -> None:
        """Once a second: whose slice is over is judged."""
        for name, driver in list(drivers.items()):
            active = driver.active
            plan = active.plan.adapts if active is not None else None
            if active is None or plan is None:
                self._models.pop(name, None)
                continue
            watched = self._models.get(name)
            if watched is None or watched.loading != active.number:
                await self._begin(name, active.number)
            elif monotonic() - watched.began >= slice_seconds(plan) - _EARLY:
                await self._judge(driver, plan, watched)

    def shown(self, driver: Driver) -> dict[str, Any] | None:
        """What the API tells of a model; None where nothing is ever proposed."""
        plan = driver.active.plan.adapts if driver.active is not None else None
        if plan is None:
            return None
        watched = self._models.get(driver.model)
        known = watched.saved if watched is not None else None  # which no restart forgets
        told = {"every": plan.every, "apply": str(plan.apply)}
        parts = ("hardware", "traffic", "proposal")
        return told | {part: msgspec.to_builtins(getattr(known, part)) if known is not None else None for part in parts}

    # -- slices --------------------------------------------------------------------------------------------

    async def _begin(self, name: str, loading: int) -> None:
        """A loading serves that did not before: its first slice; a model's past is read once."""
        watched = self._models.get(name)
        counted = self._counted(loading)
        if watched is not None:
            watched.began, watched.loading, watched.counted = monotonic(), loading, counted
            return
        known = await asyncio.to_thread(self._on_record, name)
        watched = self._models[name] = _Model(Criterion(known), known, monotonic(), loading, counted)
        if known is not None and known.proposal is not None and known.proposal.state == "tuning":
            self._became(watched, "failed", _CUT)
            await self._write(name, watched)

    async def _judge(self, driver: Driver, plan: AdaptivePlan, watched: _Model) -> None:
        traffic = self._traffic(driver, watched)
        active = driver.active
        if active is None:
            return
        if watched.pushing or (plan.apply is Apply.PUSH and under_way(driver)):
            watched.criterion.begin_anew()  # one thing after the other, and no push in the way of a rollout
            await self._write(driver.model, watched)  # what the journal did not take before
            return
        machine = await asyncio.to_thread(hardware)
        changed = watched.criterion.look(plan, Now(active.plan.runtime.digest, machine, time(), traffic))
        if changed is not None:
            self._propose(driver, plan, watched, changed)
        await self._write(driver.model, watched)
        if changed is not None and plan.apply is Apply.PUSH:
            watched.pushing = True
            self.tasks.create_task(self._push(driver, plan, watched))

    def _traffic(self, driver: Driver, watched: _Model) -> Traffic | None:
        """Of the slice that is over; the next one begins. While a candidate takes a part it says nothing."""
        now, before = self._counted(watched.loading), watched.counted
        seconds = monotonic() - watched.began
        watched.began, watched.counted = monotonic(), now
        if driver.candidate is not None:
            return None
        sizes = {rows: count - before.sizes.get(rows, 0) for rows, count in now.sizes.items()}
        return traffic_of(now.runs[_RUN] - before.runs[_RUN], sizes, seconds)

    def _counted(self, loading: int) -> Total:
        return self._observatory.totals.read().total((loading, _ACTIVE))

    # -- proposals -----------------------------------------------------------------------------------------

    def _propose(self, driver: Driver, plan: AdaptivePlan, watched: _Model, changed: Changed) -> None:
        known, active = watched.criterion.known, driver.active
        if known is None or active is None:
            return
        command = _command(driver, active, plan)
        proposal = Proposal(utc_now(), "proposed", changed.cause, changed.detail, command)
        watched.criterion.known = replace(known, proposal=proposal)
        watched.unwritten.append(_event(proposal))
        log.info("%s: worth tuning anew (%s): %s", driver.model, changed.detail, command)

    async def _push(self, driver: Driver, plan: AdaptivePlan, watched: _Model) -> None:
        try:
            async with self._turn:
                self._became(watched, "tuning")
                await self._write(driver.model, watched)
                self._became(watched, *await self._outcome(driver, plan, watched))
                await self._write(driver.model, watched)
        finally:
            watched.pushing = False

    async def _outcome(self, driver: Driver, plan: AdaptivePlan, watched: _Model) -> Outcome:
        active, known = driver.active, watched.criterion.known
        stands = known is not None and active is not None and active.plan.runtime.digest == known.runtime
        if active is None or not stands or active.plan.adapts != plan:
            return "failed", _UNWANTED, {}
        if watched.saved != known:  # a restart would know nothing of it, and begin again at once
            return "failed", _UNRECORDED, {}
        try:
            return await self._retune(driver, plan)
        except (ChangeoverError, OSError) as error:
            return "failed", str(error), {}
        except Exception as error:  # a defect there is no reason to end the control plane
            log.exception("%s could not be tuned", driver.model)
            return "failed", repr(error), {}

    def _became(self, watched: _Model, state: str, sentence: str = "", answer: Mapping[str, Any] | None = None) -> None:
        """What is becoming of the proposal that stands, if it still does."""
        known, proposal = watched.criterion.known, watched.proposal
        if known is None or proposal is None or proposal.state not in _UNDER_WAY:
            return
        detail = f"{proposal.detail}. {sentence}" if sentence else proposal.detail
        told = answer or {}
        proposal = replace(
            proposal, state=state, detail=detail, version=told.get("version"), rollout=told.get("rollout")
        )
        watched.criterion.known = replace(known, proposal=proposal)
        watched.unwritten.append(_event(proposal))

    # -- the record ----------------------------------------------------------------------------------------

    async def _write(self, name: str, watched: _Model) -> None:
        """One after the other, or what waits would be written twice."""
        async with watched.writing:
            known, events = watched.criterion.known, list(watched.unwritten)
            if known is None or (known == watched.saved and not events):
                return
            try:
                await asyncio.to_thread(self._record, name, known, events)
            except ChangeoverError as error:
                log.error("%s: what it is tuned for is not on record yet: %s", name, error.message)  # noqa: TRY400
            else:
                watched.saved = known
                del watched.unwritten[: len(events)]

    def _record(self, name: str, known: Known, events: list[dict[str, Any]]) -> None:
        with self._journal.together():
            for event in events or (None,):
                self._journal.proposals.record(name, msgspec.json.encode(known), event)

    def _on_record(self, name: str) -> Known | None:
        try:
            found = self._journal.proposals.known(name)
            return None if found is None else msgspec.json.decode(found, type=Known)
        except (ChangeoverError, msgspec.MsgspecError) as error:
            log.warning("%s: what it was tuned for cannot be read, and is found out anew: %s", name, error)
            return None


def _event(proposal: Proposal) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(proposal)
    return {name: value for name, value in found.items() if name != "at"}


def _command(driver: Driver, active: Loading, plan: AdaptivePlan) -> str:
    """What an operator would type on the server's machine; the version lies where it was sealed."""
    folder, settings = active.artifact.folder, driver.settings
    words = ["changeover", "model", "tune", str(folder)]
    words += ["--objective", plan.objective, "--budget", f"{plan.budget:g}"]
    if settings.repository is not None:
        for option, name in (("--plan", PLAN_FILE), ("--golden", GOLDEN)):
            place = Path(settings.repository).absolute() / driver.model / name
            if not (folder / name).exists() and place.exists():
                words += [option, str(place)]
    if settings.custom_ops is not None:
        words += ["--custom-ops", str(Path(settings.custom_ops).absolute())]
    host = _LOCAL.get(settings.host, settings.host)
    server = f"{settings.scheme}://{f'[{host}]' if ':' in host else host}:{settings.control_port}"
    control = [] if server == _USUAL else ["--control", server]
    before = ""
    if not active.plan.private:
        samples = ["changeover", "model", "samples", driver.model, "--to", "requests.npz", *control]
        before = f"{shlex.join(samples)} && "
        words += ["--requests", "requests.npz"]
    return before + shlex.join([*words, "--propose", driver.model, *control])
