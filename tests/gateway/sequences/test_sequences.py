"""Steps through a real pipeline, channels and tables; the workers are the test's (`stateful`)."""

from __future__ import annotations

import asyncio
import time

import pytest

from changeover.transport.control import Signature, TensorEntry
from changeover.transport.link import Kind
from tests.gateway.sequences.house import house
from tests.gateway.sequences.stateful import StatefulWorker, stateful, step
from tests.gateway.stage import Request, question

pytestmark = pytest.mark.anyio


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
        request_.received = time.monotonic()  # it was made when the tests were collected
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
