"""What people ask of rollouts: start one, look at it, pause, resume, promote, abort, undo it, set its weight."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import msgspec

from changeover.controller import rollout_view
from changeover.controller.apart import adapted_apart, sealed_apart
from changeover.controller.bodies import Explanation, RolloutBody, RolloutStatus, StartBody
from changeover.controller.explanation import explained
from changeover.errors import Conflict, InvalidRequest, NotFound
from changeover.lifecycle import artifacts, seal, settle
from changeover.lifecycle.artifacts import Artifact
from changeover.lifecycle.source import is_model_name, version_folder
from changeover.records.certificate import VersionRef
from changeover.records.journal import Journal
from changeover.records.versions import VersionRecord
from changeover.rollout.driver import Driver
from changeover.rollout.offer import Offer, plan_for
from changeover.rollout.plan import Plan, plan_of
from changeover.rollout.quantities import share
from changeover.settings import Settings
from changeover.transport.control import BUCKETS

_VERBS: Final[dict[str, Callable[[Driver], Awaitable[object]]]] = {
    "pause": lambda driver: driver.pause(),
    "resume": lambda driver: driver.resume(),
    "promote": lambda driver: driver.promote(),
    "abort": lambda driver: driver.abort(),
    "undo": lambda driver: driver.undo(),
}


class Steering:
    """The rollouts of all models, as the API asks for them.

    Args:
        known: the driver of a model; raises `NotFound` for one that is unknown.
        made: the same for a model that has versions and was never rolled out: it gets its driver now.
        arriving: while it is entered no sealed version is removed.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        *,
        known: Callable[[str], Driver],
        made: Callable[[str], Driver],
        arriving: Callable[[], AbstractAsyncContextManager[object]],
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._known = known
        self._made = made
        self._arriving = arriving
        self._store = settings.state / "artifacts"

    # -- looking -------------------------------------------------------------------------------------------

    async def status(self, model: str) -> RolloutStatus:
        """The model's present or latest rollout.

        Raises:
            NotFound: unknown model, or it has had no rollout (`rollout_not_found`).
        """
        driver = self._known(model)
        present = rollout_view.present(driver)
        if present is not None:
            return await self.by_id(present)
        newest = await asyncio.to_thread(self._journal.rollouts.of, model, limit=1)
        if not newest:
            raise NotFound(f"model {model!r} has had no rollout yet", reason="rollout_not_found")
        return rollout_view.status(newest[0], driver)

    async def by_id(self, rollout: str) -> RolloutStatus:
        """One rollout.

        Raises:
            NotFound: there is none with this id.
        """
        found = await asyncio.to_thread(self._journal.rollouts.get, rollout)
        return rollout_view.status(found, self._known(found.model))

    async def of(self, model: str) -> list[RolloutBody]:
        """The newest rollouts of a model, newest first."""
        driver = self._known(model)
        found = await asyncio.to_thread(self._journal.rollouts.of, model)
        return [rollout_view.summary(record, driver) for record in found]

    async def explain(self, rollout: str) -> Explanation:
        """Why a rollout is where it is."""
        return Explanation(rollout=rollout, sentences=explained(await self.by_id(rollout)))

    # -- steering ------------------------------------------------------------------------------------------

    async def steer(self, model: str, verb: str) -> RolloutStatus:
        """Have one of the verbs done; returns when it is.

        Raises:
            NotFound: unknown model.
            Conflict: not possible at present; the reason says why.
        """
        driver = self._known(model)
        await _VERBS[verb](driver)
        return await self.status(model)

    async def weigh(self, model: str, weight: str | float) -> RolloutStatus:
        """Give the candidate this share of the traffic.

        Raises:
            InvalidRequest: no share (`invalid_weight`).
            Conflict: not possible at present.
        """
        driver = self._known(model)
        await driver.set_weight(buckets_of(weight))
        return await self.status(model)

    async def start(self, model: str, asked: StartBody) -> RolloutStatus:
        """Begin a rollout to a version that the journal or the repository knows; it waits for one under way.

        Raises:
            NotFound: no such model, no such version (`version_not_found`).
            InvalidPlan: of the version, or the fields of `asked.plan`.
            Conflict: it serves already (`already_active`), or is on its way (`already_under_way`).
        """
        number, digest = version_asked(asked.version)
        async with self._arriving():
            offer = await self._offer(model, number, digest, asked.plan or {})
            driver = self._made(model)
            _check_news(driver, offer)
            rollout = await driver.offer(offer)
        return await self.by_id(rollout)

    async def _offer(self, model: str, number: int, digest: str, fields: dict[str, Any]) -> Offer:
        """The version as the plan wants it, which is then known under its number."""
        artifact = await self._as_it_came(model, number, digest)
        plan = merged(await asyncio.to_thread(plan_for, artifact, model, self._settings), fields)
        made = await adapted_apart(artifact, plan.interface, self._store)
        if made.digest != artifact.digest:
            await asyncio.to_thread(self._journal.versions.add, model, number, made.digest, "operator")
        return Offer(number, made, plan, "operator")

    async def _as_it_came(self, model: str, number: int, digest: str) -> Artifact:
        known = await asyncio.to_thread(self._journal.versions.of, model)
        artifact = await asyncio.to_thread(self._sealed, known, number, digest)
        artifact = artifact or await self._seal_found(model, number, digest)
        if artifact is not None:
            return artifact
        if not known:
            self._known(model)  # the sentence for a model that nobody knows
        there = frozenset(await asyncio.to_thread(artifacts.digests, self._store))
        names = ", ".join(f"{r.version}@{r.digest[:4]}" for r in known if r.digest in there) or "none"
        wanted = f"{number}@{digest}" if digest else str(number)
        raise NotFound(
            f"model {model!r} has no version {wanted}, or has it no more; there are: {names}",
            reason="version_not_found",
        )

    def _sealed(self, known: list[VersionRecord], number: int, digest: str) -> Artifact | None:
        """The newest sealed bytes of a number that are still there."""
        there = frozenset(artifacts.digests(self._store))
        found = [r for r in known if r.version == number and r.digest.startswith(digest) and r.digest in there]
        if not found:
            return None
        return artifacts.open_artifact(self._store, max(found, key=lambda r: r.created).digest)

    async def _seal_found(self, model: str, number: int, digest: str) -> Artifact | None:
        """What lies in the repository under a number, sealed now: it was removed, or is not taken yet.

        That there is nothing, or nothing whole, is said at once: only what is copied waits for other copies.
        """
        if self._settings.repository is None or not is_model_name(model):
            return None
        folder = version_folder(Path(self._settings.repository), model, number)
        if not await asyncio.to_thread(folder.is_dir):
            return None
        await asyncio.to_thread(self._check_still, folder)
        artifact = await sealed_apart(self._seal_still, folder)
        if not artifact.digest.startswith(digest):
            return None
        await asyncio.to_thread(self._journal.versions.add, model, number, artifact.digest, "repository")
        return artifact

    def _seal_still(self, folder: Path) -> Artifact:
        self._check_still(folder)  # it may have waited for minutes
        return seal.seal_folder(folder, self._store)

    def _check_still(self, folder: Path) -> None:
        if not settle.is_still(folder, self._settings.settle):
            what = f"{folder.name} of {folder.parent.name}"
            raise Conflict(f"{what} is being written; try again in a moment", reason="not_settled")


