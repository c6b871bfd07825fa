"""A candidate's share of a request's time: what is left of it is the active version's."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.gateway.stage import question
from tests.gateway.test_shield import counts, nothing_is_held, shielded, tally
from tests.loop_time import within


@pytest.mark.parametrize("share", [0.01, 0.2])
def test_a_hang_takes_the_share_at_most(share: float) -> None:
    """The late answer is thrown away; until it comes the candidate's lease is held, the active version's is not."""

    async def scenario() -> None:
        async with shielded() as (here, _, new):
            here.models.by_name["m"].patience.seconds = share
            request = here.ask(question())
            header, (part,) = await new.take()
            await here.answered(request)
            assert (request.status, request.values[0], counts(here)) == (200, 2.0, (1, 1, 1))
            assert (here.models.targets[7].held, here.models.targets[8].held) == (0, 1)
            new.give(header, new.rows(header, part) * 5)
            await nothing_is_held(here)
            assert counts(here) == (1, 1, 1)

    asyncio.run(scenario())


def test_half_of_the_time_is_left_for_the_replay() -> None:
    """Where nothing is known of the active version, a client's own time sets the share."""

    async def scenario() -> None:
        async with shielded() as (here, _, new):
            request = here.ask(question(headers={b"changeover-timeout": b"40s"}))
            await new.take()
            shield = here.pipeline._shield
            (ticket,) = shield._guarded
            assert ticket.give_up == pytest.approx(request.received + 20.0)
            for after in (-0.01, 0.0):
                shield.check(ticket.give_up + after, ())
            await here.answered(request)
            assert (request.status, request.values[0]) == (200, 2.0)

    asyncio.run(scenario())


def test_the_share_is_known_from_the_active_version() -> None:
    """A request with all the time of the world waits four times the 99th percentile, and a queued one leaves."""

    async def scenario() -> None:
        async with shielded(max_batch=1) as (here, _, new):
            for _ in range(20):
                here.models.targets[7].counter.answered(0.1)
            here.publish(2, here.models.targets[7].entry, here.models.targets[8].entry, weight=10_000, candidate=8,
                         shield=True)  # fmt: skip
            here.models._reload(1, 2)
            here.commit(2)
            assert here.models.by_name["m"].patience.seconds == pytest.approx(0.4, rel=0.05)
            requests = [here.ask(question()) for _ in range(5)]
            await within(2.0, here.answered(*requests))
            assert counts(here) == (5, 5, 5)
            assert here.models.targets[8].leases == 3, "in its slots; those in the queue have left it"
            assert sum(tally(here).latency) == 5
            await new.take()

    asyncio.run(scenario())


def test_a_gateway_that_stood_still_looks_for_the_answer_first() -> None:
    """Its own pause is not the candidate's: what is due in it gets a little more time, and is replayed then."""

    async def scenario() -> None:
        async with shielded() as (here, _, _new):
            here.models.by_name["m"].patience.seconds = 0.1
            shield, active = here.pipeline._shield, here.models.targets[7]
            shield.check(time.monotonic(), ())
            request = here.ask(question())
            (ticket,) = shield._guarded
            after = ticket.give_up + 1.0
            shield.check(after, ())
            assert (active.leases, ticket.give_up > after) == (0, True)
            shield.check(after + 0.04, ())
            assert active.leases == 0
            shield.check(after + 0.08, ())
            assert active.leases == 1
            await here.answered(request)
            assert request.json()["model_version"] == "1"

    asyncio.run(scenario())


def test_a_share_is_counted_the_same_way_in_both_arms() -> None:
    """An answer of the active version that took as long is a failure too, which its client does not notice."""

    async def scenario() -> None:
        async with shielded(weight=0) as (here, _, _):
            tally(here, 7).late = 0
            request = here.ask(question())
            await here.answered(request)
            assert (request.status, counts(here, 7)) == (200, (1, 1, 0))

    asyncio.run(scenario())
