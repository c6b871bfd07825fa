"""Removes what nobody can need any more: sealed artifacts, cached graphs, old events, leftovers of dead processes.

At calm times: some seconds after a rollout's end and after the start, when no rollout loads or switches. Two minutes
without such a moment are the most that is waited: then it is done beside a rollout, at the lowest priority. What may go
is decided in `lifecycle/retention.py`; here it is found out what is in use. Everything that makes an artifact needed
begins with its sealing, and that excludes a sweep (`arriving`); so what was found free stays free.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from changeover.errors import ChangeoverError
from changeover.lifecycle import artifacts, cached, retention
from changeover.lifecycle.retention import Graph
from changeover.records.events import KEPT
from changeover.records.journal import Journal
from changeover.rollout.driver import Driver
from changeover.rollout.fleet import Fleet
from changeover.rollout.machine import Phase
from changeover.settings import Settings
from changeover.transport.control import RoutingTable

_CALM = 5.0
"""Seconds without a rollout's end before a sweep: past the writing of its certificate."""
_MOST_WAITS = 24
"""Pauses without a calm moment, two minutes of them: where rollouts follow one another at once, any has to do."""
_BUSY = (Phase.PENDING, Phase.VALIDATING, Phase.PROMOTING, Phase.ROLLING_BACK)
_LOWEST = 19
_EVENTS = KEPT
"""The newest of the journal's events that are kept."""
T = TypeVar("T")
log = logging.getLogger("changeover.controller")