def _check_news(driver: Driver, offer: Offer) -> None:
    active, current = driver.active, driver.current
    if active is not None and VersionRef(active.version, active.digest) == offer.ref:
        raise Conflict(f"{driver.model}: version {offer.version} serves already", reason="already_active")
    if current is not None and not current.rollout.phase.terminal and current.offer.ref == offer.ref:
        raise Conflict(
            f"{driver.model}: version {offer.version} is on its way already, as {current.id}",
            reason="already_under_way",
        )


def version_asked(asked: str | int) -> tuple[int, str]:
    """Number and beginning of the digest of `4` or `4@ab12`.

    Raises:
        InvalidRequest: neither (`invalid_version`).
    """
    number, at, digest = str(asked).partition("@")
    good = number.isascii() and number.isdigit() and len(number) <= 10 and 0 < int(number) < 2**31
    if not good or (at and not (digest and set(digest) <= set("0123456789abcdef"))):
        raise InvalidRequest(f"version: expected a number, or one like 4@ab12, got {asked!r}", reason="invalid_version")
    return int(number), digest


def buckets_of(weight: str | float) -> int:
    """A share as buckets of 10,000.

    Raises:
        InvalidRequest: it is none, or no multiple of 0.01 % (`invalid_weight`).
    """
    try:
        buckets = share(weight) * BUCKETS
    except ValueError as error:
        raise InvalidRequest(f"weight: {error}", reason="invalid_weight") from None
    if not 0 <= buckets <= BUCKETS or abs(buckets - round(buckets)) > 1e-6:
        raise InvalidRequest(f"weight: expected 0% to 100% in steps of 0.01%, got {weight!r}", reason="invalid_weight")
    return round(buckets)


def merged(plan: Plan, fields: Mapping[str, object]) -> Plan:
    """A plan in which some fields count over its own; a list, such as `steps`, counts as a whole.

    Raises:
        InvalidPlan: a field is unknown or wrong.
    """
    return plan_of(_over(msgspec.to_builtins(plan), dict(fields)), "plan") if fields else plan


def _over(below: object, above: object) -> object:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return {**below, **{name: _over(below.get(name), value) for name, value in above.items()}}
