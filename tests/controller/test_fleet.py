"""The controller's view of gateways and workers: what is said, what is waited for, and who is silent too long."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from changeover.controller import question
from changeover.errors import Internal
from changeover.transport.control import (
    Leases,
    Prepared,
    WorkerSpec,
    WorkerStatus,
)
from changeover.transport.link import Kind, frame
from changeover.transport.reports import Observations, Observed, Tallied
from tests.controller.house import House, acknowledged


def test_prepare_waits_for_every_gateway(house: House) -> None:
    """And every message carries the term."""

    async def scenario() -> None:
        task = asyncio.create_task(house.fleet.prepare(1, [7]))
        await asyncio.sleep(0)
        assert [(f.kind, f.target, f.term) for f in house.sent] == [(Kind.PREPARE, 1, 4), (Kind.PREPARE, 2, 4)]
        house.says(1, Kind.PREPARED, Prepared(1, [7]))
        await asyncio.sleep(0.01)
        assert not task.done()
        house.says(2, Kind.PREPARED, Prepared(1, [7]))
        await asyncio.wait_for(task, 30)

    asyncio.run(scenario())


def test_an_error_of_one_gateway_ends_the_switch(house: House) -> None:
    """With its sentence."""

    async def scenario() -> None:
        task = asyncio.create_task(house.fleet.prepare(1, [7]))
        await asyncio.sleep(0)
        house.says(1, Kind.PREPARED, Prepared(1, [7]))
        house.says(2, Kind.PREPARED, Prepared(1, [7], "no channel"))
        with pytest.raises(Internal, match="no channel") as refused:
            await task
        assert refused.value.reason == "prepare_failed"

    asyncio.run(scenario())


def test_a_silent_gateway_is_killed_and_its_death_ends_the_waiting(house: House) -> None:
    """The others are not held up by it for longer than half a second and its death."""

    async def scenario() -> None:
        house.says(1, Kind.ACKNOWLEDGED, acknowledged(7, {}))
        house.on_sent = lambda f: house.dies("gateway", member=2) if f.kind is Kind.KILL else None
        answers = await asyncio.wait_for(house.fleet.acknowledged(1, 7), 30)
        assert [f.json()["member"] for f in house.sent if f.kind is Kind.KILL] == [2]
        assert [a.epoch for a, _ in answers] == [7]

    asyncio.run(scenario())


def test_a_gateway_that_neither_answers_nor_dies_is_an_error(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for without end."""
    monkeypatch.setattr(question, "REPLACED", 0.1)

    async def scenario() -> None:
        with pytest.raises(Internal) as refused:
            await house.fleet.acknowledged(1, 7)
        assert refused.value.reason == "gateway_silent"

    asyncio.run(scenario())


def test_a_gateway_that_is_still_joining_is_not_waited_for(house: House) -> None:
    """It joins with the table in force, whichever that is then."""

    async def scenario() -> None:
        house.gateway(3, ready=False)
        for member in (1, 2):
            house.says(member, Kind.ACKNOWLEDGED, acknowledged(7, {}))
        answers = await asyncio.wait_for(house.fleet.acknowledged(1, 7), 30)
        assert [answer.epoch for answer, _ in answers] == [7, 7]
        assert house.killed() == []

    asyncio.run(scenario())


def test_drained_means_no_lease_anywhere(house: House) -> None:
    """The last lease's end ends it, or the gateway's death, once its successor has told what is left."""

    async def scenario() -> None:
        house.publish(6, 5)
        house.publish(7, 4)
        house.fleet.store(1, 7)
        house.says(1, Kind.ACKNOWLEDGED, acknowledged(7, {5: 2}))
        house.says(2, Kind.ACKNOWLEDGED, acknowledged(7, {5: 1}))
        assert not await house.fleet.drained(5, 0.05)
        task = asyncio.create_task(house.fleet.drained(5, 5.0))
        house.says(1, Kind.LEASES, Leases(1, 5))
        house.dies("gateway", member=2)
        assert not await house.fleet.drained(5, 0.05), "a state may have been on its way with the dead one"
        house.fleet.hear(house.up(3))
        assert not await house.fleet.drained(5, 0.05)
        house.says(3, Kind.ACKNOWLEDGED, acknowledged(7, {}))
        assert await task

    asyncio.run(scenario())


