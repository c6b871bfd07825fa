"""What the control API shows of a rollout: the journal's record, and what the driver knows since then."""

from __future__ import annotations

from dataclasses import asdict
from time import monotonic_ns
from typing import Any

import msgspec

from changeover.controller.bodies import (
    ArmBody,
    ArmsBody,
    FindingBody,
    GateBody,
    MomentBody,
    RolloutBody,
    RolloutStatus,
    RulingBody,
    StepBody,
    VersionName,
    WeightBody,
)
from changeover.errors import InvalidPlan
from changeover.records.rollouts import RolloutRecord
from changeover.rollout.current import Current, Totals
from changeover.rollout.driver import Driver
from changeover.rollout.loading import Loading
from changeover.rollout.machine import Phase
from changeover.rollout.plan import Plan
from changeover.rollout.recording import plan_on_record
from changeover.rollout.tables import weight_of
from changeover.telemetry.evidence import Arm
from changeover.telemetry.observations import percentile

_RECENT_NS = 10 * 10**9
_PROMOTION = "100%"
_BY_HAND = "by hand"
_SHOWS_STEP = (Phase.SHADOWING, Phase.PROGRESSING, Phase.PAUSED, Phase.ROLLING_BACK, Phase.ROLLED_BACK)


def summary(record: RolloutRecord, driver: Driver) -> RolloutBody:
    """A rollout in short."""
    return RolloutBody(**_short(record, driver))


def status(record: RolloutRecord, driver: Driver) -> RolloutStatus:
    """A rollout with all that is known of it."""
    current = _in_hand(record, driver)
    kept = _kept(record, current)
    plan = _plan(record, current)
    judged = _judged(kept) if current is None or current.rollout.phase.terminal else None
    history = current.history if current else kept.get("history", [])
    return RolloutStatus(
        **_short(record, driver),
        arms=_arms(current, driver) if judged is None else _arms_of(judged, record),
        ruling=_ruling(current) if judged is None else _ruling_of(judged, kept),
        gates=[GateBody(**_known(gate, GateBody)) for gate in kept.get("gates", [])],
        steps=steps_of(plan) if plan else [],
        history=[MomentBody(**_known(moment, MomentBody)) for moment in history],
        plan=msgspec.to_builtins(plan) if plan else None,
    )


def present(driver: Driver) -> str | None:
    """Id of the rollout in hand as long as it has no end: what people mean, though others may wait."""
    current = driver.current
    return current.id if current is not None and not current.rollout.phase.terminal else None


def steps_of(plan: Plan) -> list[str]:
    """Names of a plan's steps, the promotion at their end."""
    if plan.rollout.strategy == "manual":
        return [_BY_HAND, _PROMOTION]
    return [*(step.name for step in plan.rollout.ladder), _PROMOTION]


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
        "step": _step(record, current),
        "weight": _weight(current, driver) if current else None,
        "undo_until": kept.get("undo_until") if driver.can_undo(record.id) else None,
    }


def _kept(record: RolloutRecord, current: Current | None) -> dict[str, Any]:
    """What is written down with it; of the rollout in hand as it will be, for the phase is as of now too."""
    return {**record.record, **current.receipt.record()} if current else dict(record.record)


def _in_hand(record: RolloutRecord, driver: Driver) -> Current | None:
    current = driver.current
    return current if current is not None and current.id == record.id else None


def _plan(record: RolloutRecord, current: Current | None) -> Plan | None:
    """What it was begun with; None when another release wrote what this one cannot read."""
    try:
        return current.offer.plan if current else plan_on_record(record)
    except InvalidPlan:
        return None


def _step(record: RolloutRecord, current: Current | None) -> StepBody | None:
    """Where it is; of one that was taken back, where it was."""
    phase = current.rollout.phase if current else record.phase
    moments: Any = current.history if current else record.record.get("history", [])
    last = next((moment for moment in reversed(moments) if moment.get("step")), None)
    promoted = any(moment.get("phase") == Phase.WATCHING for moment in moments)
    if phase not in _SHOWS_STEP or last is None or promoted:
        return None
    plan = _plan(record, current)
    if plan is None:
        return None
    names = steps_of(plan)
    made = StepBody(index=_index(names, plan, last), name=last["step"], of=len(names))
    if current is None or not current.rollout.phase.compares:
        return made
    step = current.step
    return msgspec.structs.replace(
        made,
        since=current.since,
        held_s=round(current.held, 1),
        hold_s=step.hold or None,
        requests=current.totals.requests["candidate"] + current.totals.compared,
        min_requests=step.min_requests or None,
    )


def _index(names: list[str], plan: Plan, moment: dict[str, Any]) -> int:
    """Position of a step, from 1; a weight set by hand stands for the first step that is not below it."""
    if moment["step"] in names:
        return names.index(moment["step"]) + 1
    weights = [step.buckets for step in plan.rollout.ladder]
    return next((i for i, weight in enumerate(weights, 1) if weight >= (moment.get("weight") or 0)), len(names) - 1)


