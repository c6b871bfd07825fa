"""From a request to its answer, without a network: limits, epochs, errors."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from changeover.errors import NotFound
from changeover.gateway.ticket import Ticket
from tests.gateway.stage import FakeWorker, Request, Stage, entry, question, stage


def test_an_answer_names_the_epoch_that_chose_it() -> None:
    """Also when the switch comes between the choice and the answer: the old version answers for the old epoch."""

    async def scenario() -> None:
        async with stage() as here:
            (old,) = here.serve(1, entry(7, "1"))
            before = here.ask(question())
            header, (part,) = await old.take()
            (new,) = here.serve(2, entry(8, "2"))
            after = here.ask(question())
            await new.serve_one(5.0)
            old.give(header, old.rows(header, part) * 2)
            await here.answered(before, after)
            assert (before.json()["model_version"], before.values[0]) == ("1", 2)
            assert (after.json()["model_version"], after.values[0]) == ("2", 5)
            assert b"changeover-epoch: 1\r\n" in before.head
            assert b"changeover-epoch: 2\r\n" in after.head

    asyncio.run(scenario())


def test_a_full_queue_sheds_with_a_time_to_come_again() -> None:
    """503 with `retry-after` and a reason; when answers go out there is room again."""

    async def scenario() -> None:
        async with stage(queue_limit=5) as here:
            (worker,) = here.serve(1, entry(7, "1"))
            kept = [here.ask(question()) for _ in range(5)]
            shed = here.ask(question())
            assert (shed.status, shed.json()["reason"]) == (503, "queue_full")
            assert b"retry-after: 1\r\n" in shed.head
            assert here.models.targets[7].counter.shed == 1
            assert here.models.by_name["m"].held == sum(len(r.body) for r in kept)
            await worker.serve_one(2.0)
            await here.answered(*kept)
            again = here.ask(question())
            await worker.serve_one(2.0)
            await here.answered(again)
            assert again.status == 200
            assert here.models.by_name["m"].held == 0

    asyncio.run(scenario())


async def measured(here: Stage, worker: FakeWorker, seconds: float) -> None:
    """Let the pace be known: requests that had to wait for one another, and took so long each."""
    for _ in range(3):
        batches = [here.ask(question()) for _ in range(2)]
        for _ in batches:
            header, (part,) = await worker.take()
            await asyncio.sleep(seconds)
            worker.give(header, worker.rows(header, part))
        await here.answered(*batches)


def test_who_would_wait_too_long_is_shed_before_the_body_is_read() -> None:
    """By the model's own `max_queue_delay`; a body of nonsense gets 503 too, since nobody looked at it."""

    async def scenario() -> None:
        async with stage(queue_limit=500, delay=1000.0) as here:
            (worker,) = here.serve(1, entry(7, "1", max_batch=1, max_queue_delay=0.2))
            await measured(here, worker, 0.02)
            asked = [here.ask(question()) for _ in range(100)]
            kept = [r for r in asked if not r.status]
            assert 64 <= len(kept) < 100
            nonsense = here.ask(Request(b"{"))
            assert {(r.status, r.json()["reason"]) for r in [*asked, nonsense] if r.status} == {(503, "queue_delay")}
            assert b"retry-after: " in nonsense.head
            target = here.models.targets[7]
            assert (target.counter.shed, target.leases) == (101 - len(kept), len(kept))
            for _ in kept:
                await worker.serve_one(2.0)
            await here.answered(*kept)
            assert {r.status for r in kept} == {200}
            assert target.leases == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("in_header", [True, False])
def test_who_has_too_little_time_is_shed_at_once(in_header: bool) -> None:
    """Whether the time stands in the header or in the body; with more time the same request is taken."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1", max_batch=1))
            await measured(here, worker, 0.05)
            waiting = [here.ask(question()) for _ in range(10)]
            more = {"headers": {b"changeover-timeout": b"100ms"}} if in_header else {"parameters": {"timeout": 100_000}}
            hasty = here.ask(question(**more))
            assert (hasty.status, hasty.json()["reason"]) == (503, "queue_delay")
            patient = here.ask(question(parameters={"timeout": 60_000_000}))
            assert not patient.status
            for _ in [*waiting, patient]:
                await worker.serve_one(2.0)
            await here.answered(*waiting, patient)
            assert here.models.targets[7].leases == 0

    asyncio.run(scenario())


def test_a_pace_of_bad_times_locks_nobody_out() -> None:
    """A worker that was slow once: on an idle server a hasty request is taken, also by the worker after it."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1", max_batch=1))
            pace = here.models.targets[7].batcher.pace
            pace.answered(0.0, 10.0, 1, crowded=True)
            hasty = here.ask(question(headers={b"changeover-timeout": b"6s"}))
            assert not hasty.status
            await worker.serve_one(2.0)
            await here.answered(hasty)
            assert hasty.status == 200
            assert pace.interval < 6.0
            worker.sock.close()
            await here.until(lambda: here.models.targets[7].batcher.channel is None, "the loss")
            here.connect(7)
            assert here.models.targets[7].batcher.pace.interval == 0

    asyncio.run(scenario())


