"""One step under way: what counts as evidence, what a client's retry gets, and what is left when it goes."""

from __future__ import annotations

from math import inf
from time import monotonic

import pytest

from changeover.gateway.sequences.sweep import GRACE
from changeover.gateway.sequences.words import SETTLED
from changeover.sequences.saved import Flag
from changeover.sequences.wire import Verb
from tests.gateway.sequences.house import House, house, slab_of
from tests.gateway.sequences.stateful import StatefulWorker, stateful, step
from tests.gateway.stage import Request

pytestmark = pytest.mark.anyio


async def test_a_step_is_evidence_only_when_its_arm_has_written_the_state() -> None:
    """After a move the first steps are none; one of a sequence that began there is from the first on."""
    async with house() as home:
        old, new = stateful(1, "1"), stateful(2, "2")
        home.serve(1, old)
        assert await home.ask(step(7, 1, start=True)) == 1
        home.serve(2, old, new, weight=10_000, candidate=2)
        tally = home.stage.models.targets[2].ledger.current
        assert tally is not None
        for _ in range(SETTLED - 1):
            await home.ask(step(7, 1))
        assert tally.requests == 0
        for _ in range(2):
            await home.ask(step(7, 1))
        assert tally.requests == 2
        await home.ask(step(8, 1, start=True))
        assert tally.requests == 3


async def test_a_step_goes_out_with_one_token_and_its_requests_id() -> None:
    """However often it is sent: the worker tells by it that it knows the step."""
    async with house() as home:
        home.serve(1, stateful(1, "1"))
        home.tasks[0].cancel()
        worker = home.workers[1]
        request = home.stage.ask(step(7, 1, start=True, id="first"))
        header, parts = await worker.worker.take()
        (sent,) = worker.read(header, parts[-1])
        worker.worker.sock.close()
        await home.stage.until(lambda: len(home.stage.told) > 2, "the gateway asks for the next worker")
        worker = StatefulWorker(home.stage.connect(1), 1, worker)
        header, parts = await worker.worker.take()
        (again,) = worker.read(header, parts[-1])
        assert (again.token, again.digest, again.key) == (sent.token, sent.digest, sent.key)
        worker.give(header, [worker.one(again, 1)])
        await home.stage.answered(request)
        assert request.values[0] == 1


async def test_a_state_in_hand_arrives_although_its_client_has_gone() -> None:
    """The step is not run, and the next one finds the sequence where it was going."""
    async with house() as home:
        old, new = stateful(1, "1"), stateful(2, "2")
        home.serve(1, old)
        assert await home.ask(step(7, 1, start=True)) == 1
        home.serve(2, new, old)
        home.tasks[0].cancel()
        request = home.stage.ask(step(7, 2))
        header, parts = await home.workers[1].worker.take()
        (ask,) = home.workers[1].read(header, parts[-1])
        assert (ask.verb, request.abandoned is not None) == (Verb.RELEASE, True)
        if request.abandoned is not None:
            request.abandoned()
        home.workers[1].give(header, [home.workers[1].one(ask, 0)])
        await home.stage.until(lambda: Verb.IMPORT in home.workers[2].asked, "the state arrives")
        assert await home.ask(step(7, 4)) == 5
        assert home.stage.models.targets[1].held == 0


async def test_a_candidate_that_dies_with_a_step_in_hand_is_rescued() -> None:
    """Its next worker hands out the state of before, and the active version answers."""
    async with house() as home:
        old, new = stateful(1, "1"), stateful(2, "2")
        home.serve(1, old)
        home.serve(2, old, new, weight=10_000, candidate=2, shield=True)
        assert await home.ask(step(7, 1, start=True)) == 1
        dying = home.workers[2]
        home.tasks[1].cancel()
        request = home.stage.ask(step(7, 2))
        await dying.worker.take()
        dying.worker.sock.close()
        opened = len(home.stage.told)
        await home.stage.until(lambda: len(home.stage.told) > opened, "the gateway asks for the next worker")
        home.start(2, StatefulWorker(home.stage.connect(2), 2, dying))
        await home.stage.answered(request)
        assert (request.values[0], request.json()["model_version"]) == (3, "1")
        assert home.workers[2].asked == [Verb.RELEASE]


async def test_a_candidate_that_hangs_with_a_step_is_replaced_and_the_client_served() -> None:
    """After half of the step's time, which the active version needs too."""
    async with house(timeout=4.0) as home:
        old, new = stateful(1, "1"), stateful(2, "2")
        home.serve(1, old)
        home.serve(2, old, new, weight=10_000, candidate=2, shield=True)
        assert await home.ask(step(7, 1, start=True)) == 1
        hanging = home.workers[2]
        home.tasks[1].cancel()
        request = home.stage.ask(step(7, 2))
        await hanging.worker.take()
        await home.stage.until(lambda: home.stage.denounced, "the gateway wants it killed")
        home.start(2, StatefulWorker(home.stage.connect(2), 2, hanging))
        await home.stage.answered(request)
        assert (request.values[0], request.json()["model_version"]) == (3, "1")


async def _under_way(home: House) -> Request:
    """A step whose state the first version is about to hand out for the second one."""
    home.serve(1, stateful(1, "1"))
    assert await home.ask(step(7, 1, start=True)) == 1
    home.serve(2, stateful(2, "2"), stateful(1, "1"))
    home.tasks[0].cancel()
    request = home.stage.ask(step(7, 2))
    header, parts = await home.workers[1].worker.take()
    (ask,) = home.workers[1].read(header, parts[-1])
    assert ask.verb is Verb.RELEASE
    home.answer = lambda: home.workers[1].give(header, [home.workers[1].one(ask, 0)])
    return request


