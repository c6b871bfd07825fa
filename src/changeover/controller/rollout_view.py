"""What the control API shows of a rollout (pure): the journal's record, and what the driver knows since then."""

from __future__ import annotations

from typing import Any

import msgspec

from changeover.controller.bodies import GateBody, RolloutBody, RolloutStatus, VersionName, WeightBody
from changeover.records.rollouts import RolloutRecord
from changeover.rollout.current import Current
from changeover.rollout.driver import Driver
from changeover.rollout.machine import Phase


def summary(record: RolloutRecord, driver: Driver) -> RolloutBody:
    """A rollout in short."""
    return RolloutBody(**_short(record, driver))


def status(record: RolloutRecord, driver: Driver) -> RolloutStatus:
    """A rollout with all that is known of it."""
    gates = [GateBody(**_gate(gate)) for gate in _kept(record, _in_hand(record, driver)).get("gates", [])]
    return RolloutStatus(**_short(record, driver), gates=gates)


def present(driver: Driver) -> str | None:
    """Id of the rollout in hand as long as it has no end: what people mean, though others may wait."""
    current = driver.current
    return current.id if current is not None and not current.rollout.phase.terminal else None


def _short(record: RolloutRecord, driver: Driver) -> dict[str, Any]:
    current = _in_hand(record, driver)
    kept = _kept(record, current)
    opened_from = msgspec.to_builtins(record.source) if record.source else None
    now = current.rollout if current else None  # the journal may be behind
    return {
        "id": record.id,
        "model": record.model,
        "source": _name(kept.get("from") or opened_from),
        "target": _name(msgspec.to_builtins(record.target)),
        "phase": str(now.phase if now else record.phase),
        "reason": now.reason if now else kept.get("reason"),
        "detail": now.detail if now else kept.get("detail"),
        "started": record.started,
        "updated": record.updated,
        "ended": record.ended,
        "weight": _weight(current, driver) if current else None,
        "undo_until": kept.get("undo_until") if driver.can_undo(record.id) else None,
    }


def _kept(record: RolloutRecord, current: Current | None) -> dict[str, Any]:
    """What is written down with it; of the rollout in hand as it will be, for the phase is as of now too."""
    return {**record.record, **current.receipt.record()} if current else dict(record.record)


def _in_hand(record: RolloutRecord, driver: Driver) -> Current | None:
    current = driver.current
    return current if current is not None and current.id == record.id else None


def _weight(current: Current, driver: Driver) -> WeightBody | None:
    """The candidate's buckets in the table in force; none before it has a worker that could have any."""
    table, candidate = driver.switch.table, current.candidate
    if current.rollout.phase in (Phase.PENDING, Phase.VALIDATING) or table is None or candidate is None:
        return None
    return WeightBody(set=sum(count for count, loading in table.buckets if loading == candidate.number))


def _gate(gate: dict[str, Any]) -> dict[str, Any]:
    return {name: gate[name] for name in ("gate", "result", "detail", "evidence") if name in gate}


def _name(reference: dict[str, Any] | None) -> VersionName | None:
    return VersionName(version=str(reference["version"]), digest=reference["digest"]) if reference else None