def test_a_refused_request_leaves_nothing_behind() -> None:
    """No ticket, no lease, no count as a failure of the version."""

    async def scenario() -> None:
        async with stage() as here:
            here.serve(1, entry(7, "1"))
            wrong = here.ask(question(outputs=[{"name": "nothing"}]))
            assert (wrong.status, wrong.json()["reason"]) == (400, "unknown_output")
            assert here.ask(Request(b"{")).status == 400
            target = here.models.targets[7]
            assert (here.pipeline.in_flight, target.leases, target.counter.failed) == (0, 0, 0)
            assert (here.models.by_name["m"].tickets, here.models.by_name["m"].held) == (0, 0)

    asyncio.run(scenario())


def test_only_the_outputs_asked_for_come() -> None:
    """Named outputs, in JSON or binary as the request says."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            request = here.ask(question(outputs=[{"name": "y", "parameters": {"binary_data": True}}], id="abc"))
            await worker.serve_one(2.0)
            await here.answered(request)
            assert b"inference-header-content-length: " in request.head
            assert request.answer.startswith(b'{"id":"abc"')
            assert request.answer[-16:] == b"\0\0\0@\0\0\x80@\0\0\xc0@\0\0\0A"

    asyncio.run(scenario())


def test_the_last_lease_of_a_drained_version_may_end_with_its_hung_worker() -> None:
    """Its requests are past their deadline and no table names it when it is given up: the clock goes on."""

    async def scenario() -> None:
        async with stage(timeout=0.05) as here:
            (hung,) = here.serve(1, entry(7, "1", run_timeout=0.15))
            request = here.ask(question())
            await hung.take()
            (new,) = here.serve(2, entry(8, "2"))
            await here.answered(request)
            assert request.status == 504
            await here.until(lambda: 7 not in here.models.targets, "the end of the hung worker")
            assert here.denounced == [hung.member]
            late = here.ask(question(headers={b"changeover-timeout": b"50ms"}))
            await here.answered(late)
            assert late.status == 504
            await new.take()

    asyncio.run(scenario())


def test_a_defect_on_the_way_in_keeps_no_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is raised before the request is in the queue; the door answers it."""

    def broken(*_: object, **__: object) -> None:
        raise MemoryError

    async def scenario() -> None:
        async with stage() as here:
            here.serve(1, entry(7, "1"))
            monkeypatch.setattr("changeover.gateway.pipeline.admit", broken)
            with pytest.raises(MemoryError):
                here.ask(question())
            assert (here.models.targets[7].leases, here.models.by_name["m"].held) == (0, 0)

    asyncio.run(scenario())


def test_what_ends_with_another_request_is_answered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are past their time, and the end of the first one brings about that of the second: counted once each."""

    async def scenario() -> None:
        async with stage() as here:
            here.serve(1, entry(7, "1"))
            requests = [here.ask(question(headers={b"changeover-timeout": b"50ms"})) for _ in range(2)]
            left = here.pipeline._sequences.left

            def and_all_others(ticket: Ticket) -> None:
                left(ticket)
                for other in [t for t in here.pipeline._live if t is not ticket]:
                    here.pipeline.fail(other, NotFound("its turn came, and its version is gone"))

            monkeypatch.setattr(here.pipeline._sequences, "left", and_all_others)
            moment = monotonic() + 0.05
            for ticket in here.pipeline._live:
                ticket.deadline = moment
            await here.answered(*requests)
            await asyncio.sleep(0.05)
            assert sorted(request.status for request in requests) == [404, 504]
            assert (here.models.by_name["m"].tickets, here.models.by_name["m"].held) == (0, 0)

    asyncio.run(scenario())