async def test_who_is_to_get_a_state_is_held_until_it_is_there() -> None:
    """A rollback in between does not let it go, so the state arrives."""
    async with house() as home:
        request = await _under_way(home)
        home.serve(3, stateful(1, "1"))
        target = home.stage.models.targets[2]
        assert target.held >= 1
        home.answer()
        home.start(1, home.workers[1])
        await home.stage.answered(request)
        assert (request.status, request.values[0]) == (200, 3)
        await home.stage.until(lambda: not target.leases, "the lease ends")


async def test_who_handed_a_state_out_is_held_until_it_has_arrived() -> None:
    """Its receiver takes longer than an empty loading is held, and fails then: the state goes home, and on there."""
    async with house() as home:
        request = await _under_way(home)
        home.tasks[1].cancel()
        old, new, source = home.workers[1], home.workers[2], home.stage.models.targets[1]
        source.slab = slab_of(old)
        home.serve(3, stateful(2, "2"))
        home.answer()
        header, parts = await new.worker.take()
        source.slab = slab_of(old)
        for turn in range(6):
            home.stage.pipeline._sequences._sweeper.check(monotonic() + 2 * GRACE * turn)
        (ask,) = new.read(header, parts[-1])
        new.refuses = True
        new.give(header, [new.one(ask, 2)])
        home.start(1, old)
        home.start(2, new)
        await home.stage.answered(request)
        assert (request.status, request.values[0], request.json()["model_version"]) == (200, 3, "1")


async def test_a_state_in_hand_goes_home_when_its_receiver_has_died_for_good() -> None:
    """It is not dropped, and nobody asks the dead for ever."""
    async with house() as home:
        request = await _under_way(home)
        home.stage.models.targets[2].batcher.refused()
        home.answer()
        home.start(1, home.workers[1])
        await home.stage.answered(request)
        assert (request.status, request.values[0], request.json()["model_version"]) == (200, 3, "1")
        assert home.stage.models.targets[1].held == 0


async def _died(home: House, loading: int) -> None:
    """A worker dies and gets no successor; its slab is what gateways see of it."""
    worker, target = home.workers[loading], home.stage.models.targets[loading]
    target.slab = slab_of(worker)
    home.tasks[loading - 1].cancel()
    opened = len(home.stage.told)
    worker.worker.sock.close()
    await home.stage.until(lambda: len(home.stage.told) > opened, "the gateway asks for the next worker")
    target.batcher.refused()


async def test_a_goal_that_dies_for_good_is_left_for_the_one_of_the_table_in_force() -> None:
    """The state goes back from its slab, and says that it goes back: the older version takes it as its own."""
    async with house() as home:
        old, new = stateful(1, "1"), stateful(2, "2")
        home.serve(1, old)
        home.serve(2, new, old)
        assert await home.ask(step(7, 1, start=True)) == 1
        home.tasks[1].cancel()
        request = home.stage.ask(step(7, 2))
        await home.workers[2].worker.take()
        home.serve(3, old, new)
        await _died(home, 2)
        await home.stage.answered(request)
        assert (request.status, request.values[0], request.json()["model_version"]) == (200, 3, "1")
        (record,) = home.workers[1].records.values()
        assert record.came is not None
        assert record.came.flags & Flag.BACK


@pytest.mark.parametrize("begins", [True, False])
async def test_a_candidate_that_is_dead_for_good_is_stood_in_for(begins: bool) -> None:
    """By the active version, while failures are shielded: also a sequence that begins there."""
    async with house() as home:
        old, new = stateful(1, "1"), stateful(2, "2")
        home.serve(1, old)
        home.serve(2, old, new, weight=10_000, candidate=2, shield=True)
        assert await home.ask(step(7, 1, start=True)) == 1
        await _died(home, 2)
        request = step(8 if begins else 7, 5, start=begins)
        assert await home.ask(request) == (5 if begins else 6)
        assert request.json()["model_version"] == "1"
        assert await home.ask(step(9, 5, headers={b"changeover-version": b"2"}, start=True)) == "worker_lost"


async def test_a_goal_that_is_dead_and_has_nobody_beside_it_refuses() -> None:
    """No table has another one, and nobody shields."""
    async with house() as home:
        home.serve(1, stateful(1, "1"))
        assert await home.ask(step(7, 1, start=True)) == 1
        await _died(home, 1)
        assert await home.ask(step(7, 2)) == "worker_lost"


async def test_a_candidate_that_hangs_again_is_found_out_again() -> None:
    """The step waited behind another one when the first worker was killed; the next one has its own time."""
    async with house(timeout=2.5) as home:
        old, new = stateful(1, "1"), stateful(2, "2")
        home.serve(1, old)
        home.serve(2, old, new, weight=10_000, candidate=2, shield=True)
        assert await home.ask(step(7, 1, start=True)) == 1
        home.tasks[1].cancel()
        home.stage.ask(step(7, 2))
        await home.stage.until(lambda: home.stage.denounced, "the gateway wants it killed")
        (waiting,) = home.stage.pipeline._sequences._steps.values()
        assert waiting._give_up < inf
