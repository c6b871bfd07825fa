"""Commands of the machine, each by itself: what it does, what it brings about, and what a failure leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from changeover.errors import Conflict, Internal
from changeover.rollout.machine import Command, Event, Phase, Rollout
from tests.rollout.memory_fleet import Fate, MemoryFleet
from tests.rollout.room import Room
from tests.rollout.stage import MODEL, WORD, ScriptedJournal, Stage, until


@pytest.fixture
def room(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> Room:
    return Room(stage, fleet, journal)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


def test_load_and_promote(room: Room) -> None:
    """The first version is alone; the second keeps the first warm, and brings its way back."""

    async def scenario() -> None:
        first = await room.promoted(1)
        assert room.serving() == (1, None)
        assert first.way_back is None
        second = await room.promoted(2)
        assert room.serving() == (2, 1)
        assert second.way_back is not None
        assert (second.way_back.active, second.way_back.standby) == (1, 2)
        assert room.commands.standby is not None
        assert room.commands.standby.version == 1

    run(scenario)


def test_a_refusal_is_an_event(room: Room, fleet: MemoryFleet) -> None:
    """With its error, and with no worker left."""

    async def scenario() -> None:
        fleet.fates["1"] = Fate.DIES
        happened = await room.commands.execute(Command.LOAD, room.current(1))
        assert happened is not None
        assert happened.event is Event.REFUSED
        assert happened.error is not None
        assert happened.error.reason == "prover_crashed"
        assert not fleet.alive

    run(scenario)


def test_a_promotion_without_a_proven_worker(room: Room) -> None:
    """It is no promotion, whoever asks for it."""

    async def scenario() -> None:
        happened = await room.commands.execute(Command.PROMOTE, room.current(1))
        assert happened is not None
        assert happened.event is Event.NOT_SWITCHED
        assert isinstance(happened.error, Conflict)
        assert happened.error.reason == "not_proven"
        assert room.fleet.epoch(WORD) == 0

    run(scenario)


def test_a_promotion_that_cannot_be_committed(room: Room, journal: ScriptedJournal) -> None:
    """Roles and page stay; letting the candidate go then needs no table, since none in force names it."""

    async def scenario() -> None:
        await room.promoted(1)
        current = room.current(2)
        await room.commands.execute(Command.LOAD, current)
        journal.fail(at=journal.writes + 2)
        happened = await room.commands.execute(Command.PROMOTE, current)
        assert happened is not None
        assert happened.event is Event.NOT_SWITCHED
        journal.heal()
        assert room.serving() == (1, None)
        assert room.commands.standby is None
        await room.commands.execute(Command.RELEASE_CANDIDATE, current)
        assert list(room.fleet.alive) == [1]
        assert room.serving() == (1, None)

    run(scenario)
    assert not room.fleet.broken


def test_move_back_and_release_the_candidate(room: Room) -> None:
    """Roles change places with one store; then the candidate, now standby, is unnamed, drained and ended."""

    async def scenario() -> None:
        await room.promoted(1)
        current = await room.promoted(2)
        happened = await room.commands.execute(Command.MOVE_BACK, current)
        assert happened is not None
        assert happened.event is Event.SWITCHED
        assert room.serving() == (1, 2)
        await until(lambda: not room.switch.owes)  # a journal that is slow is written to after the store
        await room.commands.execute(Command.RELEASE_CANDIDATE, current)
        assert room.serving() == (1, None)
        assert list(room.fleet.alive) == [1]

    run(scenario)
    assert not room.fleet.broken


def test_move_back_without_a_prepared_way(room: Room) -> None:
    """After a restart that could not prepare it: it is prepared when it is needed."""

    async def scenario() -> None:
        await room.promoted(1)
        current = await room.promoted(2)
        current.way_back = None
        happened = await room.commands.execute(Command.MOVE_BACK, current)
        assert happened is not None
        assert happened.event is Event.SWITCHED
        assert room.serving() == (1, 2)

    run(scenario)


def test_move_back_that_cannot_be_prepared(room: Room, fleet: MemoryFleet) -> None:
    """Nothing was lost: the new version serves, the old one is warm."""

    async def scenario() -> None:
        await room.promoted(1)
        current = await room.promoted(2)
        current.way_back = None
        fleet.prepare_error = Internal("no channel", reason="prepare_failed")
        happened = await room.commands.execute(Command.MOVE_BACK, current)
        assert happened is not None
        assert (happened.event, happened.error) == (Event.NOT_SWITCHED, fleet.prepare_error)
        assert room.serving() == (2, 1)

    run(scenario)


def test_a_window_is_opened(room: Room) -> None:
    """With a way back at hand only the clock is started."""

    async def scenario() -> None:
        await room.promoted(1)
        current = await room.promoted(2)
        room.fleet.calls.clear()
        await room.commands.execute(Command.OPEN_WINDOW, current)
        assert room.clocks == [current]
        assert not room.fleet.calls

    run(scenario)


@pytest.mark.parametrize("works", [True, False])
def test_a_window_after_a_restart(room: Room, fleet: MemoryFleet, works: bool) -> None:
    """The way back is prepared anew; when that fails, the window runs all the same."""

    async def scenario() -> None:
        await room.promoted(1)
        current = await room.promoted(2)
        current.way_back = None
        fleet.prepare_error = None if works else Internal("no channel", reason="prepare_failed")
        await room.commands.execute(Command.OPEN_WINDOW, current)
        assert room.clocks == [current]
        assert (current.way_back is not None) is works
        assert room.serving() == (2, 1)
        if current.way_back is not None:
            assert current.way_back.epoch == fleet.epoch(WORD) + 1

    run(scenario)


def test_release_at_the_drain_deadline(room: Room, fleet: MemoryFleet) -> None:
    """Leases that never end do not keep a worker for ever."""

    async def scenario() -> None:
        await room.promoted(1)
        current = await room.promoted(2)
        fleet.leased.add(1)
        await room.commands.execute(Command.RELEASE_SOURCE, current)
        assert list(fleet.alive) == [2]
        assert room.commands.standby is None

    run(scenario)
    assert not fleet.broken


def test_a_release_that_fails_is_tried_again(room: Room, journal: ScriptedJournal) -> None:
    """A version is never ended while the table in force names it; it is let go when the journal is well."""

    async def scenario() -> None:
        await room.promoted(1)
        current = await room.promoted(2)
        current.rollout = Rollout(MODEL, "1", "2", Phase.SUCCEEDED)
        journal.fail()
        await room.commands.execute(Command.RELEASE_SOURCE, current)
        assert sorted(room.fleet.alive) == [1, 2]
        await room.again.pop()()
        assert len(room.again) == 1
        journal.heal()
        await room.again.pop()()
        assert list(room.fleet.alive) == [2]
        assert not room.again
        assert room.serving() == (2, None)

    run(scenario)
    assert not room.fleet.broken


def test_a_release_that_failed_ends_with_the_next_promotion(room: Room, journal: ScriptedJournal) -> None:
    """The new table does not name it; the try that comes later finds nothing to do."""

    async def scenario() -> None:
        await room.promoted(1)
        current = await room.promoted(2)
        current.rollout = Rollout(MODEL, "1", "2", Phase.SUCCEEDED)
        journal.fail()
        await room.commands.execute(Command.RELEASE_SOURCE, current)
        journal.heal()
        await room.promoted(3)
        await asyncio.gather(*room.beside)
        assert sorted(room.fleet.alive) == [2, 3]
        assert room.serving() == (3, 2)
        room.fleet.calls.clear()
        await room.again.pop()()
        assert not room.fleet.calls

    run(scenario)
    assert not room.fleet.broken


def test_serve_without_a_rollout(room: Room) -> None:
    """What was decided before a restart: all buckets, no standby."""

    async def scenario() -> None:
        offer = room.stage.offer(1)
        loading = await room.loader.load(1, offer.artifact, offer.plan)
        await room.loader.ready(loading, None)
        await room.commands.serve(loading)
        assert room.commands.active is loading
        assert room.serving() == (1, None)

    run(scenario)


@pytest.mark.parametrize("works", [True, False])
def test_a_certificate_is_written_beside(room: Room, journal: ScriptedJournal, works: bool) -> None:
    """The driver does not wait for it; where the journal does not take it, it is written when that does again."""

    async def scenario() -> None:
        current = await room.promoted(1)
        if not works:
            journal.fail()
        await room.commands.execute(Command.CERTIFY, current)
        assert journal.rollouts.get(current.id).certificate is None
        await asyncio.gather(*room.beside)
        assert (journal.rollouts.get(current.id).certificate is not None) is works
        assert len(room.again) == (0 if works else 1)
        journal.heal()
        for call in room.again:
            await call()
        await asyncio.gather(*room.beside)
        certificate = journal.rollouts.get(current.id).certificate
        assert certificate is not None
        assert (certificate.rollout, certificate.target) == (current.id, current.offer.ref)

    run(scenario)
