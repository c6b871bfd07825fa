"""The certificate that comes of a rollout: what was measured is in it, what was not is null."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from time import monotonic_ns

import msgspec
import pytest

from changeover.records.certificate import Certificate, VersionRef, Window
from changeover.records.rollouts import RolloutRecord
from changeover.rollout import receipt as receipts
from changeover.rollout.driver import Driver
from changeover.rollout.fleet import StoreTimes
from changeover.rollout.loading import Loading
from changeover.rollout.machine import Phase, Rollout
from changeover.rollout.receipt import Receipt
from changeover.rollout.switch import Switched
from changeover.rollout.tables import Draft, all_to
from changeover.transport.control import Acknowledged, GateResult, LoadingEntry
from tests.best import best
from tests.rollout.memory_fleet import MEASURED, Fate, MemoryFleet, signature
from tests.rollout.stage import MODEL, WORD, ScriptedJournal, Stage, play, until

ENTRY = LoadingEntry(2, "2", "b" * 64, signature(), 32, 30.0)


async def certificate_of(driver: Driver, rollout: str, last: str) -> Certificate:
    """The certificate once this is its last step."""

    def now() -> Certificate | None:
        return driver.journal.rollouts.get(rollout).certificate

    await until(lambda: (c := now()) is not None and c.steps[-1].name == last)
    found = now()
    assert found is not None
    return found


def test_a_whole_changeover(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """Both digests, the store and its acknowledgements, requests, latency, memory, loading, gates and steps."""

    async def script(driver: Driver) -> None:
        first, second = stage.offer(1), stage.offer(2, window=0.02)
        await driver.offer(first)
        rollout = await driver.offer(second)
        told = await certificate_of(driver, rollout, "release")
        assert told.outcome == "succeeded"
        assert (told.model, told.rollout) == (MODEL, rollout)
        assert (told.source, told.target) == (first.ref, second.ref)
        assert told.decided_by == "plan"
        assert told.requests is not None
        assert (told.requests.total, told.requests.failed, told.requests.shed) == (70, 0, 1)
        switch = told.switch
        assert switch is not None
        assert (switch.epoch, switch.gateways, switch.stale_picks) == (2, fleet.gateways, 0)
        assert switch.store_ns is not None
        assert 0 <= switch.store_ns < 10**9
        for measured in (switch.journal_ms, switch.prepare_ms):
            assert measured is not None
            assert 0 < measured < 5000
        assert switch.first_ack_ms is not None
        assert switch.last_ack_ms is not None
        assert 0 <= switch.first_ack_ms <= switch.last_ack_ms < 5000
        assert (told.memory.before_bytes, told.memory.peak_bytes) == (1001, 1001 + 1002)
        assert (told.memory.after_bytes, told.memory.released_bytes) == (1002, 1001)
        assert (told.loading.quiet_method, told.loading.cache) == ("nice", "miss")
        assert told.loading.load_seconds == MEASURED.verify_s + MEASURED.load_s + MEASURED.warmup_s
        assert [(g.gate, g.outcome) for g in told.gates] == [("integrity", "passed"), ("warmup", "passed")]
        assert told.gates[1].evidence == {"batches": [1, 32], "detail": "all outputs are finite"}
        assert [(s.name, s.verdict) for s in told.steps] == [
            ("validating", "passed"),
            ("switch to epoch 2", "acknowledged"),
            ("step undo window", "window_ended"),
            ("release", "released"),
        ]
        assert told.steps[2].numbers["weight"] == 10_000
        assert told.steps[2].numbers["requests"] == {"active": 0, "candidate": 0}
        assert told.steps[0].numbers["load_s"] == MEASURED.load_s
        times = [datetime.fromisoformat(t) for t in (told.started, switch.store_time, told.ended)]
        assert times == sorted(times)

    play(stage.driver(fleet, journal), script)


def test_what_was_not_measured_is_null(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """A refused first version: no source, no switch, no latency after it, no memory, no load time."""

    async def script(driver: Driver) -> None:
        fleet.fates["1"] = Fate.FAILS
        rollout = await driver.offer(stage.offer(1))
        told = await certificate_of(driver, rollout, "validating")
        assert told.outcome == "failed"
        assert told.decided_by == "gate:warmup"
        assert told.source is told.switch is None
        assert told.latency.before is not None
        assert told.latency.during is told.latency.after is None
        assert set(msgspec.structs.astuple(told.memory)) == {None}
        assert set(msgspec.structs.astuple(told.loading)) == {None}
        assert [(step.name, step.verdict, step.numbers) for step in told.steps] == [("validating", "failed", {})]
        shown = json.loads(told.to_json())
        assert shown["from"] is shown["switch"] is None

    play(stage.driver(fleet, journal), script)


def test_an_undo(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """Somebody decided it; both switches are among the steps, and the survivor's memory is the old version's."""

    async def script(driver: Driver) -> None:
        await driver.offer(stage.offer(1))
        rollout = await driver.offer(stage.offer(2, window=60))
        await driver.idle()
        await driver.undo()
        told = await certificate_of(driver, rollout, "release")
        assert told.outcome == "rolled_back"
        assert told.decided_by == "operator"
        assert [(s.name, s.verdict) for s in told.steps] == [
            ("validating", "passed"),
            ("switch to epoch 2", "acknowledged"),
            ("step undo window", "undo_asked"),
            ("switch to epoch 3", "acknowledged"),
            ("release", "released"),
        ]
        assert told.switch is not None
        assert (told.switch.epoch, told.switch.prepare_ms) == (3, None)
        assert (told.memory.after_bytes, told.memory.released_bytes) == (1001, 1002)

    play(stage.driver(fleet, journal), script)


@pytest.fixture
def receipt(stage: Stage, fleet: MemoryFleet) -> Receipt:
    """Of a rollout from version 1, whose worker is 1, to version 2."""
    offer = stage.offer(2)
    source = Loading(1, 1, stage.artifact(1), offer.plan)
    return Receipt(MODEL, "r-000002", offer, source, fleet)


def switched(after_ns: int, *acks_ns: int, journal_ns: int = 0) -> Switched:
    answers = [(Acknowledged(WORD, 5, {}, at, 0), at) for at in acks_ns]
    return Switched(all_to(Draft(MODEL, WORD, 5), ENTRY), StoreTimes(after_ns - 40, after_ns), journal_ns, 0, answers)


def test_times_are_counted_from_the_store(receipt: Receipt) -> None:
    """In milliseconds, whichever gateway answered first; an owed record has no journal time."""
    now = monotonic_ns()
    receipt.switched(switched(now, now + 3_000_000, now + 1_500_000))
    told = receipt.certificate(Rollout(MODEL, "1", "2", Phase.WATCHING)).switch
    assert told is not None
    assert (told.store_ns, told.first_ack_ms, told.last_ack_ms) == (40, 1.5, 3.0)
    assert (told.journal_ms, told.prepare_ms, told.stale_picks) == (None, None, 0)


def test_nobody_acknowledged(receipt: Receipt) -> None:
    """Then nothing is said of stale picks: a zero would be made up."""
    receipt.switched(switched(monotonic_ns(), journal_ns=2_000_000))
    told = receipt.certificate(Rollout(MODEL, "1", "2", Phase.WATCHING))
    assert told.switch is not None
    assert (told.switch.gateways, told.switch.journal_ms) == (0, 2.0)
    assert told.switch.first_ack_ms is told.switch.last_ack_ms is told.switch.stale_picks is None
    assert told.steps[-1].verdict == "not acknowledged"


def test_windows_are_before_during_and_after(
    receipt: Receipt, fleet: MemoryFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four seconds before the start, from the start to the last acknowledgement, and four seconds after that."""
    monkeypatch.setattr(receipts, "_AFTER_NS", 4 * 10**9)
    now = monotonic_ns()
    receipt.switched(switched(now, now + 1000))
    told = receipt.certificate(Rollout(MODEL, "1", "2", Phase.WATCHING))
    before, during, after = fleet.windows
    assert before[1] - before[0] == 4 * 10**9
    assert (before[1], during[1]) == (during[0], now + 1000)
    assert after == (now + 1000, now + 1000 + 4 * 10**9)
    assert told.latency.before is not None
    assert told.latency.before.p99_ms == 2.5


