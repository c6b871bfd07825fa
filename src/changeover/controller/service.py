"""The service: what the API and the repository ask for, handed to the driver of each model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import msgspec

from changeover.controller import rollout_view, views
from changeover.controller.adaptive.retuning import Retuning
from changeover.controller.adaptive.watch import AdaptiveWatch
from changeover.controller.alarms.watch import Watch
from changeover.controller.alarms.webhook import Webhook
from changeover.controller.apart import adapted_apart, sealed_apart
from changeover.controller.drivers import Drivers
from changeover.controller.events.chronicle import Chronicle
from changeover.controller.events.feed import Feed
from changeover.controller.fleet import Fleet
from changeover.controller.follower import Follower
from changeover.controller.heartbeat import Heartbeat, Watches
from changeover.controller.loads import Loads
from changeover.controller.metrics.scrape import Scrape
from changeover.controller.metrics.snapshot import Snapshot, taken
from changeover.controller.recent import Archive
from changeover.controller.sequences import Sequences
from changeover.controller.steering import Steering
from changeover.controller.sweeper import Sweeper
from changeover.errors import Conflict, InvalidRequest, NotFound
from changeover.lifecycle import artifacts, seal
from changeover.lifecycle.source import is_model_name
from changeover.records.journal import Journal
from changeover.rollout.driver import Driver
from changeover.rollout.offer import plan_for
from changeover.settings import Settings
from changeover.transport.page import SERVER_WORD

log = logging.getLogger("changeover.controller")


class Service:
    """All models of this server."""

    def __init__(self, settings: Settings, journal: Journal, fleet: Fleet, term: int) -> None:
        self.incoming = settings.state / "incoming"
        self.drivers = Drivers(settings, journal, fleet, term)
        self.feed = Feed(journal)
        self.chronicle = Chronicle(journal)
        self.watch = Watch(settings, journal, fleet)
        self._settings = settings
        self._journal = journal
        self._fleet = fleet
        self._term = term
        self._sweeper = Sweeper(settings, journal, fleet, self.drivers.by_model.values)
        self.drivers.on_end = self._sweeper.wanted.set
        self._follower = Follower(settings, journal, self.drivers, arriving=self._sweeper.arriving)
        self.steering = Steering(
            settings, journal, known=self.drivers.known, made=self.drivers.made, arriving=self._sweeper.arriving
        )
        self.loads = Loads(settings, journal, self.drivers, arriving=self._sweeper.arriving)
        self.loads.noted = self._noted
        self.sequences = Sequences(self.drivers, fleet.visits)
        retuning = Retuning(settings, push=self.push, samples=self.samples)
        self.adaptive = AdaptiveWatch(journal, fleet.observatory, retuning.retune)
        self.scrape = Scrape(self._moment, self._look)
        self.taken_over = asyncio.Event()
        """Set when it is known which versions serve: before that the API would say that none does."""

    async def run(self) -> None:
        """Recover what the journal knows, then follow the repository, if it is to be followed."""
        async with asyncio.TaskGroup() as tasks:
            self.drivers.tasks = tasks
            tasks.create_task(self.feed.run())
            tasks.create_task(self.chronicle.run())
            await asyncio.to_thread(self._sweeper.leftovers)
            await self.drivers.recover(await asyncio.to_thread(self._journal.versions.models))
            self.taken_over.set()
            self.adaptive.tasks = tasks
            watches: Watches = {"alarms": self.watch, "watch over tunings": self.adaptive}
            heart = Heartbeat(self.feed, watches, self._fleet, self._journal)
            tasks.create_task(heart.run(self.drivers.by_model))
            if (webhook := self._webhook()) is not None:
                tasks.create_task(webhook.run())
            await self.drivers.idle()
            tasks.create_task(self._sweeper.run())
            if self._follows():
                await self._follower.run(lambda: tasks.create_task(self._open_for_business()))
                return
            if self._settings.explicit and not self._opened:
                await self.loads.at_start()
            await self._open_for_business()

    def _noted(self, verb: str, model: str) -> None:
        """What the data port asks for; nobody has a name there."""
        told = {"asked": verb, "by": None, "refused": None, "detail": None}
        self.chronicle.note("operator", model, told)

    def _webhook(self) -> Webhook | None:
        settings = self._settings
        if settings.alert_webhook is None:
            return None
        source = f"{settings.scheme}://{settings.host}:{settings.control_port}"
        form, firing = settings.alert_webhook_format, self.watch.firing
        return Webhook(settings.alert_webhook, form, source, self.feed, self._journal, firing)

    def _follows(self) -> bool:
        """Whether the repository is looked at; with `none` only by the first controller of a server."""
        control = self._settings.model_control
        return self._settings.repository is not None and (control == "poll" or (control == "none" and not self._opened))

    @property
    def _opened(self) -> bool:
        """Whether the server was ready before, perhaps under an earlier controller."""
        return bool(self._fleet.page.words[SERVER_WORD])

    async def _open_for_business(self) -> None:
        await self.drivers.idle()
        self._fleet.page.store(SERVER_WORD, 1)
        self._sweeper.wanted.set()
        log.info("ready: %s", ", ".join(self.drivers.serving()) or "no model yet")

    @property
    def _store(self) -> Path:
        return self._settings.state / "artifacts"

    # -- the API -------------------------------------------------------------------------------------------

    async def push(
        self,
        model: str,
        version: int | None,
        source: IO[bytes],
        *,
        tar: bool,
        unless: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """Seal a pushed version and start its rollout, unless by then it is not wanted any more.

        Raises:
            InvalidRequest: not a name for a model.
            Conflict: `rollout_under_way`: it is not wanted any more.
            ModelRejected: the body is not a version (`tar_*`, `artifact_*`).
            InvalidPlan: of the `model.yaml` in it.
        """
        if not is_model_name(model):
            raise InvalidRequest(
                f"{model!r} is no name for a model; take letters, digits, . _ -", reason="invalid_name"
            )
        async with self._sweeper.arriving():
            return await self._push(model, version, source, tar=tar, unless=unless)

    async def _push(
        self, model: str, version: int | None, source: IO[bytes], *, tar: bool, unless: Callable[[], bool]
    ) -> dict[str, Any]:
        self.drivers.check_place(model)
        artifact = await sealed_apart(seal.seal_tar if tar else seal.seal_file, source, self._store)
        plan = plan_for(artifact, model, self._settings)  # before the model gets its driver and its word
        artifact = await adapted_apart(artifact, plan.interface, self._store)
        if model not in self.drivers.by_model:  # nothing is to be seen of a model that cannot be recorded
            added = await asyncio.to_thread(self._journal.versions.add, model, version, artifact.digest, "push")
            version = added.version
        offer, rollout = await self.drivers.made(model).push(version, artifact, plan, unless)
        return {"model": model, "version": str(offer.version), "digest": artifact.digest, "rollout": rollout}

    async def models(self) -> list[dict[str, Any]]:
        """All models, as `GET /v1/models` shows them."""
        return await self._shown(sorted(self.drivers.by_model))

    async def model(self, name: str) -> dict[str, Any]:
        """One model."""
        (shown,) = await self._shown([self.drivers.known(name).model])
        return shown

    async def _shown(self, names: list[str]) -> list[dict[str, Any]]:
        present = {name: rollout_view.present(self.drivers.by_model[name]) for name in names}

        def read() -> list[views.Recorded]:
            sealed = frozenset(artifacts.digests(self._store))
            return [views.recorded(name, self._journal, sealed, present[name]) for name in names]

        await asyncio.gather(*(self.sequences.look(self.drivers.by_model[name]) for name in names))
        known = await asyncio.to_thread(read)
        shown = zip(names, known, strict=True)
        return [self._with_counts(self.drivers.by_model[name], recorded) for name, recorded in shown]

    def _with_counts(self, driver: Driver, recorded: views.Recorded) -> dict[str, Any]:
        more = {"sequences": self.sequences.counts(driver), "adaptive": self.adaptive.shown(driver)}
        return views.model(driver, recorded, self._fleet) | more

    async def samples(self, name: str) -> Archive:
        """Recent requests of a model, for its active version.

        Raises:
            Conflict: they are never kept (`samples_private`), or no version serves (`no_samples`).
        """
        driver = self.drivers.known(name)
        named = [loading for loading in (driver.active, driver.candidate, driver.standby) if loading is not None]
        if any(loading.plan.private for loading in named):
            raise Conflict(
                f"requests of {name!r} are not kept: its plan says `private: true`", reason="samples_private"
            )
        if driver.active is None or driver.active.entry is None:
            raise Conflict(f"no version of {name!r} serves, so nothing is asked of it", reason="no_samples")
        gateways = [member for member, gateway in self._fleet.gateways.items() if gateway.ready]
        return await self._fleet.recent.archive(name, gateways, driver.active.entry.signature)

    async def certificate(self, rollout: str) -> Any:
        """The certificate of a rollout."""
        found = await asyncio.to_thread(self._journal.rollouts.get, rollout)
        if found.certificate is None:
            raise NotFound(
                f"rollout {rollout} is {found.phase} and has no certificate (yet): it is written 5 s after the switch",
                reason="certificate_not_ready",
            )
        return msgspec.to_builtins(found.certificate)

    async def _look(self) -> None:
        for driver in list(self.drivers.by_model.values()):
            await self.sequences.look(driver)

    def _moment(self, recent_ns: int) -> Snapshot:
        ready, drivers = bool(self._fleet.page.words[SERVER_WORD]), self.drivers.by_model.values()
        return taken(drivers, self._fleet, ready=ready, term=self._term, recent_ns=recent_ns)

    def health(self) -> dict[str, Any]:
        """Whether the control plane is well."""
        return {
            "ready": bool(self._fleet.page.words[SERVER_WORD]),
            "term": self._term,
            "gateways": [{"pid": g.pid, "ready": g.ready} for g in self._fleet.gateways.values()],
        }
