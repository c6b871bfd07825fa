"""Taking over a model: from a living server (a new term), or from the journal alone (a cold start), DESIGN §5.10.

New term: a `commit` beyond the page rolls forward, a page beyond the `commit` gets its record, an `intend` alone is
discarded; what was being proven is given up and offered again. Cold start: the version that was chosen serves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING

import msgspec

from changeover.clock import seconds_since
from changeover.errors import ChangeoverError, ModelRejected
from changeover.lifecycle import artifacts
from changeover.lifecycle.artifacts import Artifact
from changeover.lifecycle.manifest import manifest_of
from changeover.lifecycle.states import LoadingState
from changeover.records.epochs import EpochRecord
from changeover.records.loadings import LoadingRecord
from changeover.rollout import resumption
from changeover.rollout.loading import Loading
from changeover.rollout.machine import Phase
from changeover.transport.control import LoadingEntry, RoutingTable, encode

if TYPE_CHECKING:
    from changeover.rollout.driver import Driver

_LOST = ("controller_restarted", "the controller ended while this loading was under way")
log = logging.getLogger("changeover.controller")


async def recover(driver: Driver) -> None:
    """Bring one model back to what was decided."""
    try:
        await _recover(driver)
    finally:
        driver.recovered.set()


async def _recover(driver: Driver) -> None:
    journal, model = driver.journal, driver.model
    if await asyncio.to_thread(journal.epochs.intents, model):
        await _tolerantly(driver, asyncio.to_thread(journal.epochs.discard_intents, model))
    committed = await asyncio.to_thread(journal.epochs.committed, model)
    unfinished = [r for r in await asyncio.to_thread(journal.rollouts.unfinished) if r.model == model]
    table = await _table_in_force(driver, committed)
    if table is not None:
        _adopt(driver, table)
    driver.taken_over.set()
    await _drop_strangers(driver, table)
    decided = table
    if table is None and committed is not None:
        decided = msgspec.json.decode(committed.table, type=RoutingTable)
        undone = [record.target.digest for record in unfinished if record.phase == Phase.ROLLING_BACK]
        await _cold_start(driver, decided, undone)
    if all(Phase(record.phase) in (Phase.PENDING, Phase.VALIDATING) for record in unfinished):
        await _tolerantly(driver, driver.commands.let_go())  # what was kept warm belongs to a rollout that has ended
    await _tolerantly(driver, resumption.certify_ended(driver))
    for record in unfinished:
        await _tolerantly(driver, resumption.take_up(driver, record, decided, cold=table is None))


async def _tolerantly(driver: Driver, step: Awaitable[object]) -> None:
    """Do a step of the recovery that the others can do without."""
    try:
        await step
    except ChangeoverError as error:
        log.error("%s: recovery goes on without a step: %s", driver.model, error.message)  # noqa: TRY400


async def _table_in_force(driver: Driver, committed: EpochRecord | None) -> RoutingTable | None:
    """The page's table after rolling forward or paying the record; None when the page is empty (cold start)."""
    switch, journal, fleet = driver.switch, driver.journal, driver.fleet
    epoch = fleet.epoch(switch.word)
    if not epoch:
        return None
    tables = {r.epoch: r for r in fleet.tables() if r.word == switch.word}
    if committed is not None and committed.epoch > epoch and committed.epoch in tables:
        # When the gateways cannot, the table in force goes on: the rollout is then found not switched.
        await _tolerantly(driver, _roll_forward(driver, committed.epoch))
        epoch = fleet.epoch(switch.word)
    table = msgspec.json.decode(tables[epoch].data, type=RoutingTable)
    if committed is None or committed.epoch < epoch:
        owed = journal.epochs.record_owed
        try:
            await asyncio.to_thread(owed, driver.model, epoch, encode(table), term=switch.term)
        except ChangeoverError:
            switch.owe(table)
    switch.table = table
    return table


async def _roll_forward(driver: Driver, epoch: int) -> None:
    word = driver.switch.word
    await driver.fleet.prepare(word, [epoch])
    driver.fleet.store(word, epoch)


def _adopt(driver: Driver, table: RoutingTable) -> None:
    """The workers named by the table in force go on; their loadings are known again."""
    for entry in table.loadings:
        loading = _adopted(driver, entry)
        if entry.loading == table.active:
            driver.commands.active = loading
        elif entry.loading == table.standby:
            driver.commands.standby = loading


def _adopted(driver: Driver, entry: LoadingEntry) -> Loading:
    artifact = _artifact(driver, entry.digest)
    return driver.loader.adopt(entry, artifact, resumption.plan_of_proven(driver, artifact))


def _artifact(driver: Driver, digest: str) -> Artifact:
    """What a living worker was loaded from; one that is damaged since then is noticed when it is loaded again."""
    try:
        return artifacts.open_artifact(driver.store, digest)
    except ModelRejected as error:
        log.error("%s: %s What was loaded from it serves on.", driver.model, error.message)  # noqa: TRY400
        return Artifact(digest, driver.store / digest, manifest_of([]))


async def _drop_strangers(driver: Driver, table: RoutingTable | None) -> None:
    """Workers that no table names: a candidate of the last term ends, what has served ends when it has drained."""
    named = {entry.loading for entry in table.loadings} if table else set()
    left = {entry.loading: entry for entry in table.draining} if table else {}
    kept = set(named)
    loadings = driver.journal.loadings
    records = {record.id: record for record in await asyncio.to_thread(loadings.of, driver.model)}
    for number in driver.fleet.loadings_of(driver.model) - named:
        if number in left:
            kept.add(number)
            driver.commands.releases.beside(_draining(driver, left[number], records.get(number)))
            continue
        driver.fleet.retire(number, 2.0)
        driver.fleet.forget(number)
    for record in records.values():
        if record.id not in kept and not LoadingState(record.state).ended:
            await _tolerantly(driver, asyncio.to_thread(loadings.move, record.id, LoadingState.FAILED, failure=_LOST))


def _draining(driver: Driver, entry: LoadingEntry, record: LoadingRecord | None) -> Loading:
    """It goes on draining, for as long as it still may."""
    loading = _adopted(driver, entry)
    if record is not None and record.state == LoadingState.DRAINING:
        loading.state, loading.drained = LoadingState.DRAINING, max(seconds_since(record.updated), 0.0)
    return loading


async def _cold_start(driver: Driver, table: RoutingTable, undone: list[str]) -> None:
    """Load what was chosen, and what was being undone last; when that cannot be, the standby of then.

    A candidate is loaded by its rollout, which goes on.
    """
    chosen = [entry for entry in table.loadings if entry.loading != table.candidate]
    entries = sorted(chosen, key=lambda e: (e.digest in undone, e.loading != table.active))
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
    loading = await driver.loader.load(int(entry.version), artifact, resumption.plan_of_proven(driver, artifact))
    await driver.loader.ready(loading, None)
    return loading
