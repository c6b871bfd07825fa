"""From a request to its answer, without a network: limits, epochs, errors."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.stage import Request, entry, question, stage


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
            await worker.serve_one(2.0)
            await here.answered(*kept)
            again = here.ask(question())
            await worker.serve_one(2.0)
            await here.answered(again)
            assert again.status == 200

    asyncio.run(scenario())


def test_a_refused_request_leaves_nothing_behind() -> None:
    """No ticket, no lease, no count as a failure of the version."""

    async def scenario() -> None:
        async with stage() as here:
            here.serve(1, entry(7, "1"))
            wrong = here.ask(question(outputs=[{"name": "nothing"}]))
            assert (wrong.status, wrong.json()["reason"]) == (404, "unknown_output")
            assert here.ask(Request(b"{")).status == 400
            target = here.models.targets[7]
            assert (here.pipeline.in_flight, target.leases, target.counter.failed) == (0, 0, 0)
            assert here.models.by_name["m"].tickets == 0

    asyncio.run(scenario())


def test_only_the_outputs_asked_for_come_in_the_order_asked() -> None:
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


@pytest.mark.parametrize("length", [b"-1", b"x", b"99999999999", b"5"])
def test_a_wrong_header_length_is_the_callers_fault(length: bytes) -> None:
    """Whatever stands in `inference-header-content-length`."""

    async def scenario() -> None:
        async with stage() as here:
            here.serve(1, entry(7, "1"))
            request = here.ask(question(headers={b"inference-header-content-length": length}))
            assert request.status == 400

    asyncio.run(scenario())


def test_json_beyond_its_limit_is_refused_before_it_is_parsed() -> None:
    """Parsing would keep all others waiting."""

    async def scenario() -> None:
        async with stage() as here:
            here.serve(1, entry(7, "1"))
            request = here.ask(Request(b" " * ((16 << 20) + 1)))
            assert (request.status, request.json()["reason"]) == (413, "json_too_large")

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