class Sweeper:
    """The one who deletes.

    Args:
        drivers: gives the drivers of all models.

    Attributes:
        wanted: set it when something has come to its end.
    """

    def __init__(
        self, settings: Settings, journal: Journal, fleet: Fleet, drivers: Callable[[], Iterable[Driver]]
    ) -> None:
        self.wanted = asyncio.Event()
        self._settings = settings
        self._journal = journal
        self._fleet = fleet
        self._drivers = drivers
        self._store = settings.state / "artifacts"
        self._caches = (settings.state / "cache", settings.state / "weights")
        self._arrivals = 0
        self._taking = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "retention", lambda: os.setpriority(os.PRIO_PROCESS, 0, _LOWEST))

    def leftovers(self) -> None:
        """Delete what an earlier controller left half done; for the start only, before anything is taken in."""
        incoming = self._settings.state / "incoming"
        caches = [(folder, cached.sweep) for folder in self._caches]
        for folder, delete in ((self._store, artifacts.sweep), *caches, (incoming, _empty)):
            try:
                if folder.is_dir():
                    delete(folder)
            except OSError as error:
                log.error("retention: leftovers in %s stay: %s", folder, error)  # noqa: TRY400

    @asynccontextmanager
    async def arriving(self) -> AsyncIterator[None]:
        """Round the sealing of a version and the record of what is wanted of it: nothing is removed meanwhile."""
        async with self._taking:
            self._arrivals += 1
        try:
            yield
        finally:
            self._arrivals -= 1

    async def run(self) -> None:
        """Sweep whenever it is wanted and calm, as long as the controller lives."""
        while True:
            await self.wanted.wait()
            for _ in range(_MOST_WAITS):
                self.wanted.clear()
                await asyncio.sleep(_CALM)
                if not self.wanted.is_set() and not self._busy():
                    break
            try:
                await self.sweep()
            except (ChangeoverError, OSError) as error:
                log.error("retention: nothing is removed: %s", error)  # noqa: TRY400

    async def sweep(self) -> None:
        """Remove what may go, now.

        Raises:
            ChangeoverError: the journal cannot be read, so nobody knows what is in use.
            OSError: a folder cannot be read.
        """
        await self._low(self._trim_cache)
        async with self._taking:
            if self._arrivals:
                self.wanted.set()
                return
            held = _held(self._drivers())
            models = [driver.model for driver in self._drivers()]
            for digest, names in await asyncio.to_thread(self._expendable, held, models):
                await self._remove(digest, names)
        await self._prune_events()

    def _busy(self) -> bool:
        return any(driver.current and driver.current.rollout.phase in _BUSY for driver in self._drivers())

    async def _low(self, call: Callable[[], T]) -> T:
        """In the thread of lowest priority; never with the journal, whose lock it would hold for long."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _remove(self, digest: str, names: list[tuple[str, int]]) -> None:
        told = ", ".join(f"{model}/{version}@{digest[:4]}" for model, version in names) or f"orphan {digest[:12]}"
        try:
            await self._low(lambda: artifacts.remove(self._store, digest))
        except OSError as error:
            log.error("retention: %s cannot be removed: %s", told, error.strerror)  # noqa: TRY400
            return
        log.info("retention: %s was removed, %d versions are kept", told, self._settings.keep_versions)
        try:
            await asyncio.to_thread(self._record, digest, names)
        except ChangeoverError as error:  # it is gone all the same, and the folder says so
            log.error("retention: that %s was removed cannot be recorded: %s", told, error.message)  # noqa: TRY400

    async def _prune_events(self) -> None:
        try:
            pruned = await asyncio.to_thread(self._journal.events.prune, _EVENTS)
        except ChangeoverError as error:
            log.error("retention: old events cannot be removed: %s", error.message)  # noqa: TRY400
            return
        if pruned:
            log.info("retention: the %d oldest events were removed, %d are kept", pruned, _EVENTS)

    # -- in a thread ---------------------------------------------------------------------------------------

    def _record(self, digest: str, names: list[tuple[str, int]]) -> None:
        with self._journal.together():
            for model, version in names:
                told = {"version": str(version), "digest": digest, "state": "removed"}
                self._journal.events.add("version", model, told)

    def _expendable(self, held: set[str], models: list[str]) -> list[tuple[str, list[tuple[str, int]]]]:
        """Digests that may go, each with the models and versions it was."""
        in_use = held | _recorded(self._journal, models) | _published(self._fleet)
        uses = self._journal.versions.uses()
        going = retention.expendable(uses, artifacts.digests(self._store), in_use, self._settings.keep_versions)
        return [(digest, [(use.model, use.version) for use in uses if use.digest == digest]) for digest in going]

    def _trim_cache(self) -> None:
        """Both folders together have one limit."""
        found: dict[Graph, Path] = {}
        for folder in filter(Path.is_dir, self._caches):
            cached.sweep(folder)
            found |= dict.fromkeys(cached.graphs(folder), folder)
        going = retention.least_used(found, self._settings.cache_limit)
        for graph in going:
            try:
                cached.remove(found[graph], graph)
            except OSError as error:
                log.error("retention: a cached graph cannot be removed: %s", error.strerror)  # noqa: TRY400
        if going:
            size = sum(graph.size for graph in going)
            log.info("retention: %d cached graphs (%d bytes) unused for longest were removed", len(going), size)


def _held(drivers: Iterable[Driver]) -> set[str]:
    """Digests that the drivers have in hand."""
    digests: set[str] = set()
    for driver in drivers:
        digests.update(loading.digest for loading in driver.loader.live.values())
        digests.update(offer.artifact.digest for offer in driver.waiting)
        current = driver.current
        if current is not None and not current.rollout.phase.terminal:
            digests.add(current.offer.artifact.digest)
        tables = [driver.switch.table, current.way_back if current else None]
        digests.update(entry.digest for table in tables if table for entry in table.loadings)
    return digests


def _recorded(journal: Journal, models: Iterable[str]) -> set[str]:
    """Digests that the journal would need after a restart: unfinished rollouts, and tables decided last or meant."""
    digests: set[str] = set()
    for record in journal.rollouts.unfinished():
        digests.update(ref.digest for ref in (record.source, record.target) if ref is not None)
    for model in models:
        last = journal.epochs.committed(model)
        for epoch in [*journal.epochs.intents(model), *([last] if last else [])]:
            digests |= _named(epoch.table)
    return digests


def _published(fleet: Fleet) -> set[str]:
    """Digests named by a table in force, or by a later one."""
    tables = [record.data for record in fleet.tables() if record.epoch >= fleet.epoch(record.word)]
    return set().union(*map(_named, tables))


def _named(table: bytes) -> set[str]:
    told = msgspec.json.decode(table, type=RoutingTable)
    return {entry.digest for entry in (*told.loadings, *told.draining)}


def _empty(folder: Path) -> None:
    """Delete the files of pushes whose controller died."""
    for path in folder.iterdir():
        if not path.is_dir():  # a mount's own, such as lost+found
            path.unlink(missing_ok=True)
