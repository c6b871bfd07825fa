"""Versions found in the repository: which of them are news, and what becomes of one that the disk stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from changeover.errors import ChangeoverError
from changeover.records.certificate import VersionRef
from changeover.rollout.machine import Phase
from changeover.rollout.offer import Offer

if TYPE_CHECKING:
    from changeover.rollout.driver import Driver

_NO_VERDICT: Final = frozenset({"journal_unwritable", "record_owed", "gateway_silent", "prover_killed", "sample_late"})
"""Reasons of a failure that say nothing of the version: the server could not try it, or not to the end."""
log = logging.getLogger("changeover.controller")


async def is_news(driver: Driver, ref: VersionRef, *, tell: bool = True) -> bool:
    """Whether a version found is to be rolled out.

    Not news are the active version, what was tried before (with these bytes), and lower numbers than the active
    one's. While no version serves, a lower one is, and so is one that once served. A rollout that failed by the
    server's fault was no try.

    Args:
        driver: of the version's model.
        ref: what was found.
        tell: say in the log why one that was tried is no news.

    Raises:
        Internal: the journal cannot be read.
    """
    active = driver.active
    if active is not None and (ref.version < active.version or ref == VersionRef(active.version, active.digest)):
        return False
    tried = await asyncio.to_thread(driver.journal.rollouts.latest_for, driver.model, ref)
    if tried is None:
        return True
    phase, reason = tried.phase, tried.record.get("reason")
    if driver.current is not None and driver.current.id == tried.id:  # the journal may be behind
        phase, reason = driver.current.rollout.phase, driver.current.rollout.reason
    if phase == Phase.FAILED and reason in _NO_VERDICT:
        return True
    if active is None and phase == Phase.SUCCEEDED:
        return True
    if tell:
        log.info("%s/%d was tried before (%s is %s)", driver.model, ref.version, tried.id, phase)
    return False


async def consider(driver: Driver, offer: Offer, begin: Callable[[Offer], Awaitable[None]]) -> bool:
    """Begin the rollout of a version found, if it is news; whether it has to be considered again later.

    Args:
        driver: of the version's model.
        offer: what was found; it leaves `driver.waiting` when it is dealt with.
        begin: opens a rollout and carries it as far as it goes.
    """
    if offer not in driver.waiting:
        return False  # other bytes of the same number were dealt with since
    try:
        again = await is_news(driver, offer.ref)
        if again:
            await begin(offer)
            again = await is_news(driver, offer.ref, tell=False)  # still, when it was stopped by the server's fault
    except ChangeoverError as error:
        log.error("%s/%d: %s", driver.model, offer.version, error.message)  # noqa: TRY400 - a sentence for the operator
        again = error.fault == "server"
    if again:
        log.warning("%s/%d is tried again later", driver.model, offer.version)
        return True
    # What was found earlier of the same number, and still waits for the disk, is out of date.
    older, newer = _parted(driver.waiting, offer)
    driver.waiting[:] = [other for other in older if other.version != offer.version] + newer
    return False


def _parted(waiting: list[Offer], offer: Offer) -> tuple[list[Offer], list[Offer]]:
    at = waiting.index(offer)
    return waiting[:at], waiting[at + 1 :]
