"""The switch: its order of steps, what a failure leaves, and a way back that waits for no disk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic, monotonic_ns

import pytest

from changeover.errors import Internal
from changeover.rollout.fleet import StoreTimes
from changeover.rollout.switch import Prepared, Switch, Switched
from changeover.rollout.tables import Draft, all_to
from changeover.transport.control import Acknowledged, LoadingEntry, RoutingTable, WorkerSpec
from tests.loop_time import within
from tests.rollout.memory_fleet import MemoryFleet, signature
from tests.rollout.stage import MODEL, WORD, ScriptedJournal, Stage, until

OLD = LoadingEntry(1, "1", "a" * 64, signature(), 32, 30.0)
NEW = LoadingEntry(2, "2", "b" * 64, signature(), 32, 30.0)
Draw = Callable[[int], RoutingTable]


def to_new(epoch: int) -> RoutingTable:
    return all_to(Draft(MODEL, WORD, epoch), NEW, standby=OLD)


def to_old(epoch: int) -> RoutingTable:
    return all_to(Draft(MODEL, WORD, epoch), OLD, standby=NEW)


def manned(fleet: MemoryFleet) -> MemoryFleet:
    """Both versions have a proven worker."""
    for number in (1, 2):
        fleet.alive[number] = WorkerSpec(number, MODEL, str(number), "d", "p", "c", "e")
        fleet.proven.add(number)
    return fleet


@pytest.fixture
def switch(fleet: MemoryFleet, journal: ScriptedJournal) -> Switch:
    return Switch(MODEL, WORD, manned(fleet), journal, journal.next_term(), beside=asyncio.create_task)


async def both(switch: Switch) -> Prepared:
    """Prepared to the new version, with a way back."""
    return await switch.prepare(to_new, to_old)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


def test_a_forward_move_keeps_the_order(switch: Switch, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """Allocated and intended before gateways hear of it, committed before the store, acknowledged last."""
    seen: list[str] = []

    def watch(what: str) -> None:
        if what.startswith("before"):
            rows = {e: journal.epochs.get(MODEL, e) for e in (1, 2)}
            states = [str(row.state) if row else "-" for row in rows.values()]
            seen.append(f"{what.removeprefix('before ')}: {' '.join(states)}")

    async def scenario() -> None:
        fleet.point = watch
        prepared = await both(switch)
        assert seen == [
            "publish 1: intended intended",
            "publish 2: intended intended",
            "prepare [1, 2]: intended intended",
        ]
        assert fleet.epoch(WORD) == 0
        done = await switch.forward(prepared)
        assert seen[3:] == ["store 1: committed intended", "acknowledged 1: committed intended"]
        assert switch.table == done.table == fleet.in_force(WORD)
        assert done.journal_ns > 0
        assert done.prepare_ns > 0
        assert len(done.acknowledged) == fleet.gateways

    run(scenario)
    assert not fleet.broken


def test_both_tables_of_a_move_are_prepared(switch: Switch, fleet: MemoryFleet) -> None:
    """The way back has an epoch of its own, after the forward one, and is in the store for gateways that join."""

    async def scenario() -> None:
        prepared = await both(switch)
        assert prepared.back is not None
        assert (prepared.forward.epoch, prepared.back.epoch) == (1, 2)
        assert (prepared.forward.active, prepared.back.active) == (2, 1)
        assert [(r.epoch, r.term) for r in fleet.tables()] == [(1, switch.term), (2, switch.term)]
        assert "prepare [1, 2]" in fleet.calls

    run(scenario)


def test_nothing_is_stored_when_a_gateway_cannot_prepare(
    switch: Switch, fleet: MemoryFleet, journal: ScriptedJournal
) -> None:
    """The tables stay intentions, and the next move takes other numbers."""

    async def scenario() -> None:
        fleet.prepare_error = Internal("no channel", reason="prepare_failed")
        with pytest.raises(Internal) as caught:
            await both(switch)
        assert caught.value.reason == "prepare_failed"
        assert journal.epochs.committed(MODEL) is None
        fleet.prepare_error = None
        await switch.forward(await both(switch))
        assert fleet.epoch(WORD) == 3

    run(scenario)
    assert "store 1" not in fleet.calls
    assert not fleet.broken


@pytest.mark.parametrize("write", [1, 2])
def test_nothing_is_stored_when_the_journal_fails(
    switch: Switch, fleet: MemoryFleet, journal: ScriptedJournal, write: int
) -> None:
    """At the intentions or the commit: the page stays as it was, and a later move succeeds."""

    async def scenario() -> None:
        journal.fail(at=journal.writes + write)
        with pytest.raises(Internal) as caught:
            await switch.forward(await both(switch))
        assert caught.value.reason == "journal_unwritable"
        assert fleet.epoch(WORD) == 0
        assert switch.table is None
        journal.heal()
        done = await switch.forward(await both(switch))
        assert fleet.epoch(WORD) == done.table.epoch

    run(scenario)
    assert not fleet.broken


def test_a_switch_that_nobody_acknowledges_has_happened(switch: Switch, fleet: MemoryFleet) -> None:
    """After the store there is no way to say that all is as it was: it is told as done, without acknowledgements."""

    async def scenario() -> None:
        fleet.acknowledge_error = Internal("gateways [7] do not acknowledge", reason="gateway_silent")
        done = await switch.forward(await both(switch))
        assert fleet.epoch(WORD) == done.table.epoch == 1
        assert done.acknowledged == []

    run(scenario)


def test_the_way_back_is_one_store(switch: Switch, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """No table is drawn, published or prepared for it, and with a healthy journal nothing is owed."""

    async def scenario() -> None:
        prepared = await both(switch)
        await switch.forward(prepared)
        fleet.calls.clear()
        assert prepared.back is not None
        done = await switch.back(prepared.back)
        assert fleet.calls == ["store 2", "acknowledged 2"]
        assert done.journal_ns > 0
        assert not switch.owes
        committed = journal.epochs.committed(MODEL)
        assert committed is not None
        assert (committed.epoch, committed.state) == (2, "committed")

    run(scenario)
    assert not fleet.broken


def test_a_blocked_journal_does_not_hold_up_the_way_back(
    switch: Switch, fleet: MemoryFleet, journal: ScriptedJournal
) -> None:
    """Stored after 50 ms; the record is owed, forward moves are refused until it is written, then they go on."""

    async def scenario() -> None:
        prepared = await both(switch)
        await switch.forward(prepared)
        assert prepared.back is not None
        gate = journal.block()
        try:
            started = monotonic()
            done = await within(0.25, switch.back(prepared.back))
            assert monotonic() - started > 0.045
            assert fleet.epoch(WORD) == 2
            assert done.journal_ns == 0
            assert switch.owes
            with pytest.raises(Internal) as caught:
                await both(switch)
            assert caught.value.reason == "record_owed"
        finally:
            gate.set()
        await until(lambda: not switch.owes)
        committed = journal.epochs.committed(MODEL)
        assert committed is not None
        assert committed.epoch == 2
        await switch.forward(await both(switch))
        assert fleet.epoch(WORD) == 3

    run(scenario)
    assert not fleet.broken


def test_a_failing_journal_does_not_hold_up_the_way_back(
    switch: Switch, fleet: MemoryFleet, journal: ScriptedJournal
) -> None:
    """Stored at once; the record is tried again until the disk takes it, and then it says that it was owed."""

    async def scenario() -> None:
        prepared = await both(switch)
        await switch.forward(prepared)
        assert prepared.back is not None
        journal.fail()
        await within(0.2, switch.back(prepared.back))
        assert fleet.epoch(WORD) == 2
        tries = journal.writes
        await until(lambda: journal.writes > tries + 2)
        assert switch.owes
        journal.heal()
        await until(lambda: not switch.owes)
        committed = journal.epochs.committed(MODEL)
        assert committed is not None
        assert (committed.epoch, committed.state) == (2, "owed")

    run(scenario)
    assert not fleet.broken


def test_epochs_are_never_used_twice(fleet: MemoryFleet, stage: Stage) -> None:
    """A switch of the next term on the same journal goes on above every number that was ever taken."""
    manned(fleet)
    taken: list[int] = []
    for _ in range(3):
        with stage.journal() as journal:
            switch = Switch(MODEL, WORD, fleet, journal, journal.next_term(), beside=asyncio.create_task)
            for _ in range(2):
                prepared = asyncio.run(both(switch))
                assert prepared.back is not None
                taken += [prepared.forward.epoch, prepared.back.epoch]
            asyncio.run(switch.forward(prepared))
    assert taken == list(range(1, 13))
    assert not fleet.broken


def test_stale_picks_are_picks_that_began_after_the_store() -> None:
    """A gateway whose last pick from an older table began before the store, or that had none, is not stale."""
    store = StoreTimes(100, 200)

    def done(*last: int) -> Switched:
        answers = [(Acknowledged(WORD, 1, {}, 300, ns), 400) for ns in last]
        return Switched(to_new(1), store, 1, 1, answers)

    assert done().stale_picks == 0
    assert done(0, 99, 200).stale_picks == 0
    assert done(0, 201, 150, 10**9).stale_picks == 2


def test_stale_picks_of_a_real_move(switch: Switch, fleet: MemoryFleet) -> None:
    """The times of the store are of the clock that gateways use for their picks."""

    async def scenario() -> None:
        fleet.old_pick_ns = monotonic_ns()
        assert (await switch.forward(await both(switch))).stale_picks == 0
        fleet.old_pick_ns = monotonic_ns() + 10**10
        assert (await switch.forward(await both(switch))).stale_picks == fleet.gateways

    run(scenario)


def test_a_table_tells_what_drains_while_it_has_a_worker(switch: Switch, fleet: MemoryFleet) -> None:
    """A gateway or controller that starts later has it from there."""

    async def scenario() -> None:
        fleet._known.update({1: MODEL, 2: MODEL})
        await switch.forward(await both(switch))
        for living in (True, False):
            if not living:
                del fleet._known[1]
            done = await switch.forward(
                await switch.prepare(lambda epoch: all_to(Draft(MODEL, WORD, epoch), NEW), None)
            )
            assert [entry.loading for entry in done.table.draining] == [1] * living
            assert fleet.in_force(WORD) == done.table

    run(scenario)
