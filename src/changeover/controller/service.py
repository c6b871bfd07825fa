"""The service: what the API and the repository ask for, handed to the driver of each model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import msgspec

from changeover.controller import rollout_view, views, words
from changeover.controller.fleet import Fleet
from changeover.controller.steering import Steering
from changeover.controller.sweeper import Sweeper
from changeover.errors import ChangeoverError, InvalidRequest, NotFound
from changeover.lifecycle import artifacts, contents, seal
from changeover.lifecycle.source import is_model_name, version_folder
from changeover.lifecycle.watch import Observation, watch
from changeover.records.certificate import VersionRef
from changeover.records.journal import Journal
from changeover.rollout import found
from changeover.rollout.driver import Driver
from changeover.rollout.machine import Phase
from changeover.rollout.offer import Offer, plan_for
from changeover.settings import Settings
from changeover.transport.page import SERVER_WORD

_AGAIN = 5.0
"""Seconds until a version that the disk did not take has to settle anew, to be tried again."""
_SEALING = 2
"""Versions copied and hashed at a time: threads are left for the journal, however large the versions are."""
log = logging.getLogger("changeover.controller")


class Service:
    """All models of this server."""

    def __init__(self, settings: Settings, journal: Journal, fleet: Fleet, term: int) -> None:
        self.incoming = settings.state / "incoming"
        self._settings = settings
        self._journal = journal
        self._fleet = fleet
        self._term = term
        self._drivers: dict[str, Driver] = {}
        self._sealing = asyncio.Semaphore(_SEALING)
        self._sweeper = Sweeper(settings, journal, fleet, self._drivers.values)
        self._tasks: asyncio.TaskGroup
        self._words = words.in_use(fleet)
        self._stop = asyncio.Event()
        self._anew: set[tuple[str, int]] = set()
        self.steering = Steering(
            settings, journal, known=self._known, made=self._driver, arriving=self._sweeper.arriving
        )
        self.taken_over = asyncio.Event()
        """Set when it is known which versions serve: before that the API would say that none does."""
        fleet.on_status = lambda status: self._tell(lambda driver: driver.loader.on_status(status))
        fleet.on_health = lambda health: self._tell(lambda driver: driver.on_news(health))
        fleet.on_death = lambda death: self._tell(lambda driver: driver.on_news(death))

    async def run(self) -> None:
        """Recover what the journal knows, then follow the repository."""
        async with asyncio.TaskGroup() as self._tasks:
            await asyncio.to_thread(self._sweeper.leftovers)
            for model in await asyncio.to_thread(self._journal.versions.models):
                self._recover(model)
            for driver in list(self._drivers.values()):
                await driver.taken_over.wait()
            self.taken_over.set()
            await self._all_idle()
            self._tasks.create_task(self._sweeper.run())
            if self._settings.repository is None:
                self._fleet.page.store(SERVER_WORD, 1)
                self._sweeper.wanted.set()
                return
            first = True
            folder, settle = Path(self._settings.repository), self._settings.settle
            async for observation in watch(folder, self._stop, settle=settle, anew=self._anew):
                await self._observe(observation)
                if first:
                    first = False
                    self._tasks.create_task(self._open_for_business())

    async def _open_for_business(self) -> None:
        await self._all_idle()
        self._fleet.page.store(SERVER_WORD, 1)
        self._sweeper.wanted.set()
        log.info("ready: %s", ", ".join(sorted(m for m, d in self._drivers.items() if d.active)) or "no model yet")

    async def _all_idle(self) -> None:
        for driver in list(self._drivers.values()):
            await driver.idle()

    @property
    def _store(self) -> Path:
        return self._settings.state / "artifacts"

    def _driver(self, model: str) -> Driver:
        driver = self._drivers.get(model)
        if driver is None:
            word = self._words.get(model) or words.free(self._words)
            self._words[model] = word
            driver = Driver(model, word, self._fleet, self._journal, self._term, self._settings)
            driver.on_end = self._sweeper.wanted.set
            self._drivers[model] = driver
            self._tasks.create_task(driver.run())
        return driver

    def _recover(self, model: str) -> None:
        """A model that the journal knows; one too many does not keep the others from serving."""
        try:
            self._driver(model)
        except InvalidRequest as error:
            log.error("model %s is not served: %s", model, error.message)  # noqa: TRY400

    def _check_word(self, model: str) -> None:
        """Is there a place for this model? Asked before anything of it is recorded.

        Raises:
            InvalidRequest: no (`too_many_models`).
        """
        if model not in self._words:
            words.free(self._words)

    def _known(self, model: str) -> Driver:
        if model not in self._drivers:
            known = ", ".join(sorted(self._drivers)) or "none"
            raise NotFound(f"unknown model {model!r}; known: {known}", reason="model_not_found")
        return self._drivers[model]

    def _tell(self, tell: Callable[[Driver], None]) -> None:
        for driver in self._drivers.values():
            tell(driver)

    # -- the repository ------------------------------------------------------------------------------------

    async def _observe(self, observation: Observation) -> None:
        for sentence in observation.ignored:
            log.warning("repository: %s", sentence)
        for model, version in observation.removed:
            log.warning("repository: %s/%d was removed; what serves goes on serving", model, version)
        # Highest first: at the first start it serves at once, and the others need not be tried.
        for model, version in sorted(observation.settled, key=lambda pair: (pair[0], -pair[1])):
            try:
                async with self._sweeper.arriving():
                    await self._take(model, version)
            except ChangeoverError as error:
                if error.fault == "server":
                    self._take_later(model, version, error)
                    continue
                log.error("repository: %s/%d is refused: %s", model, version, error.message)  # noqa: TRY400
                await self._refuse(model, version, error)

    def _take_later(self, model: str, version: int, error: ChangeoverError) -> None:
        """A sick disk is no verdict on a version: it is tried again, once what lies there then has settled."""
        log.error("repository: %s/%d cannot be taken yet: %s", model, version, error.message)
        asyncio.get_running_loop().call_later(_AGAIN, self._anew.add, (model, version))

    async def _refuse(self, model: str, version: int, error: ChangeoverError) -> None:
        """Put a refusal on record; a journal that cannot be written must not end the controller."""
        try:
            await self._record_refusal(self._driver(model), version, error)
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
        folder = version_folder(Path(self._settings.repository or ""), model, version)
        self._check_word(model)
        if await self._had_its_turn(model, version, folder):
            log.info("repository: %s/%d was removed by retention and is no news: it is left alone", model, version)
            return
        artifact = await asyncio.to_thread(seal.seal_folder, folder, self._store)
        plan = plan_for(artifact, model, self._settings)
        await asyncio.to_thread(self._journal.versions.add, model, version, artifact.digest, "repository")
        if plan.rollout.auto:
            await self._driver(model).offer_found(Offer(version, artifact, plan, "repository"))

    async def _had_its_turn(self, model: str, version: int, folder: Path) -> bool:
        """Whether these bytes are known, their artifact is gone and nobody wants it back.

        Sealing them again, at every start, would fill the disk with what the next sweep removes.
        """
        removed = await asyncio.to_thread(self._removed, model, version)
        if not removed or model not in self._drivers:
            return False  # nothing to compare with: not read twice
        ref = VersionRef(version, await asyncio.to_thread(contents.digest_of, folder))
        return ref.digest in removed and not await found.is_news(self._drivers[model], ref)

    def _removed(self, model: str, version: int) -> set[str]:
        """What a number stood for and is no longer there."""
        known = {record.digest for record in self._journal.versions.of(model) if record.version == version}
        return known - set(artifacts.digests(self._store))

    # -- the API -------------------------------------------------------------------------------------------

    async def push(self, model: str, version: int | None, source: IO[bytes], *, tar: bool) -> dict[str, Any]:
        """Seal a pushed version and start its rollout.

        Raises:
            InvalidRequest: not a name for a model.
            ModelRejected: the body is not a version (`tar_*`, `artifact_*`).
            InvalidPlan: of the `model.yaml` in it.
        """
        if not is_model_name(model):
            raise InvalidRequest(
                f"{model!r} is no name for a model; take letters, digits, . _ -", reason="invalid_name"
            )
        async with self._sweeper.arriving():
            return await self._push(model, version, source, tar=tar)

    async def _push(self, model: str, version: int | None, source: IO[bytes], *, tar: bool) -> dict[str, Any]:
        self._check_word(model)
        async with self._sealing:
            artifact = await asyncio.to_thread(seal.seal_tar if tar else seal.seal_file, source, self._store)
        plan = plan_for(artifact, model, self._settings)  # before the model gets its driver and its word
        if model not in self._drivers:  # nothing is to be seen of a model that cannot be recorded
            added = await asyncio.to_thread(self._journal.versions.add, model, version, artifact.digest, "push")
            version = added.version
        offer, rollout = await self._driver(model).push(version, artifact, plan)
        return {"model": model, "version": str(offer.version), "digest": artifact.digest, "rollout": rollout}

    async def models(self) -> list[dict[str, Any]]:
        """All models, as `GET /v1/models` shows them."""
        return await self._shown(sorted(self._drivers))

    async def model(self, name: str) -> dict[str, Any]:
        """One model."""
        (shown,) = await self._shown([self._known(name).model])
        return shown

    async def _shown(self, names: list[str]) -> list[dict[str, Any]]:
        present = {name: rollout_view.present(self._drivers[name]) for name in names}

        def read() -> list[views.Recorded]:
            sealed = frozenset(artifacts.digests(self._store))
            return [views.recorded(name, self._journal, sealed, present[name]) for name in names]

        known = await asyncio.to_thread(read)
        return [views.model(self._drivers[n], k, self._fleet) for n, k in zip(names, known, strict=True)]

    async def certificate(self, rollout: str) -> Any:
        """The certificate of a rollout."""
        found = await asyncio.to_thread(self._journal.rollouts.get, rollout)
        if found.certificate is None:
            raise NotFound(
                f"rollout {rollout} is {found.phase} and has no certificate (yet): it is written 5 s after the switch",
                reason="certificate_not_ready",
            )
        return msgspec.to_builtins(found.certificate)

    def health(self) -> dict[str, Any]:
        """Whether the control plane is well."""
        return {
            "ready": bool(self._fleet.page.words[SERVER_WORD]),
            "term": self._term,
            "gateways": [{"pid": g.pid, "ready": g.ready} for g in self._fleet.gateways.values()],
        }
