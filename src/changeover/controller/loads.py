"""Models loaded and unloaded by name, as the repository calls of the data port want it.

A load is a changeover with the model's plan: what serves goes on until the switch. It ends when the version serves, or
with the reason why it never will.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from changeover.controller.apart import adapted_apart, sealed_apart
from changeover.controller.drivers import Drivers
from changeover.controller.index import READY, Entry, entries
from changeover.controller.overrides import NOTHING, Overrides
from changeover.controller.steering import merged
from changeover.errors import ChangeoverError, Conflict, InvalidRequest, NotFound
from changeover.lifecycle import artifacts, seal, settle
from changeover.lifecycle.artifacts import Artifact
from changeover.lifecycle.source import MODEL_FILE, is_model_name, scan, version_folder
from changeover.records.journal import Journal
from changeover.rollout.driver import Driver
from changeover.rollout.machine import Phase
from changeover.rollout.offer import Offer, named_versions, plan_for
from changeover.rollout.unloading import unload
from changeover.settings import Settings

_LOOK: Final = 0.05
"""Seconds between two looks at a rollout that a caller waits for, and at a folder that is being written."""
_PATIENCE: Final = 15.0
"""Seconds that a folder may go on changing while a load waits for it."""
_SERVES: Final = (Phase.WATCHING, Phase.SUCCEEDED)
_ENDED: Final = (Phase.ROLLED_BACK, Phase.FAILED)
log = logging.getLogger("changeover.controller")


class Loads:
    """Loads and unloads of all models.

    Args:
        arriving: while it is entered no sealed version is removed.

    Attributes:
        noted: hears what is asked for: the verb, and the model.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        drivers: Drivers,
        *,
        arriving: Callable[[], AbstractAsyncContextManager[object]],
    ) -> None:
        self.noted: Callable[[str, str], None] = lambda _verb, _model: None
        self._settings = settings
        self._journal = journal
        self._drivers = drivers
        self._arriving = arriving
        self._folder = None if settings.repository is None else Path(settings.repository)
        self._store = settings.state / "artifacts"

    async def at_start(self) -> None:
        """Begin to load what the settings name, unless a version of it serves by an earlier decision."""
        names = self._settings.wanted
        if "*" in names:
            names = tuple(await asyncio.to_thread(self._in_repository))
        for model in names:
            if model in self._drivers.serving():
                continue
            try:
                await self._begin(model, NOTHING)
            except ChangeoverError as error:
                log.error("%s is not loaded: %s", model, error.message)  # noqa: TRY400 - a sentence for the operator

    async def load(self, model: str, overrides: Overrides = NOTHING) -> tuple[str, ...]:
        """Have a version serve: the highest of the repository, or what comes with the call.

        Returns:
            Sentences on what of the overrides has no effect here; empty when all has.

        Raises:
            NotFound: nobody knows such a model (`model_not_found`), or such a version.
            InvalidRequest: no name for a model; or the version was refused, with the reason of that.
            Conflict: its folder is being written (`not_settled`), or the rollout waits for people (`rollout_paused`).
        """
        self.noted("load", model)
        rollout = await self._begin(model, overrides)
        if rollout is not None:
            await self._served(self._drivers.known(model), rollout)
        return overrides.ignored

    async def unload(self, model: str) -> tuple[str, ...]:
        """Have no version serve, and give the memory back. Of what nobody knows no version serves: that is no error.

        Returns:
            Sentences on what is odd; empty when nothing is.

        Raises:
            Internal: it was not done, and all is as it was.
        """
        self.noted("unload", model)
        driver = self._drivers.by_model.get(model)
        if driver is not None:
            await unload(driver)
        elif model not in await asyncio.to_thread(self._in_repository):
            return (_unknown(model).message,)
        return ()

    async def index(self, *, ready: bool) -> list[Entry]:
        """All versions of all models that are known here; with `ready` those that serve."""
        found = await asyncio.to_thread(self._in_repository)
        models = sorted(found.keys() | self._drivers.by_model.keys())
        rows: list[Entry] = []
        for model in models:
            loadings = await asyncio.to_thread(self._journal.loadings.of, model)
            versions = await asyncio.to_thread(self._journal.versions.of, model)
            rows += entries(model, found.get(model, []), self._drivers.by_model.get(model), loadings, versions)
        return [row for row in rows if row.state == READY or not ready]

    # -- the way of a load ---------------------------------------------------------------------------------

    async def _begin(self, model: str, overrides: Overrides) -> str | None:
        """Start the rollout, or find the one that is under way; None when the version serves already."""
        if not is_model_name(model):
            raise InvalidRequest(
                f"{model!r} is no name for a model; take letters, digits, . _ -", reason="invalid_name"
            )
        self._drivers.check_place(model)
        async with self._arriving():
            version, artifact, source = await self._sealed(model, overrides)
            plan = merged(plan_for(artifact, model, self._settings), overrides.plan)
            offer = Offer(version, await adapted_apart(artifact, plan.interface, self._store), plan, "load")
            await asyncio.to_thread(self._journal.versions.add, model, version, offer.artifact.digest, source)
            driver = self._drivers.made(model)
            await driver.taken_over.wait()
            current, active = driver.current, driver.active
            if current is not None and not current.rollout.phase.terminal and _same(current.offer, offer):
                return current.id
            if active is not None and _same(Offer(active.version, active.artifact, active.plan, "load"), offer):
                return None
            return await driver.offer(offer)

    async def _sealed(self, model: str, overrides: Overrides) -> tuple[int, Artifact, str]:
        """What is to serve, sealed, and where it came from."""
        if overrides.files:
            version, source = overrides.version or 1, "load"
            artifact = await sealed_apart(seal.seal_parts, overrides.files, self._store)
        else:
            there = (await asyncio.to_thread(self._in_repository)).get(model, [])
            named = named_versions(model, self._settings)
            if named is not None and overrides.version is None:
                there = [version for version in there if version in named]
                if not there:
                    raise NotFound(
                        f"the version_policy of {model!r} names {', '.join(map(str, named))}: none of them is there",
                        reason="version_not_found",
                    )
            version = overrides.version or max(there, default=0)
            if version not in there:
                return *await asyncio.to_thread(self._pushed, model, overrides.version), "push"
            artifact, source = await self._from_folder(model, version), "repository"
        return version, artifact, source

    async def _from_folder(self, model: str, version: int) -> Artifact:
        folder = version_folder(self._folder or Path(), model, version)
        loop = asyncio.get_running_loop()
        until = loop.time() + _PATIENCE
        while not await asyncio.to_thread(settle.is_still, folder, self._settings.settle):
            if loop.time() > until:
                raise Conflict(f"{model}/{version} is being written; load it when it is whole", reason="not_settled")
            await asyncio.sleep(_LOOK)
        return await sealed_apart(seal.seal_folder, folder, self._store)

    def _pushed(self, model: str, version: int | None) -> tuple[int, Artifact]:
        """The highest version that is sealed: what was pushed lies in no repository."""
        there = set(artifacts.digests(self._store))
        known = [r for r in self._journal.versions.of(model) if version in (None, r.version) and r.digest in there]
        if not known and (version is None or model not in self._drivers.by_model):
            raise _unknown(model)
        if not known:
            raise NotFound(f"model {model!r} has no version {version}", reason="version_not_found")
        newest = max(known, key=lambda r: (r.version, r.created))
        return newest.version, artifacts.open_artifact(self._store, newest.digest)

    def _in_repository(self) -> dict[str, list[int]]:
        """Versions with a model file, by model."""
        if self._folder is None:
            return {}
        return {
            model: [version for version, files in versions.items() if any(file.name == MODEL_FILE for file in files)]
            for model, versions in scan(self._folder).models.items()
        }

    async def _served(self, driver: Driver, rollout: str) -> None:
        """Wait until the rollout has switched, or is refused or taken back."""
        while True:
            phase, reason, detail = await self._where(driver, rollout)
            if phase in _SERVES:
                return
            if phase in _ENDED:
                raise InvalidRequest(
                    f"{driver.model} is not loaded: {detail or f'the rollout {rollout} is {phase}'}",
                    reason=reason or "model_rejected",
                )
            if phase is Phase.PAUSED:
                raise Conflict(
                    f"{driver.model}: the rollout {rollout} is paused and waits for an operator; "
                    "see `changeover rollout status`",
                    reason="rollout_paused",
                )
            await asyncio.sleep(_LOOK)

    async def _where(self, driver: Driver, rollout: str) -> tuple[Phase, str | None, str | None]:
        current = driver.current
        if current is not None and current.id == rollout:
            return current.rollout.phase, current.rollout.reason, current.rollout.detail
        record = await asyncio.to_thread(self._journal.rollouts.get, rollout)
        return Phase(record.phase), _text(record.record.get("reason")), _text(record.record.get("detail"))


def _same(one: Offer, other: Offer) -> bool:
    """The same bytes under the same number, with the same options and sequences."""
    if one.ref != other.ref or one.plan.sequence != other.plan.sequence:
        return False
    return one.plan.runtime.digest == other.plan.runtime.digest


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _unknown(model: str) -> NotFound:
    return NotFound(
        f"unknown model {model!r}: it is neither in the repository nor was it ever pushed", reason="model_not_found"
    )
