"""Steps through a real pipeline, channels and tables; the workers are the test's (`stateful`)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from changeover.sequences.wire import Status, Verb
from changeover.transport.control import Signature, TensorEntry
from changeover.transport.link import Kind
from tests.gateway.sequences.stateful import GEOMETRY, StatefulWorker, stateful, step
from tests.gateway.stage import Request, Stage, question, stage

pytestmark = pytest.mark.anyio


class House:
    """A stage whose workers keep sequences."""

    def __init__(self, made: Stage) -> None:
        self.stage = made
        self.workers: dict[int, StatefulWorker] = {}
        self.tasks: list[asyncio.Task[None]] = []
        self.answer: Callable[[], None] = lambda: None
        """What a test has a worker say later."""

    def serve(self, epoch: int, *loadings: Any, **more: Any) -> None:
        """Publish a table; new loadings get workers."""
        known = set(self.stage.models.targets)
        new = [x.loading for x in loadings if x.loading not in known]
        for number, worker in zip(new, self.stage.serve(epoch, *loadings, **more), strict=True):
            self.start(number, StatefulWorker(worker, number))

    def start(self, loading: int, worker: StatefulWorker) -> None:
        """Let a worker serve."""
        self.workers[loading] = worker
        self.tasks.append(asyncio.create_task(worker.serve()))

    async def ask(self, request: Request) -> Any:
        """The sum that a step answers with, or the reason of its refusal."""
        self.stage.ask(request)
        await self.stage.answered(request)
        told = request.json()
        return told["outputs"][0]["data"][0] if request.status == 200 else told["reason"]


@contextlib.asynccontextmanager
async def house(**options: Any) -> AsyncIterator[House]:
    """A stage, and its workers ended."""
    async with stage(**options) as made:
        found = House(made)
        try:
            yield found
            failed = [t.exception() for t in found.tasks if t.done() and not t.cancelled()]
            assert not [error for error in failed if "closed the channel" not in str(error)]
        finally:
            for task in found.tasks:
                task.cancel()


async def test_steps_add_up_and_versions_say_who_they_are() -> None:
    """Start, steps, end; each answer is of the state before."""
    async with house() as home:
        home.serve(1, stateful(1, "1"))
        assert [await home.ask(step(7, n, start=n == 1, end=n == 3)) for n in (1, 2, 3)] == [1, 3, 6]
        assert await home.ask(step(7, 1)) == "sequence_ended"
        assert [len(lines) for lines in home.stage.pipeline._sequences._lines.values()] == [0]
        assert await home.ask(step("seven", 5, start=True)) == 5


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (question(), "sequence_id_missing"),
        (step(0), "sequence_id_missing"),
        (step(""), "sequence_id_missing"),
        (step("x" * 129), "sequence_id_invalid"),
        (step(7, rows=2), "sequence_rows"),
        (step(7), "sequence_unknown"),
    ],
)
async def test_a_wrong_step_is_refused(request_: Request, reason: str) -> None:
    """With 400, and nothing of it is left behind."""
    async with house() as home:
        home.serve(1, stateful(1, "1"))
        assert (await home.ask(request_), request_.status) == (reason, 400)
        assert home.stage.models.targets[1].held == 0
        assert home.stage.models.by_name["m"].tickets == 0


async def test_steps_of_one_sequence_wait_for_one_another() -> None:
    """Twenty at once: each is a batch of its own, in the order in which they came."""
    async with house() as home:
        home.serve(1, stateful(1, "1"))
        requests = [home.stage.ask(step(7, n, start=n == 1)) for n in range(1, 21)]
        await home.stage.answered(*requests)
        assert [r.values[0] for r in requests] == [n * (n + 1) / 2 for n in range(1, 21)]
        assert set(home.workers[1].batches) == {1}


async def test_steps_of_different_sequences_share_batches() -> None:
    """Six at once do not take six runs."""
    async with house() as home:
        home.serve(1, stateful(1, "1"))
        requests = [home.stage.ask(step(n, n, start=True)) for n in range(1, 7)]
        await home.stage.answered(*requests)
        assert [r.values[0] for r in requests] == [1, 2, 3, 4, 5, 6]
        assert max(home.workers[1].batches) > 1


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
        target.slab = _Shown(worker)  # type: ignore[assignment]
        home.serve(2, new)
        assert target.held == 1
        await home.stage.until(lambda: 1 not in home.stage.models.targets, "the loading let go")
        assert [r.status for r in worker.records.values()] == [Status.MOVED] * 5
        assert [await home.ask(step(n, 10)) for n in range(1, 6)] == [11, 12, 13, 14, 15]
        assert Verb.IMPORT in home.workers[2].asked


class _Shown:
    """What a gateway sees of a worker's slab, as it is at each look."""

    def __init__(self, worker: StatefulWorker) -> None:
        self._worker = worker

    @property
    def live(self) -> int:
        """How many live."""
        return len(list(self.live_keys()))

    geometry = GEOMETRY

    def live_keys(self, _: range | None = None) -> list[tuple[bytes, bytes]]:
        """Of the live ones; the tag is made up of the place."""
        records = self._worker.records.items()
        return [(k, b"\x01%d" % (n + 1)) for n, (k, r) in enumerate(records) if r.saved and r.status is Status.OK]


