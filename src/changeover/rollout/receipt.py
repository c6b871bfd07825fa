"""The receipt of a rollout: gathers what was measured, and writes the certificate from it. No number is made up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic_ns
from typing import TYPE_CHECKING

import msgspec

from changeover.records import certificate as records
from changeover.records.certificate import Certificate, Latency, Memory, Requests, Step, VersionRef
from changeover.rollout.fleet import Fleet
from changeover.rollout.machine import Phase, Rollout
from changeover.transport.control import GateResult

if TYPE_CHECKING:
    from changeover.records.rollouts import RolloutRecord
    from changeover.rollout.loading import Loading
    from changeover.rollout.offer import Offer
    from changeover.rollout.switch import Switched

_BEFORE_NS = 4 * 10**9
_AFTER_NS = 4 * 10**9
_REPORT_SLACK = 0.5
"""Seconds until the gateways' last report of a window is here."""


class Receipt:
    """What is known of one rollout so far."""

    def __init__(self, model: str, rollout: str, offer: Offer, source: Loading | None, fleet: Fleet) -> None:
        self._model = model
        self._rollout = rollout
        self._offer = offer
        self._source = source
        self._source_ref = VersionRef(source.version, source.digest) if source else None
        self._kept: dict[str, object] = {}
        self._switch_missed = False
        self._fleet = fleet
        self._started = _now()
        self.started_ns = monotonic_ns()
        self._counted_ns = self.started_ns
        self._requests: Requests | None = None
        self._steps: list[Step] = []
        self._unsaid: tuple[int, Step] | None = None
        self._candidate: Loading | None = None
        self._switch: records.Switch | None = None
        self._switched_ns = 0
        self._ended_ns: int | None = None
        self._undo_until: str | None = None
        self._before: records.Window | None = None
        self._before_bytes = fleet.memory(source.number) if source else None
        self._peak_bytes: int | None = None
        self._after_bytes: int | None = None
        self._released_bytes: int | None = None

    # -- gathering -----------------------------------------------------------------------------------------

    def restore(self, record: RolloutRecord, *, switched: bool) -> None:
        """Go on with a rollout of the last term; what that measured of a switch is lost, and not made up."""
        self._kept = record.record
        known = msgspec.convert(record.record["from"], VersionRef | None) if "from" in record.record else record.source
        self._source_ref = self._source_ref or known
        self._started = record.started
        self._steps = msgspec.convert(record.record.get("steps", []), list[Step])
        self._before = msgspec.convert(record.record.get("before"), records.Window | None)
        self._switch_missed = switched

    def loading(self, candidate: Loading) -> None:
        """The candidate's worker is on its way."""
        self._candidate = candidate
        self._steps.append(Step("validating", _now()))

    def gates(self, candidate: Loading | None) -> None:
        """The gates have spoken; both versions are in memory now, and the fleet still knows the seconds before."""
        self._before = self._window_before()
        if candidate is None or not self._steps:
            return
        passed = candidate.entry is not None
        measured = msgspec.structs.asdict(candidate.measured)
        self._steps[-1] = msgspec.structs.replace(
            self._steps[-1], verdict="passed" if passed else "failed", numbers=measured if passed else {}
        )
        if passed:
            old = self._fleet.memory(self._source.number) if self._source else 0
            self._peak_bytes = (old or 0) + (self._fleet.memory(candidate.number) or 0)

    def switched(self, done: Switched) -> None:
        """A table is in force and acknowledged."""
        acks = sorted(at for _, at in done.acknowledged)
        after = done.times.after_ns
        self._switched_ns = acks[-1] if acks else after
        self._switch = records.Switch(
            epoch=done.table.epoch,
            store_time=_at(after),
            gateways=len(acks),
            store_ns=after - done.times.before_ns,
            journal_ms=_ms(done.journal_ns) if done.journal_ns else None,
            prepare_ms=_ms(done.prepare_ns) if done.prepare_ns else None,
            first_ack_ms=_ms(acks[0] - after) if acks else None,
            last_ack_ms=_ms(acks[-1] - after) if acks else None,
            stale_picks=done.stale_picks if acks else None,
        )
        verdict = "acknowledged" if acks else "not acknowledged"
        self._steps.append(Step(f"switch to epoch {done.table.epoch}", _at(after), verdict))

    def count(self) -> None:
        """Count the requests since the last time: a rollout lasts longer than the fleet remembers."""
        now = monotonic_ns()
        self._requests = _sum(self._requests, self._fleet.requests(self._model, self._counted_ns, now))
        self._counted_ns = now

    def step(self, name: str, weight: int, epoch: int) -> None:
        """A step's table is in force."""
        self._steps.append(Step(f"step {name}", _now(), None, {"weight": weight, "epoch": epoch}))

    def verdict(self, verdict: str, numbers: dict[str, object]) -> None:
        """The step in force has ended, with what was counted in it."""
        for index in reversed(range(len(self._steps))):
            if self._steps[index].name.startswith("step ") and self._steps[index].verdict is None:
                kept = self._steps[index].numbers
                self._unsaid = index, self._steps[index]
                self._steps[index] = msgspec.structs.replace(
                    self._steps[index], verdict=verdict, numbers={**kept, **numbers}
                )
                return

    def take_back(self) -> None:
        """The step whose verdict was said last goes on after all."""
        if self._unsaid is not None:
            index, step = self._unsaid
            self._steps[index] = step

    def window(self, seconds: float) -> None:
        """The undo window runs."""
        self._undo_until = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="seconds")

    def released(self, given_back: int | None) -> None:
        """The old worker has ended; `given_back` is what it held at its end."""
        self._ended_ns = monotonic_ns()
        self._released_bytes = given_back
        left = [self._fleet.memory(self._number(loading)) for loading in (self._candidate, self._source)]
        self._after_bytes = left[0] or left[1]
        self._steps.append(Step("release", _now(), "released"))

    @staticmethod
    def _number(loading: Loading | None) -> int:
        return loading.number if loading else 0

    # -- giving --------------------------------------------------------------------------------------------

    def record(self) -> dict[str, object]:
        """What the journal keeps with the rollout's phase."""
        return {
            "offer": self._kept.get("offer", self._offer.source),
            "from": msgspec.to_builtins(self._source_ref),  # an offer that waited was opened with an older one
            "gates": [msgspec.structs.asdict(g) for g in self._gates()],
            "before": msgspec.to_builtins(self._before),
            "undo_until": self._undo_until or self._kept.get("undo_until"),
            "steps": msgspec.to_builtins(self._steps),
        }

    async def reported(self) -> None:
        """Wait until the seconds after the switch are over and the gateways have reported them."""
        wait = (self._switched_ns + _AFTER_NS - monotonic_ns()) / 1e9 + _REPORT_SLACK
        await asyncio.sleep(max(wait, _REPORT_SLACK))

    def certificate(self, rollout: Rollout) -> Certificate:
        """The certificate as things stand."""
        ended_ns = self._ended_ns or (self._switched_ns + _AFTER_NS if self._switch else monotonic_ns())
        return Certificate(
            model=self._model,
            rollout=self._rollout,
            source=self._source_ref,
            target=self._offer.ref,
            outcome=rollout.phase,
            decided_by=self._decided_by(rollout),
            started=self._started,
            ended=_at(ended_ns),
            requests=None if self._switch_missed else self._counted(ended_ns),
            switch=self._switch,
            latency=self._latency(),
            memory=Memory(self._before_bytes, self._peak_bytes, self._after_bytes, self._released_bytes),
            loading=_loading(self._candidate),
            gates=certified(self._gates()),
            steps=tuple(self._steps),
        )

    def _counted(self, ended_ns: int) -> Requests:
        """All of them; what was counted after the end is not taken away again."""
        if self._counted_ns >= ended_ns and self._requests is not None:
            return self._requests
        return _sum(self._requests, self._fleet.requests(self._model, self._counted_ns, ended_ns))

    def _decided_by(self, rollout: Rollout) -> str:
        """The gate that refused, or who or what decided last."""
        refusing = next((g.gate for g in self._gates() if g.result == "failed"), None)
        return f"gate:{refusing}" if refusing and rollout.phase is Phase.FAILED else rollout.by

    def _gates(self) -> list[GateResult]:
        """Of the candidate, or as the last term recorded them."""
        if self._candidate is not None:
            return self._candidate.gates
        return msgspec.convert(self._kept.get("gates", []), list[GateResult])

    def _latency(self) -> Latency:
        """The seconds before, from the start of the load to the switch, and after it."""
        window, model = self._fleet.window, self._model
        start, switch = self.started_ns, self._switched_ns
        before = self._before or self._window_before()
        if self._switch_missed:
            return Latency()
        if self._switch is None:
            return Latency(before=before)
        return Latency(
            before=before,
            during=window(model, start, switch),
            after=window(model, switch, switch + _AFTER_NS),
        )

    def _window_before(self) -> records.Window:
        """Asked for early: a rollout may last longer than the fleet remembers."""
        return self._fleet.window(self._model, self.started_ns - _BEFORE_NS, self.started_ns)


def certified(gates: Sequence[GateResult]) -> tuple[records.GateResult, ...]:
    """What the gates said, as a certificate has it."""
    return tuple(records.GateResult(g.gate, g.result, {**g.evidence, "detail": g.detail}) for g in gates)


def _sum(before: Requests | None, more: Requests) -> Requests:
    if before is None:
        return more
    return Requests(
        before.total + more.total,
        before.failed + more.failed,
        before.shielded + more.shielded,
        None if before.shed is None or more.shed is None else before.shed + more.shed,
    )


def _loading(candidate: Loading | None) -> records.Loading:
    if candidate is None or candidate.entry is None:
        return records.Loading()
    measured = candidate.measured
    seconds = measured.verify_s + measured.load_s + measured.warmup_s
    return records.Loading(quiet_method=measured.quiet, load_seconds=round(seconds, 4), cache=measured.cache)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _at(ns: int) -> str:
    """The time of a CLOCK_MONOTONIC value."""
    ago = timedelta(microseconds=(monotonic_ns() - ns) / 1e3)
    return (datetime.now(UTC) - ago).isoformat(timespec="microseconds")


def _ms(ns: int) -> float:
    return round(ns / 1e6, 4)
