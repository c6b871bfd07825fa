"""Sequences between versions, through a real pipeline: there, back, and where somebody has died."""

from __future__ import annotations

import pytest

from changeover.sequences.wire import Status, Verb
from tests.gateway.sequences.house import Shown, house, slab_of
from tests.gateway.sequences.stateful import StatefulWorker, stateful, step

pytestmark = pytest.mark.anyio


async def test_a_sequence_moves_with_its_bucket_and_back() -> None:
    """The record goes to the version that the table wants, at the next step; a rollback takes it back the same way."""
    async with house() as home:
        old, new = stateful(1, "1"), stateful(2, "2")
        home.serve(1, old)
        assert await home.ask(step(7, 1, start=True)) == 1
        home.serve(2, new, old)
        assert [await home.ask(step(7, 2)), await home.ask(step(7, 3))] == [3, 6]
        assert home.workers[2].asked == [Verb.STEP, Verb.STEP]
        home.serve(3, old, new)
        request = step(7, 4)
        assert await home.ask(request) == 10
        assert request.json()["model_version"] == "1"
        assert home.workers[1].asked[-2:] == [Verb.RELEASE, Verb.STEP]


async def test_a_beginning_has_others_forget_and_waits_for_none() -> None:
    """A record of the same id at another version ends, also when that comes late; what began meanwhile does not."""
    async with house() as home:
        old, new = stateful(1, "1"), stateful(2, "2", "drain")
        home.serve(1, old)
        assert await home.ask(step(7, 5, start=True)) == 5
        home.serve(2, new, old)
        home.tasks[0].cancel()
        assert await home.ask(step(7, 1, start=True)) == 1
        assert home.stage.models.targets[1].leases == 1
        (record,) = home.workers[1].records.values()
        (young,) = home.workers[2].records.values()
        assert record.status is Status.OK
        home.start(1, home.workers[1])
        await home.stage.until(lambda: record.status is Status.ENDED, "the old record ends")
        assert home.workers[1].asked[-1] is Verb.FORGET
        assert young.saved is not None
        assert young.forget(young.saved.generation).status is Status.UNKNOWN


async def test_with_drain_a_sequence_ends_where_it_began() -> None:
    """New ones begin at the new version."""
    async with house() as home:
        old, new = stateful(1, "1"), stateful(2, "2", "drain")
        home.serve(1, old)
        assert await home.ask(step(7, 1, start=True)) == 1
        home.serve(2, new, old)
        stays, begins = step(7, 2), step(8, 2, start=True)
        assert [await home.ask(stays), await home.ask(begins)] == [3, 2]
        assert (stays.json()["model_version"], begins.json()["model_version"]) == ("1", "2")


async def test_with_reset_a_sequence_begins_anew_and_the_answer_says_so() -> None:
    """Once; the steps after it go on from there."""
    async with house() as home:
        old, new = stateful(1, "1"), stateful(2, "2", "reset")
        home.serve(1, old)
        assert await home.ask(step(7, 1, start=True)) == 1
        home.serve(2, new, old)
        first, second = step(7, 2), step(7, 3)
        assert [await home.ask(first), await home.ask(second)] == [2, 5]
        assert first.json()["parameters"] == {"sequence_reset": True}
        assert "parameters" not in second.json()


async def test_idle_sequences_are_moved_and_only_then_the_loading_is_let_go() -> None:
    """A loading without a name is held while its slab has live sequences."""
    async with house() as home:
        old, new = stateful(1, "1"), stateful(2, "2")
        home.serve(1, old)
        assert [await home.ask(step(n, n, start=True)) for n in range(1, 6)] == [1, 2, 3, 4, 5]
        worker, target = home.workers[1], home.stage.models.targets[1]
        target.slab = Shown(worker)  # type: ignore[assignment]
        home.serve(2, new)
        assert target.held == 1
        await home.stage.until(lambda: 1 not in home.stage.models.targets, "the loading let go")
        assert [r.status for r in worker.records.values()] == [Status.MOVED] * 5
        assert [await home.ask(step(n, 10)) for n in range(1, 6)] == [11, 12, 13, 14, 15]
        assert Verb.IMPORT in home.workers[2].asked


async def test_a_dead_loadings_slab_stands_for_its_worker() -> None:
    """It gets no worker any more: the state is read, and goes on at the version in force."""
    async with house() as home:
        old, new = stateful(1, "1"), stateful(2, "2")
        home.serve(1, old)
        assert await home.ask(step(7, 5, start=True)) == 5
        target = home.stage.models.targets[1]
        target.slab = slab_of(home.workers[1])
        home.serve(2, new, old)
        target.batcher.refused()
        assert await home.ask(step(7, 2)) == 7


async def test_a_loading_whose_workers_died_forgets_when_the_next_one_is_here() -> None:
    """Its old record does not come back, although nobody could be told when the sequence began anew."""
    async with house() as home:
        old, new = stateful(1, "1"), stateful(2, "2", "drain")
        home.serve(1, old)
        assert await home.ask(step(7, 5, start=True)) == 5
        home.serve(2, new, old)
        home.tasks[0].cancel()
        opened = len(home.stage.told)
        home.workers[1].worker.sock.close()
        await home.stage.until(lambda: len(home.stage.told) > opened, "the gateway asks for the next worker")
        home.stage.models.targets[1].batcher.bar(60.0)
        assert await home.ask(step(7, 1, start=True)) == 1
        home.start(1, StatefulWorker(home.stage.connect(1), 1, home.workers[1]))
        (record,) = home.workers[1].records.values()
        await home.stage.until(lambda: record.status is Status.ENDED, "the old record ends")


@pytest.mark.parametrize("back", [False, True])
async def test_a_state_whose_carrier_died_arrives_before_its_loading_is_let_go(back: bool) -> None:
    """Its client is idle all the while; its next step goes on from there, after the promotion or the rollback."""
    async with house() as home:
        old, new = stateful(1, "1"), stateful(2, "2")
        home.serve(1, old)
        assert await home.ask(step(7, 5, start=True)) == 5
        home.serve(2, new, old)
        (record,) = home.workers[1].records.values()
        assert record.release(2).status is Status.OK, "by a gateway that dies now"
        for number in (1, 2):
            home.stage.models.targets[number].slab = slab_of(home.workers[number])
        home.serve(3, old if back else new)
        going = 2 if back else 1
        await home.stage.until(lambda: Verb.IMPORT in home.workers[2].asked, "the state arrives")
        (there,) = home.workers[2].records.values()
        assert there.saved is not None
        if back:
            home.stage.models.targets[2].slab = slab_of(home.workers[2])
            await home.stage.until(lambda: record.status is Status.OK, "the sequence is taken back")
            home.stage.models.targets[2].slab = slab_of(home.workers[2])
        await home.stage.until(lambda: going not in home.stage.models.targets, "the loading is let go")
        request = step(7, 2)
        assert (await home.ask(request), request.json()["model_version"]) == (7, "1" if back else "2")
