"""What becomes of requests whose worker dies: once, again and again, or from outside."""

from __future__ import annotations

import asyncio
import time

from changeover.transport.channel import Header, Part
from changeover.transport.link import Frame, Kind, frame
from tests.gateway.stage import FakeWorker, entry, question, stage
from tests.held_up import unless_held_up


def test_a_channel_that_ends_hands_all_batches_to_the_next_one() -> None:
    """Death with three slots full: all are run again, in their order, and nobody is denounced."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1", max_batch=1))
            requests = [here.ask(question([n, 0, 0, 0])) for n in range(5)]
            for _ in range(3):
                await worker.take()
            worker.sock.close()
            await here.until(lambda: len(here.heard(Kind.OPEN)) == 2, "the next OPEN")
            successor = here.connect(7)
            order = []
            for _ in range(5):
                header, (part,) = await successor.take()
                order.append(int(worker_value(successor, header, part)))
                successor.give(header, successor.rows(header, part))
            await here.answered(*requests)
            assert order == [0, 1, 2, 3, 4]
            assert here.denounced == []

    asyncio.run(scenario())


def worker_value(worker: FakeWorker, header: Header, part: Part) -> float:
    """The first value of a batch."""
    return float(worker.rows(header, part)[0, 0])


@unless_held_up(0.4)
def test_another_gateways_batch_is_no_silence() -> None:
    """A worker that has not begun yet with what is here, but finishes others' batches, is not given up."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1", run_timeout=1.2))
            request = here.ask(question())
            for _ in range(5):
                await asyncio.sleep(0.3)  # a run for another gateway
                worker.memory.strike()
            await worker.serve_one(2.0)
            await here.answered(request)
            assert (request.status, here.denounced) == (200, [])

    asyncio.run(scenario())


def test_one_of_two_runners_stuck_is_silence() -> None:
    """The other one answers on and on; what is in hand all the while counts."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1", run_timeout=60.0, max_batch=1))
            here.ask(question())
            await worker.take()
            batcher = here.models.targets[7].batcher
            other = asyncio.create_task(worker.serve(2.0))
            for second in range(0, 60, 6):
                request = here.ask(question())
                await here.answered(request)
                batcher.check(time.monotonic() + second)
                assert (request.status, here.denounced) == (200, [])
            here.ask(question())
            batcher.check(time.monotonic() + 61.0)
            other.cancel()
            await asyncio.gather(other, return_exceptions=True)
            assert here.denounced == [worker.member]

    asyncio.run(scenario())


def test_a_request_in_hand_at_three_deaths_is_refused_and_no_other() -> None:
    """Who waits behind a poisonous request is not blamed for the deaths it caused."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1", max_batch=1))
            poison = here.ask(question([666, 0, 0, 0]))
            others = [here.ask(question()) for _ in range(6)]
            for death in range(3):
                await worker.take()
                worker.sock.close()
                await here.until(lambda n=death: len(here.heard(Kind.OPEN)) == n + 2, "the next OPEN")  # type: ignore[misc]
                worker = here.connect(7)
            serving = asyncio.create_task(worker.serve(2.0))
            await here.answered(poison, *others)
            serving.cancel()
            assert (poison.status, poison.json()["reason"]) == (500, "worker_crashed")
            assert [r.status for r in others] == [200] * 6

    asyncio.run(scenario())


def test_kills_from_outside_blame_nobody() -> None:
    """A request may be in hand at any number of them, and runs with others as before."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            requests = [here.ask(question([n, 0, 0, 0])) for n in range(2)]
            for death in range(6):
                header, (part,) = await worker.take()
                assert len(worker.rows(header, part)) == 2
                worker.sock.close()
                await here.until(lambda n=death: len(here.heard(Kind.OPEN)) == n + 2, "the next OPEN")  # type: ignore[misc]
                worker = here.connect(7, blameless=True)
            await worker.serve_one(2.0)
            await here.answered(*requests)
            assert [r.values[0] for r in requests] == [0, 2]

    asyncio.run(scenario())


def test_a_second_channel_takes_over_what_the_first_one_had() -> None:
    """Nothing is forgotten with the old one: its batches run again, in their order, and each lease ends once."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1", max_batch=1))
            requests = [here.ask(question([n, 0, 0, 0])) for n in range(5)]
            await worker.take()
            following = here.connect(7)
            for _ in requests:
                await following.serve_one(2.0)
            await here.answered(*requests)
            assert [r.values[0] for r in requests] == [0, 2, 4, 6, 8]
            assert (here.models.targets[7].leases, here.denounced) == (0, [])

    asyncio.run(scenario())