async def test_a_worker_that_dies_loses_nothing_that_was_committed() -> None:
    """The step it had in hand goes to the next worker with the same token: committed or not, it counts once."""
    for committed in (False, True):
        async with house() as home:
            home.serve(1, stateful(1, "1"))
            assert await home.ask(step(7, 1, start=True)) == 1
            worker = home.workers[1]
            home.tasks[0].cancel()
            request = home.stage.ask(step(7, 2))
            header, parts = await worker.worker.take()
            (ask,) = worker.read(header, parts[-1])
            if committed:
                assert worker.one(ask, 2)[1] == 3
            worker.worker.sock.close()
            await home.stage.until(lambda: len(home.stage.heard(Kind.OPEN)) > 1, "the gateway asks for the next worker")
            home.start(1, StatefulWorker(home.stage.connect(1), 1, worker))
            await home.stage.answered(request)
            assert request.values[0] == 3
            assert await home.ask(step(7, 3)) == 6


async def test_a_dead_loadings_slab_stands_for_its_worker() -> None:
    """It gets no worker any more: the state is read, and goes on at the version in force."""
    async with house() as home:
        old, new = stateful(1, "1"), stateful(2, "2")
        home.serve(1, old)
        assert await home.ask(step(7, 5, start=True)) == 5
        target = home.stage.models.targets[1]
        target.slab = _slab(home.workers[1])
        home.serve(2, new, old)
        target.batcher.refused()
        assert await home.ask(step(7, 2)) == 7


def _slab(worker: StatefulWorker) -> Any:
    from changeover.sequences.slab import Slab

    return Slab(worker.slab())


async def test_a_candidates_failure_is_answered_by_the_active_version() -> None:
    """With the state before the step; the judge's tally has it, and the sequence stays there."""
    async with house() as home:
        old, new = stateful(1, "1"), stateful(2, "2")
        home.serve(1, old)
        assert await home.ask(step(7, 1, start=True)) == 1
        home.serve(2, old, new, weight=10_000, candidate=2, shield=True)
        assert await home.ask(step(7, 2)) == 3
        home.workers[2].fails = True
        request = step(7, 3)
        assert (await home.ask(request), request.json()["model_version"]) == (6, "1")
        tally = home.stage.models.targets[2].ledger.current
        assert tally is not None
        assert (tally.failures, tally.shielded) == (1, 1)
        home.workers[2].fails = False
        later = step(7, 4)
        assert (await home.ask(later), later.json()["model_version"]) == (10, "1")


async def test_a_step_whose_client_has_gone_holds_up_nobody() -> None:
    """One that waits leaves the line; one under way ends, and the next goes on from it."""
    async with house() as home:
        home.serve(1, stateful(1, "1"))
        home.tasks[0].cancel()
        requests = [home.stage.ask(step(7, n, start=n == 1)) for n in (1, 2, 3)]
        await asyncio.sleep(0)
        for request in requests[:2]:
            assert request.abandoned is not None
            request.abandoned()
        home.start(1, home.workers[1])
        await home.stage.answered(requests[2])
        assert requests[2].values[0] in (4, 3)
        assert home.stage.models.by_name["m"].tickets == 0
        assert home.stage.models.targets[1].held == 0


async def test_a_step_that_waits_too_long_hears_so_and_leaves_the_line() -> None:
    """Its deadline holds while it parks."""
    async with house(timeout=0.05) as home:
        home.serve(1, stateful(1, "1"))
        home.tasks[0].cancel()
        requests = [home.stage.ask(step(7, n, start=n == 1)) for n in (1, 2)]
        await home.stage.answered(*requests)
        assert [r.status for r in requests] == [504, 504]
        assert home.stage.models.by_name["m"].tickets == 0


async def test_an_output_that_the_sequences_own_version_has_not_is_refused_before_it_runs() -> None:
    """The request was looked at with the newer version in mind; the sequence stays at the older one."""
    async with house() as home:
        outputs = Signature([TensorEntry("x", "FP32", [-1, 4])], [TensorEntry("z", "FP32", [-1, 4])], True)
        old, new = stateful(1, "1"), stateful(2, "2", "drain", signature=outputs)
        home.serve(1, old)
        assert await home.ask(step(7, 1, start=True)) == 1
        home.serve(2, new, old)
        assert await home.ask(step(7, 2, outputs=[{"name": "z"}])) == "unknown_output"
        assert await home.ask(step(7, 3)) == 4


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
            home.stage.models.targets[number].slab = _slab(home.workers[number])
        home.serve(3, old if back else new)
        going = 2 if back else 1
        await home.stage.until(lambda: Verb.IMPORT in home.workers[2].asked, "the state arrives")
        (there,) = home.workers[2].records.values()
        assert there.saved is not None
        if back:
            home.stage.models.targets[2].slab = _slab(home.workers[2])
            await home.stage.until(lambda: record.status is Status.OK, "the sequence is taken back")
            home.stage.models.targets[2].slab = _slab(home.workers[2])
        await home.stage.until(lambda: going not in home.stage.models.targets, "the loading is let go")
        request = step(7, 2)
        assert (await home.ask(request), request.json()["model_version"]) == (7, "1" if back else "2")