def test_where_no_gateway_lives_nothing_is_drained(house: House) -> None:
    """All were killed: what lives in a loading is held again by the next one, which has to say so first."""

    async def scenario() -> None:
        house.publish(6, 5)
        house.publish(7, 4, draining=[5])
        house.fleet.store(1, 7)
        for member in (1, 2):
            house.dies("gateway", member=member)
        assert not await house.fleet.drained(5, 0.05)
        task = asyncio.create_task(house.fleet.drained(5, 5.0))
        house.fleet.hear(house.up(3))
        house.says(3, Kind.ACKNOWLEDGED, acknowledged(7, {5: 1}))
        house.fleet.hear(house.up(4))
        house.says(4, Kind.ACKNOWLEDGED, acknowledged(7, {}))
        assert not await house.fleet.drained(5, 0.05)
        house.says(3, Kind.LEASES, Leases(1, 5))
        assert await task

    asyncio.run(scenario())


def test_a_new_term_waits_for_the_successor_of_a_gateway_that_died_before_it(house: House) -> None:
    """What was on its way with the dead one is told by its successor; the controller before knew of that death."""

    async def scenario() -> None:
        house.publish(6, 5)
        house.publish(7, 4)
        house.fleet.store(1, 7)
        house.fleet.take_over([], [{"member": 3, "pid": 1003, "ready": True}], 4)
        for member in (1, 2, 3):
            house.says(member, Kind.ACKNOWLEDGED, acknowledged(7, {}))
        assert not await house.fleet.drained(5, 0.05)
        house.fleet.hear(house.up(4))
        house.says(4, Kind.ACKNOWLEDGED, acknowledged(7, {}))
        assert await house.fleet.drained(5, 5.0)

    asyncio.run(scenario())


def test_what_drains_is_known_from_the_table_in_force(house: House) -> None:
    """Older tables are not kept for ever: a controller that starts now waits for it all the same."""

    async def scenario() -> None:
        house.publish(7, 4, draining=[5])
        house.fleet.store(1, 7)
        house.says(1, Kind.ACKNOWLEDGED, acknowledged(7, {5: 1}))
        house.says(2, Kind.ACKNOWLEDGED, acknowledged(7, {}))
        assert not await house.fleet.drained(5, 0.05)
        house.says(1, Kind.LEASES, Leases(1, 5))
        assert await house.fleet.drained(5, 5.0)

    asyncio.run(scenario())


def test_a_loading_that_was_never_committed_is_drained(house: House) -> None:
    """A table was prepared and given up: no gateway can have picked from it, so none is asked."""

    async def scenario() -> None:
        house.publish(6, 5)
        assert await house.fleet.drained(5, 0.05)
        assert house.asked(Kind.COMMITTED) == []

    asyncio.run(scenario())


def spec(loading: int) -> WorkerSpec:
    """What a worker gets."""
    return WorkerSpec(loading, "m", "1", "d", "p", "c", "e")


def test_a_new_worker_is_ready_dead_or_late(house: House) -> None:
    """Its status, its death, or nothing at the deadline."""

    async def scenario() -> None:
        for loading in (5, 6, 7):
            house.fleet.spawn(loading, spec(loading))
        house.says(9, Kind.STATUS, WorkerStatus(5, "loading"))
        house.says(9, Kind.STATUS, WorkerStatus(5, "ready"))
        house.dies("worker", member=9, loading=6, restart=False)
        ready, dead, late = [await house.fleet.loaded(n, 0.05) for n in (5, 6, 7)]
        assert (ready.state, dead.code, late) == ("ready", -9, None)  # type: ignore[union-attr]

    asyncio.run(scenario())


def test_a_worker_that_comes_back_is_not_gone(house: House) -> None:
    """A death with a replacement under way is no end."""

    async def scenario() -> None:
        house.fleet.spawn(5, spec(5))
        house.dies("worker", member=9, loading=5, restart=True)
        assert not await house.fleet.gone(5, 0.05)
        house.dies("worker", member=10, loading=5, restart=False)
        assert await house.fleet.gone(5, 0.05)

    asyncio.run(scenario())


def test_how_workers_fare_is_kept(house: House) -> None:
    """The last word counts, also one that the supervisor told another term; of a stranger it is nothing."""
    told = {"loading": 5, "circuit": "open", "deaths": 5, "cause": "memory_limit", "code": -9, "wait": 10.0}
    known = {"loading": 6, "retiring": False, "status": None, "model": "m", "pid": 1, "member": 3}
    house.fleet.spawn(5, spec(5))
    house.fleet.take_over([{**known, "health": {**told, "loading": 6}}], [], 2)
    house.fleet.hear(frame(Kind.HEALTH, told))
    house.fleet.hear(frame(Kind.HEALTH, {**told, "loading": 99}))
    healths = [house.fleet.workers[n].health for n in (5, 6)]
    assert [(h[0].circuit, h[0].cause, h[0].wait) for h in healths if h] == [("open", "memory_limit", 10.0)] * 2