def _weight(current: Current, driver: Driver) -> WeightBody | None:
    """The target's buckets in the table in force; none before it has a worker that could have any, or after the end."""
    table, candidate, phase = driver.switch.table, current.candidate, current.rollout.phase
    if phase in (Phase.PENDING, Phase.VALIDATING) or phase.terminal or table is None or candidate is None:
        return None
    counted = current.totals.requests
    total = sum(counted.values())
    actual = round(counted["candidate"] / total, 6) if total else None
    return WeightBody(set=weight_of(table, candidate.number), actual=actual)


def _arms(current: Current | None, driver: Driver) -> ArmsBody:
    """What was counted since the place was taken, and the speed of the last seconds."""
    if current is None:
        return ArmsBody()
    candidate, source = current.candidate, driver.standby if current.rollout.promoted else driver.active
    if source is None or source is candidate:
        return ArmsBody()
    if candidate is None or current.since is None or driver.switch.table is None:
        return _before(current, source, driver)
    since, epoch = monotonic_ns() - _RECENT_NS, driver.switch.table.epoch
    recent = driver.fleet.evidence(driver.model, source.number, candidate.number, epoch, since)
    seconds = min(_RECENT_NS / 1e9, max(current.held, 1.0))
    return ArmsBody(
        active=_arm(str(source.version), current.totals, "active", recent.active, seconds),
        candidate=_arm(str(candidate.version), current.totals, "candidate", recent.candidate, seconds),
    )


def _before(current: Current, source: Loading, driver: Driver) -> ArmsBody:
    """While the candidate has no part in the traffic: what the version that serves has answered since the start."""
    now = monotonic_ns()
    whole = driver.fleet.traffic(source.number, current.receipt.started_ns)
    seconds = min(_RECENT_NS, now - current.receipt.started_ns) / 1e9
    recent = driver.fleet.traffic(source.number, max(now - _RECENT_NS, current.receipt.started_ns))
    totals = Totals(
        {"active": whole.requests, "candidate": 0}, {"active": whole.failures, "candidate": 0}, whole.shielded
    )
    return ArmsBody(
        active=_arm(str(source.version), totals, "active", recent, max(seconds, 1.0)),
        candidate=ArmBody(version=str(current.offer.version), requests=0, failures=0, shielded=0),
    )


def _arm(version: str, totals: Totals, role: str, recent: Arm, seconds: float) -> ArmBody:
    p50, p95, p99 = (percentile(recent.latency, share) for share in (0.5, 0.95, 0.99))
    return ArmBody(
        version=version,
        requests=totals.requests[role],
        failures=totals.failures[role],
        shielded=totals.shielded if role == "candidate" else 0,
        rps=round(recent.requests / seconds, 1),
        p50_ms=_ms(p50),
        p95_ms=_ms(p95),
        p99_ms=_ms(p99),
    )


def _ruling(current: Current | None) -> RulingBody | None:
    ruling = current.ruling if current else None
    return None if ruling is None else _ruling_body(asdict(ruling))


def _judged(kept: dict[str, Any]) -> dict[str, Any] | None:
    """The last step that ended with counts: what is left of an ended rollout's numbers."""
    steps = [step for step in kept.get("steps", []) if step.get("verdict") and "requests" in step.get("numbers", {})]
    return steps[-1] if steps else None


def _arms_of(judged: dict[str, Any], record: RolloutRecord) -> ArmsBody:
    """The same of a step that has ended, without the speed."""
    numbers = judged["numbers"]
    requests, failures = numbers["requests"], numbers["failures"]
    source = record.record.get("from")
    old = str(source["version"]) if isinstance(source, dict) else "-"
    new = str(record.target.version)
    return ArmsBody(
        active=ArmBody(version=old, requests=requests["active"], failures=failures["active"], shielded=0),
        candidate=ArmBody(
            version=new,
            requests=requests["candidate"],
            failures=failures["candidate"],
            shielded=numbers.get("shielded", 0),
        ),
    )


def _ruling_of(judged: dict[str, Any], kept: dict[str, Any]) -> RulingBody | None:
    verdict, numbers = judged["verdict"], judged["numbers"]
    if numbers.get("detail") is None:
        return None
    reason = (kept.get("reason") or verdict) if verdict == "failed" else verdict
    return _ruling_body({"verdict": verdict, "reason": reason, **numbers})


def _ruling_body(ruling: dict[str, Any]) -> RulingBody:
    findings = [FindingBody(**_known(finding, FindingBody)) for finding in ruling["findings"]]
    return RulingBody(verdict=ruling["verdict"], reason=ruling["reason"], detail=ruling["detail"], findings=findings)


def _known(value: dict[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The fields that a body has."""
    return {name: value[name] for name in kind.__struct_fields__ if name in value}


def _name(reference: dict[str, Any] | None) -> VersionName | None:
    return VersionName(version=str(reference["version"]), digest=reference["digest"]) if reference else None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 3)