def test_two_in_hand_at_once_are_told_apart() -> None:
    """With several runners a death has several suspects: the last time each runs with nothing beside it."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1", max_batch=1))
            poison, other = here.ask(question([666, 0, 0, 0])), here.ask(question([5, 0, 0, 0]))
            for death in range(2):
                for _ in range(2):
                    await worker.take()
                worker.sock.close()
                await here.until(lambda n=death: len(here.heard(Kind.OPEN)) == n + 2, "the next OPEN")  # type: ignore[misc]
                worker = here.connect(7)
            header, (part,) = await worker.take()
            assert worker_value(worker, header, part) == 666
            assert list(here.models.targets[7].batcher.channel.batches) == [header.slot]
            worker.sock.close()
            await here.until(lambda: len(here.heard(Kind.OPEN)) == 4, "the next OPEN")
            await here.connect(7).serve_one(2.0)
            await here.answered(poison, other)
            assert (poison.status, poison.json()["reason"], other.values[0]) == (500, "worker_crashed", 10)

    asyncio.run(scenario())


def health(circuit: str, wait: float) -> Frame:
    """What the supervisor tells of loading 7."""
    return frame(Kind.HEALTH, {"loading": 7, "circuit": circuit, "deaths": 5, "wait": wait})


def test_an_open_circuit_refuses_at_once_until_a_worker_is_there() -> None:
    """Who waits and who comes gets 503 with the time of the next try; the next worker's channel ends it."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            waiting = here.ask(question())
            await worker.take()
            worker.sock.close()
            await here.until(lambda: len(here.heard(Kind.OPEN)) == 2, "the next OPEN")
            here.models.on_health(health("closed", 0.4))
            assert waiting.status == 0
            here.models.on_health(health("open", 9.5))
            coming = here.ask(question())
            for request in (waiting, coming):
                assert (request.status, request.json()["reason"]) == (503, "worker_crash_loop")
                assert b"retry-after: 10\r\n" in request.head
            assert (here.models.targets[7].leases, here.pipeline.in_flight) == (0, 0)
            successor = here.connect(7)
            request = here.ask(question())
            await successor.serve_one(2.0)
            await here.answered(request)
            assert request.status == 200

    asyncio.run(scenario())


def test_news_of_a_circuit_that_come_late_do_no_harm() -> None:
    """A worker that answers is worth more than what was told before it came."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            here.models.on_health(health("open", 10.0))
            request = here.ask(question())
            await worker.serve_one(2.0)
            await here.answered(request)
            assert request.status == 200

    asyncio.run(scenario())


def test_an_answer_that_waits_unread_is_no_silence() -> None:
    """A gateway that was held up reads first, and judges then."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1", run_timeout=60.0))
            request = here.ask(question())
            header, (part,) = await worker.take()
            here.models.targets[7].batcher.check(time.monotonic())  # it is seen in hand
            worker.give(header, worker.rows(header, part))
            here.models.targets[7].batcher.check(time.monotonic() + 100.0)
            assert (request.status, here.denounced) == (200, [])

    asyncio.run(scenario())


def test_a_request_of_three_deaths_is_not_routed_to_a_fourth_worker() -> None:
    """Also when the loading gets no worker after the third, and another version has the traffic."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            poison = here.ask(question([666, 0, 0, 0]))
            here.serve(2, entry(8, "2"))
            for death in range(3):
                await worker.take()
                worker.sock.close()
                await here.until(lambda n=death: len(here.heard(Kind.OPEN)) == n + 3, "the next OPEN")  # type: ignore[misc]
                if death < 2:
                    worker = here.connect(7)
            here.models.on_refused(frame(Kind.REFUSED, {"loading": 7}))
            await here.answered(poison)
            assert (poison.status, poison.json()["reason"]) == (500, "worker_crashed")

    asyncio.run(scenario())
