"""Taking over a model: from a living server (a new term), or from the journal alone (a cold start), DESIGN §5.10.

New term: a `commit` beyond the page rolls forward, a page beyond the `commit` gets its record, an `intend` alone is
discarded; what was being proven is given up and offered again. Cold start: the version that was chosen serves.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from changeover.errors import ChangeoverError
from changeover.lifecycle import artifacts
from changeover.records.epochs import EpochRecord
from changeover.records.rollouts import RolloutRecord
from changeover.rollout.current import Offer
from changeover.rollout.loading import Loading
from changeover.rollout.machine import Event, Phase, Rollout
from changeover.transport.control import LoadingEntry, RoutingTable, encode

if TYPE_CHECKING:
    from changeover.rollout.driver import Driver

log = logging.getLogger("changeover.controller")


async def recover(driver: Driver) -> None:
    """Bring one model back to what was decided."""
    journal, model = driver.journal, driver.model
    await asyncio.to_thread(journal.epochs.discard_intents, model)
    committed = await asyncio.to_thread(journal.epochs.committed, model)
    unfinished = [r for r in await asyncio.to_thread(journal.rollouts.unfinished) if r.model == model]
    table = await _table_in_force(driver, committed)
    if table is not None:
        _adopt(driver, table)
    driver.taken_over.set()
    _drop_strangers(driver, table)
    if table is None and committed is not None:
        await _cold_start(driver, msgspec.json.decode(committed.table, type=RoutingTable))
    for record in unfinished:
        await _go_on(driver, record)


async def _table_in_force(driver: Driver, committed: EpochRecord | None) -> RoutingTable | None:
    """The page's table after rolling forward or paying the record; None when the page is empty (cold start)."""
    switch, journal, fleet = driver.switch, driver.journal, driver.fleet
    epoch = fleet.epoch(switch.word)
    if not epoch:
        return None
    tables = {r.epoch: r for r in fleet.tables() if r.word == switch.word}
    if committed is not None and committed.epoch > epoch and committed.epoch in tables:
        await fleet.prepare(switch.word, [committed.epoch])
        epoch = committed.epoch
        fleet.store(switch.word, epoch)
    table = msgspec.json.decode(tables[epoch].data, type=RoutingTable)
    if committed is None or committed.epoch < epoch:
        await asyncio.to_thread(journal.epochs.record_owed, driver.model, epoch, encode(table), term=switch.term)
    switch.table = table
    return table


def _adopt(driver: Driver, table: RoutingTable) -> None:
    """The workers named by the table in force go on; their loadings are known again."""
    for entry in table.loadings:
        artifact = artifacts.open_artifact(driver.store, entry.digest)
        loading = driver.loader.adopt(entry, artifact, driver.plan_for(artifact))
        if entry.loading == table.active:
            driver.commands.active = loading
        elif entry.loading == table.standby:
            driver.commands.standby = loading


def _drop_strangers(driver: Driver, table: RoutingTable | None) -> None:
    """Workers that no table names: a candidate of the last term, or one that was being released."""
    named = {entry.loading for entry in table.loadings} if table else set()
    for number in driver.fleet.loadings_of(driver.model) - named:
        driver.fleet.retire(number, 2.0)


async def _cold_start(driver: Driver, table: RoutingTable) -> None:
    """Load what was chosen; when that cannot be, the standby of then."""
    entries = sorted(table.loadings, key=lambda e: e.loading != table.active)
    for entry in entries:
        try:
            loading = await _load(driver, entry)
        except ChangeoverError as error:
            log.error("%s/%s cannot be loaded again: %s", driver.model, entry.version, error.message)  # noqa: TRY400
            continue
        await driver.commands.serve(loading)
        log.info("%s/%s serves again, as was decided", driver.model, entry.version)
        return


async def _load(driver: Driver, entry: LoadingEntry) -> Loading:
    artifact = await asyncio.to_thread(artifacts.verify_sealed, driver.store, entry.digest)
    loading = await driver.loader.load(int(entry.version), artifact, driver.plan_for(artifact))
    await driver.loader.ready(loading, None)
    return loading


async def _go_on(driver: Driver, record: RolloutRecord) -> None:
    """Take up a rollout that the last term left without an end, from what is found in force."""
    try:
        artifact = await asyncio.to_thread(artifacts.verify_sealed, driver.store, record.target.digest)
        offer = Offer(record.target.version, artifact, driver.plan_for(artifact), "restart")
    except ChangeoverError as error:
        kept = {**record.record, "reason": error.reason, "detail": error.message}
        await asyncio.to_thread(driver.journal.rollouts.move, record.id, Phase.FAILED, record=kept, ended=True)
        return
    source = str(record.source.version) if record.source else None
    rollout = Rollout(driver.model, source, str(record.target.version), Phase(record.phase))
    current = driver.take_in_hand(record.id, offer, rollout)
    current.certified = record.certificate is not None
    active = driver.active
    if active is None or (active.version, active.digest) != (record.target.version, record.target.digest):
        await driver.resume(current, Event.FOUND_UNSWITCHED)
        return
    current.candidate = active
    current.window = _left(offer.plan.rollout.undo_window, record) if driver.standby else 0.0
    await driver.resume(current, Event.FOUND_SWITCHED)


def _left(window: float, record: RolloutRecord) -> float:
    """Seconds of an undo window that are left; it began when the phase was recorded."""
    if record.phase != Phase.WATCHING:
        return window
    gone = (datetime.now(UTC) - datetime.fromisoformat(record.updated)).total_seconds()
    return min(max(window - gone, 0.0), window)