def test_it_waits_for_the_seconds_after_the_switch(receipt: Receipt, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the last acknowledgement on, and for the last report; without a switch only for the report."""

    async def wait_ns() -> int:
        started = monotonic_ns()
        await receipt.reported()
        return monotonic_ns() - started

    monkeypatch.setattr(receipts, "_AFTER_NS", 60_000_000)
    assert best(lambda: asyncio.run(wait_ns()), 55_000_000) < 55_000_000
    receipt.switched(switched(monotonic_ns()))
    assert asyncio.run(wait_ns()) > 55_000_000


def test_what_the_journal_keeps(receipt: Receipt, stage: Stage) -> None:
    """Where the offer came from, the gates so far, and the end of the window once it runs."""
    before = {"version": 1, "digest": stage.artifact(1).digest}
    known = {"offer": "push", "from": before, "gates": [], "before": None, "undo_until": None, "steps": []}
    assert receipt.record() == known
    candidate = Loading(2, 2, stage.artifact(2), stage.offer(2).plan)
    candidate.gates.append(GateResult("integrity", "passed", "sound"))
    receipt.loading(candidate)
    receipt.window(60)
    kept = receipt.record()
    assert kept["gates"] == [{"gate": "integrity", "result": "passed", "detail": "sound", "evidence": {}}]
    left = datetime.fromisoformat(str(kept["undo_until"])) - datetime.now().astimezone()
    assert 55 < left.total_seconds() < 61


def test_the_seconds_before_are_kept(
    receipt: Receipt, stage: Stage, fleet: MemoryFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollout lasts longer than the fleet remembers, and than a controller lives."""
    candidate = Loading(2, 2, stage.artifact(2), stage.offer(2).plan)
    receipt.loading(candidate)
    receipt.gates(candidate)
    kept = receipt.record()
    forgotten = Window(requests=0, window_s=4.0)
    monkeypatch.setattr(fleet, "window", lambda *_: forgotten)
    told = receipt.certificate(Rollout(MODEL, "1", "2", Phase.WATCHING)).latency
    assert told.before is not None
    assert told.before != forgotten
    target = VersionRef(2, stage.artifact(2).digest)
    record = RolloutRecord("r-000002", MODEL, None, target, "progressing", kept, None, "then", "then", None)
    later = Receipt(MODEL, "r-000002", stage.offer(2), None, fleet)
    later.restore(record, switched=False)
    assert later.certificate(Rollout(MODEL, "1", "2", Phase.WATCHING)).latency.before == told.before


def test_a_first_version_has_no_source(stage: Stage, fleet: MemoryFleet) -> None:
    """And no memory before."""
    offer = stage.offer(1)
    told = Receipt(MODEL, "r-000001", offer, None, fleet).certificate(Rollout(MODEL, None, "1", Phase.SUCCEEDED))
    assert told.source is None
    assert told.target == VersionRef(1, offer.artifact.digest)
    assert told.memory.before_bytes is None