def test_news_of_strangers_is_no_error(house: House) -> None:
    """Messages cross: of a gateway that died, of a worker that was forgotten."""
    house.says(77, Kind.PREPARED, Prepared(1, [7]))
    house.says(77, Kind.ACKNOWLEDGED, acknowledged(7, {}))
    house.says(77, Kind.LEASES, Leases(1, 5))
    house.says(77, Kind.STATUS, WorkerStatus(99, "ready"))
    house.dies("worker", member=77, loading=99, restart=False)
    house.dies("gateway", member=77)
    house.fleet.hear(frame(Kind.READY, {"member": 77}))
    assert sorted(house.fleet.gateways) == [1, 2]


def test_a_new_term_takes_over_the_living(house: House) -> None:
    """Workers that are being retired are not taken over."""
    status = msgspec.to_builtins(WorkerStatus(5, "ready"))
    known = {"model": "m", "pid": 1, "member": 3}
    house.fleet.take_over(
        [
            {"loading": 5, "retiring": False, "status": status, **known},
            {"loading": 6, "retiring": True, "status": None, **known},
        ],
        [],
        2,
    )
    assert house.fleet.loadings_of("m") == {5}


def test_a_new_term_counts_from_where_the_last_one_was(house: House) -> None:
    """What gateways report first of a loading that lived before is no news; of a new loading it is."""
    known = {"loading": 5, "retiring": False, "status": None, "model": "m", "pid": 1, "member": 3}
    house.fleet.take_over([known], [], 2)
    for at, requests in ((10, 100), (20, 103)):
        seen = [Observed(loading, "m", requests, 0, 0, {700: requests}) for loading in (5, 6)]
        house.says(1, Kind.OBSERVED, Observations(at, seen))
    assert house.fleet.requests("m", 0, 30).total == 3 + 103
    assert house.fleet.window("m", 0, 30).requests == 3 + 103


def test_a_report_that_cannot_be_read_holds_up_no_new_term(house: House) -> None:
    """The supervisor keeps what a worker said unread; its loading is taken over without it."""
    known = {"loading": 5, "retiring": False, "model": "m", "pid": 1, "member": 3}
    house.fleet.take_over([{**known, "status": {"loading": "five"}}], [], 2)
    assert house.fleet.workers[5].status is None


def test_a_loading_that_ends_between_two_workers_has_a_cause(house: House) -> None:
    """The supervisor names none when no worker has died yet."""
    house.fleet.spawn(6, spec(6))
    house.dies("worker", member=0, loading=6, restart=False, cause=None)
    death = house.fleet.workers[6].death
    assert death is not None
    assert death.cause == "crashed"


def tallied(loading: int, requests: int) -> Tallied:
    """What a gateway has counted in epoch 7."""
    return Tallied(loading, 7, 90 + loading, requests, 1, 1, 0, {5: requests}, {})


def test_the_evidence_of_a_step_is_what_all_gateways_told_since(house: House) -> None:
    """Both arms, with the table's epoch and weight and the workers that are there now; each count once."""
    house.publish(7, 5, 6)
    for loading in (5, 6):
        house.fleet.spawn(loading, spec(loading))
        house.fleet.hear(frame(Kind.UP, {"role": "worker", "loading": loading, "member": 90 + loading, "pid": 1}))
    for gateway in (1, 2):
        house.says(gateway, Kind.OBSERVED, Observations(1, [], [tallied(5, 100), tallied(6, 10)]))
    first = house.fleet.evidence("m", 6, 5, 7, 0)
    assert (first.stratum, first.weight) == ((7, 95, 96), 10_000)
    assert (first.active.requests, first.candidate.requests, first.candidate.failures) == (20, 200, 2)
    house.says(1, Kind.OBSERVED, Observations(2, [], [tallied(5, 103), tallied(6, 11)]))
    second = house.fleet.evidence("m", 6, 5, 7, first.end_ns)
    assert (second.active.requests, second.candidate.requests, second.candidate.failures) == (1, 3, 0)
    house.fleet.forget(5)
    gone = house.fleet.evidence("m", 6, 5, 7, 0)
    assert (gone.stratum, gone.weight, gone.candidate.requests) == ((7, 0, 96), 0, 0)
