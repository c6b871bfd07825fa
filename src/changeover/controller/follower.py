"""The repository as it is followed, with `model_control` none and poll: what settled becomes artifacts and offers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from changeover.controller.apart import adapted_apart, sealed_apart
from changeover.controller.drivers import Drivers
from changeover.errors import ChangeoverError, Internal
from changeover.lifecycle import artifacts, contents, seal
from changeover.lifecycle.source import scan, version_folder
from changeover.lifecycle.watch import Observation, watch
from changeover.records.certificate import VersionRef
from changeover.records.journal import Journal
from changeover.rollout import found
from changeover.rollout.driver import Driver
from changeover.rollout.machine import Phase
from changeover.rollout.offer import Offer, named_versions, plan_for
from changeover.settings import Settings

_AGAIN = 5.0
"""Seconds until a version that the disk did not take has to settle anew, to be tried again."""
log = logging.getLogger("changeover.controller")


class Follower:
    """Follows one repository.

    Args:
        arriving: while it is entered no sealed version is removed.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        drivers: Drivers,
        *,
        arriving: Callable[[], AbstractAsyncContextManager[object]],
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._drivers = drivers
        self._arriving = arriving
        self._folder = Path(settings.repository or "")
        self._store = settings.state / "artifacts"
        self._stop = asyncio.Event()
        self._anew: set[tuple[str, int]] = set()
        self._owed: set[tuple[str, int]] = set()
        """What was there at the start and is not taken yet: being written then, or the disk did not take it."""

    async def run(self, on_first: Callable[[], object]) -> None:
        """Take what settles: all there is at the start, and with `poll` whatever comes later.

        Args:
            on_first: called once, when what was there at the start was looked at.
        """
        once, first = self._settings.model_control == "none", True
        settle, rescan = self._settings.settle, self._settings.poll_interval
        async for seen in watch(self._folder, self._stop, settle=settle, rescan=rescan, anew=self._anew):
            if first and once:
                self._owed = set((await asyncio.to_thread(scan, self._folder)).folders())
            await self._observe(self._expected(seen) if once else seen)
            if first:
                first = False
                on_first()
            if once and not self._owed:
                self._stop.set()

    def _expected(self, seen: Observation) -> Observation:
        return Observation(tuple(pair for pair in seen.settled if pair in self._owed), (), seen.ignored)

    async def _observe(self, seen: Observation) -> None:
        for sentence in seen.ignored:
            log.warning("repository: %s", sentence)
        for model, version in seen.removed:
            log.warning("repository: %s/%d was removed; what serves goes on serving", model, version)
        # Highest first: at the first start it serves at once, and the others need not be tried.
        for model, version in sorted(seen.settled, key=lambda pair: (pair[0], -pair[1])):
            try:
                async with self._arriving():
                    await self._take(model, version)
            except ChangeoverError as error:
                if error.fault == "server":
                    self._take_later(model, version, error)
                    continue
                log.error("repository: %s/%d is refused: %s", model, version, error.message)  # noqa: TRY400
                await self._refuse(model, version, error)
            except Exception as error:  # a defect must not end the controller: the next one would meet it again
                if _passes(error):
                    self._take_later(model, version, error)
                    continue
                log.exception("repository: %s/%d cannot be read", model, version)
                await self._refuse(model, version, Internal(f"a defect in the controller: {error!r}"))
            self._owed.discard((model, version))

    def _take_later(self, model: str, version: int, error: Exception) -> None:
        """A sick disk is no verdict on a version: it is tried again, once what lies there then has settled."""
        log.error("repository: %s/%d cannot be taken yet: %s", model, version, error or repr(error))
        asyncio.get_running_loop().call_later(_AGAIN, self._anew.add, (model, version))

    async def _refuse(self, model: str, version: int, error: ChangeoverError) -> None:
        """Put a refusal on record; a journal that cannot be written must not end the controller."""
        try:
            await self._record_refusal(self._drivers.made(model), version, error)
        except ChangeoverError as failure:
            log.error("repository: that %s/%d is refused cannot be recorded: %s", model, version, failure.message)  # noqa: TRY400

    async def _record_refusal(self, driver: Driver, version: int, error: ChangeoverError) -> None:
        await driver.taken_over.wait()
        nothing, kept = VersionRef(version, "0" * 64), {"reason": error.reason, "detail": error.message}

        def record() -> None:
            rollouts = self._journal.rollouts
            with self._journal.together():
                opened = rollouts.open(driver.model, None, nothing, {"offer": "repository"})
                rollouts.move(opened.id, Phase.FAILED, record=kept, ended=True)

        await asyncio.to_thread(record)

    async def _take(self, model: str, version: int) -> None:
        """A settled folder becomes an artifact and an offer, unless it was one that nobody needs any more."""
        folder = version_folder(self._folder, model, version)
        self._drivers.check_place(model)
        if await self._had_its_turn(model, version, folder):
            log.info("repository: %s/%d was removed by retention and is no news: it is left alone", model, version)
            return
        named = named_versions(model, self._settings)
        if named is not None and version not in named:
            log.info("repository: %s/%d is left alone: version_policy names %s", model, version, _listed(named))
            return
        artifact = await sealed_apart(seal.seal_folder, folder, self._store)
        plan = plan_for(artifact, model, self._settings)
        artifact = await adapted_apart(artifact, plan.interface, self._store)
        await asyncio.to_thread(self._journal.versions.add, model, version, artifact.digest, "repository")
        if plan.rollout.auto:
            await self._drivers.made(model).offer_found(Offer(version, artifact, plan, "repository"))

    async def _had_its_turn(self, model: str, version: int, folder: Path) -> bool:
        """Whether these bytes are known, their artifact is gone and nobody wants it back.

        Sealing them again, at every start, would fill the disk with what the next sweep removes.
        """
        removed = await asyncio.to_thread(self._removed, model, version)
        if not removed or model not in self._drivers.by_model:
            return False  # nothing to compare with: not read twice
        ref = VersionRef(version, await sealed_apart(contents.digest_of, folder))
        return ref.digest in removed and not await found.is_news(self._drivers.by_model[model], ref)

    def _removed(self, model: str, version: int) -> set[str]:
        """What a number stood for and is no longer there."""
        known = {record.digest for record in self._journal.versions.of(model) if record.version == version}
        return known - set(artifacts.digests(self._store))


def _passes(error: Exception) -> bool:
    """Whether it is trouble of the server, which says nothing of a version: no descriptors, no memory, no threads."""
    return isinstance(error, OSError | MemoryError) or "can't start new thread" in str(error)


def _listed(versions: tuple[int, ...]) -> str:
    return ", ".join(map(str, sorted(versions)))
