"""Taking up a rollout that the last term left without an end: its record, and the table in force, say where it stands.

The table decides. It gives everything to the target, or a step's share, or nothing any more, or does not name it. After
a restart of the machine no candidate lives: then a rollout at a step loads it again, and goes on at the same step.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from changeover.clock import seconds_since
from changeover.errors import ChangeoverError, InvalidPlan
from changeover.lifecycle import artifacts
from changeover.lifecycle.artifacts import Artifact
from changeover.records.certificate import Certificate, Step, VersionRef
from changeover.records.rollouts import RolloutRecord
from changeover.rollout.course import Place
from changeover.rollout.machine import Event, Phase, Rollout
from changeover.rollout.offer import Offer, plan_for
from changeover.rollout.plan import Plan
from changeover.rollout.receipt import certified
from changeover.rollout.recording import judge_on_record, plan_on_record, restored
from changeover.rollout.tables import weight_of
from changeover.transport.control import GateResult, LoadingEntry, RoutingTable

if TYPE_CHECKING:
    from changeover.rollout.driver import Driver
    from changeover.rollout.loading import Loading

_LOOKED_BACK = 5
"""Rollouts of a model whose certificates the last term may still owe: each waits some seconds for its numbers."""
log = logging.getLogger("changeover.controller")


def plan_of_proven(driver: Driver, artifact: Artifact) -> Plan:
    """The plan of a version that was proven under it; a mistake made in the file since then takes nothing down."""
    try:
        return plan_for(artifact, driver.model, driver.settings)
    except InvalidPlan as error:
        log.error("%s: %s The defaults count until it is mended.", driver.model, error.message)  # noqa: TRY400
        return Plan()


async def take_up(driver: Driver, record: RolloutRecord, decided: RoutingTable | None, *, cold: bool) -> None:
    """Go on with a rollout, now or when its turn comes.

    Args:
        driver: of its model.
        record: as the last term left it.
        decided: the table in force; after a restart of the machine the one that was.
        cold: the machine was restarted, so only what serves lives.
    """
    try:
        artifact = await asyncio.to_thread(artifacts.verify_sealed, driver.store, record.target.digest)
        plan = plan_on_record(record) or plan_of_proven(driver, artifact)
    except ChangeoverError as error:
        kept = {**record.record, "reason": error.reason, "detail": error.message}
        await asyncio.to_thread(driver.journal.rollouts.move, record.id, Phase.FAILED, record=kept, ended=True)
        return
    offer = Offer(record.target.version, artifact, plan, "restart")
    if driver.queue.busy:
        driver.queue.resume(record.id, offer, lambda: _resume(driver, record, offer, None, cold=cold))
    else:
        await _resume(driver, record, offer, decided, cold=cold)


async def certify_ended(driver: Driver) -> None:
    """Write the certificates of the newest rollouts that the last term ended, where it did not come to that."""
    rollouts = driver.journal.rollouts
    for record in await asyncio.to_thread(rollouts.of, driver.model, limit=_LOOKED_BACK):
        try:
            certificate = owed_certificate(record)
        except msgspec.ValidationError as error:  # another release wrote it
            log.warning("%s has no certificate, and its record cannot be read: %s", record.id, error)
            continue
        if certificate is not None:
            await asyncio.to_thread(rollouts.certify, record.id, certificate)


def owed_certificate(record: RolloutRecord) -> Certificate | None:
    """The certificate of an ended rollout that has none, or one of before its end; None when nothing is missing.

    It says what is on record. What the last term had measured and not written down is lost, and not made up.
    """
    kept, written = record.record, record.certificate
    if record.ended is None or not kept.get("steps") or (written is not None and written.outcome == record.phase):
        return None
    by = str(kept.get("by") or "plan")
    if written is not None:
        return msgspec.structs.replace(written, outcome=record.phase, decided_by=by, ended=record.ended)
    gates = msgspec.convert(kept.get("gates", []), list[GateResult])
    refused = next((gate.gate for gate in gates if gate.result == "failed"), None)
    return Certificate(
        model=record.model,
        rollout=record.id,
        source=msgspec.convert(kept.get("from"), VersionRef | None) if "from" in kept else record.source,
        target=record.target,
        outcome=record.phase,
        decided_by=f"gate:{refused}" if refused and record.phase == Phase.FAILED else by,
        started=record.started,
        ended=record.ended,
        gates=certified(gates),
        steps=tuple(msgspec.convert(kept["steps"], list[Step])),
    )


async def _resume(
    driver: Driver, record: RolloutRecord, offer: Offer, decided: RoutingTable | None, *, cold: bool
) -> None:
    await driver.end_window()
    event, entry = found(driver, record, decided, cold=cold)
    active, switched = driver.active, event is Event.FOUND_SWITCHED
    current = driver.take_in_hand(record.id, offer, driver.standby if switched else active)
    current.receipt.restore(record, switched=switched)
    current.certificate = record.certificate
    stands = decided is not None and event in (Event.FOUND_SPLIT, Event.FOUND_SWITCHED)
    current.memory = current.known_before = judge_on_record(record, told_again=stands and not cold)
    current.history = msgspec.convert(record.record.get("history", []), list[dict[str, Any]])
    current.rollout = restored(current.rollout, record)
    if switched:
        current.candidate = active
        current.window = _left(offer.plan.rollout.undo_window, record) if driver.standby else 0.0
    elif entry is not None and decided is not None:
        current.candidate = driver.loader.live.get(entry.loading)
        if event is Event.FOUND_SPLIT:
            current.rollout = replace(current.rollout, stands=_place(current.rollout, decided, entry))
    if decided is not None and stands:
        driver.vigil.hearing.inherit(decided.epoch)
    await driver.feed(current, event)


def found(
    driver: Driver, record: RolloutRecord, decided: RoutingTable | None, *, cold: bool
) -> tuple[Event, LoadingEntry | None]:
    """What the table in force makes of a rollout, and the target's entry in it.

    The target may serve already without this rollout: the same bytes were offered again.
    """
    if decided is None or Phase(record.phase) in (Phase.PENDING, Phase.VALIDATING):
        return Event.FOUND_UNSWITCHED, None
    number, told = record.record.get("loading"), [e.loading for e in decided.loadings]
    if isinstance(number, int) and number > max(told, default=0):
        return Event.FOUND_UNSWITCHED, None  # numbers only grow: it was on record, and in no table yet
    entries = [e for e in decided.loadings if _is_of(e, record)]
    known = number in told and (not cold or len(entries) > 1)  # a cold start gives what serves another number
    if known:
        entries = [e for e in decided.loadings if e.loading == number]
    entry = next((e for e in entries if e.loading == decided.candidate), None) or next(iter(entries), None)
    if entry is not None and entry.loading == decided.candidate:
        if not decided.step:
            return Event.FOUND_BACK, entry
        return (Event.FOUND_UNSWITCHED, None) if cold else (Event.FOUND_SPLIT, entry)
    undone = cold and record.phase == Phase.ROLLING_BACK  # a cold start takes the other one then
    if decided.active == number and not undone if known else _serves(driver.active, record):
        return Event.FOUND_SWITCHED, entry
    if entry is None or entry.loading == decided.active:
        return Event.FOUND_UNSWITCHED, None
    return Event.FOUND_BACK, entry


def _serves(active: Loading | None, record: RolloutRecord) -> bool:
    """Whether the target serves, by its bytes: the source's loading may have them too, under other options.

    What was not promoted yet is loaded again then, which takes nothing down.
    """
    if active is None or not _is_of(active, record):
        return False
    source = msgspec.convert(record.record.get("from"), VersionRef | None) or record.source
    return Phase(record.phase) in (Phase.WATCHING, Phase.ROLLING_BACK) or source != record.target


def _is_of(loading: Loading | LoadingEntry, record: RolloutRecord) -> bool:
    """Whether it is of the target's bytes. They may be the source's too, under other options."""
    return (int(loading.version), loading.digest) == (record.target.version, record.target.digest)


def _place(rollout: Rollout, table: RoutingTable, entry: LoadingEntry) -> Place:
    """Where a step's table stands."""
    names, weight = rollout.course.names, weight_of(table, entry.loading)
    return Place(names.index(table.step) if table.step in names else -1, weight)


def _left(window: float, record: RolloutRecord) -> float:
    """Seconds of an undo window that are left."""
    until = record.record.get("undo_until")
    if record.phase != Phase.WATCHING or not isinstance(until, str):
        return window
    return min(max(-seconds_since(until), 0.0), window)
