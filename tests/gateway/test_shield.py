"""The shield: whatever the candidate does, the client gets the active version's answer, and the tally the failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from changeover.telemetry.tally import Tally
from tests.gateway.stage import FakeWorker, Stage, entry, question, stage

CANDIDATE = {b"changeover-version": b"candidate"}


@asynccontextmanager
async def shielded(**more: object) -> AsyncIterator[tuple[Stage, FakeWorker, FakeWorker]]:
    """All traffic goes to the candidate, version 2; the active version doubles."""
    async with stage() as here:
        options = {"weight": 10_000, "candidate": 8, "shield": True, "max_batch": 8} | more
        batch = options.pop("max_batch")
        old, new = here.serve(1, entry(7, "1"), entry(8, "2", max_batch=batch), **options)
        serving = asyncio.create_task(old.serve(2.0))
        yield here, old, new
        serving.cancel()


def tally(here: Stage, loading: int = 8) -> Tally:
    """The arm of a loading."""
    found = here.models.targets[loading].ledger.current
    assert found is not None
    return found


def counts(here: Stage, loading: int = 8) -> tuple[int, int, int]:
    """Requests, failures and shielded ones of an arm."""
    arm = tally(here, loading)
    return arm.requests, arm.failures, arm.shielded


async def nothing_is_held(here: Stage) -> None:
    """Every lease has ended."""
    targets = here.models.targets.values()
    await here.until(lambda: not any(t.held for t in targets), "the end of all leases")
    assert (here.pipeline.in_flight, here.models.by_name["m"].tickets, here.models.by_name["m"].held) == (0, 0, 0)


def test_an_error_is_not_seen_by_the_client() -> None:
    """The answer says that the active version gave it."""

    async def scenario() -> None:
        async with shielded() as (here, _, new):
            request = here.ask(question())
            header, _ = await new.take()
            assert (here.models.targets[7].leases, here.models.targets[7].backing) == (0, 1)
            new.refuse(header)
            await here.answered(request)
            assert (request.status, request.values[0], request.json()["model_version"]) == (200, 2.0, "1")
            assert counts(here) == (1, 1, 1)
            assert counts(here, 7) == (0, 0, 0), "a replay is no evidence for the active version"
            assert here.models.targets[8].counter.shielded == 1
            assert here.models.targets[8].counter.failed == 0
            await nothing_is_held(here)

    asyncio.run(scenario())


def test_a_good_answer_goes_out_as_it_is() -> None:
    """And counts as one."""

    async def scenario() -> None:
        async with shielded() as (here, _, new):
            request = here.ask(question())
            await new.serve_one(5.0)
            await here.answered(request)
            assert (request.values[0], counts(here)) == (5.0, (1, 0, 0))
            assert sum(sum(c) for c in tally(here).work.values()) == 1
            await nothing_is_held(here)

    asyncio.run(scenario())


def test_one_bad_request_in_a_batch_is_one_failure() -> None:
    """Each gets a run of its own first; the others are answered by the candidate."""

    async def scenario() -> None:
        async with shielded() as (here, _, new):
            requests = [here.ask(question((n, 0, 0, 0))) for n in range(3)]
            header, _ = await new.take()
            new.refuse(header)
            for _ in requests:
                header, (part,) = await new.take()
                rows = new.rows(header, part)
                if rows[0, 0] == 1:
                    new.refuse(header)
                else:
                    new.give(header, rows * 5)
            await here.answered(*requests)
            assert [r.json()["model_version"] for r in requests] == ["2", "1", "2"]
            assert counts(here) == (3, 1, 1)
            await nothing_is_held(here)

    asyncio.run(scenario())


def test_a_crash_is_not_waited_for() -> None:
    """What it had in hand and what waited behind it goes to the active version at once, and so do those after it."""

    async def scenario() -> None:
        async with shielded(max_batch=1) as (here, _, new):
            requests = [here.ask(question()) for _ in range(6)]
            await new.take()
            new.sock.close()
            await here.answered(*requests)
            after = here.ask(question())
            await here.answered(after)
            assert {r.json()["model_version"] for r in [*requests, after]} == {"1"}
            assert counts(here) == (7, 7, 7)
            await nothing_is_held(here)

    asyncio.run(scenario())


def test_a_crash_counts_for_the_worker_that_died() -> None:
    """The next one begins with a tally of its own."""

    async def scenario() -> None:
        async with shielded() as (here, _, new):
            request = here.ask(question())
            await new.take()
            before = tally(here)
            new.sock.close()
            await here.answered(request)
            again = here.connect(8)
            assert (before.member, before.failures) == (new.member, 1)
            assert (tally(here).member, tally(here).requests) == (again.member, 0)

    asyncio.run(scenario())


def test_who_names_the_candidate_sees_it_as_it_is() -> None:
    """Its error, and no evidence of it."""

    async def scenario() -> None:
        async with shielded() as (here, _, new):
            request = here.ask(question(headers=CANDIDATE))
            header, _ = await new.take()
            new.refuse(header)
            await here.answered(request)
            assert request.status == 500
            assert counts(here) == (0, 0, 0)

    asyncio.run(scenario())


def test_an_empty_budget_loses_nobody() -> None:
    """What was under way is replayed all the same, later requests do not meet the candidate, and that is told."""

    async def scenario() -> None:
        async with shielded(max_batch=1) as (here, _, new):
            requests = [here.ask(question()) for _ in range(40)]
            while not all(r.status for r in requests[:30]):
                header, _ = await new.take()
                new.refuse(header)
                await asyncio.sleep(0)
            more = [here.ask(question()) for _ in range(5)]
            await here.answered(*more)
            assert {r.json()["model_version"] for r in more} == {"1"}
            assert tally(here).spent == 5
            assert {r.status for r in requests if r.status} == {200}

    asyncio.run(scenario())


def test_a_candidate_that_fell_behind_is_passed_by() -> None:
    """A request that it could not answer in time goes to the active version without having waited."""

    async def scenario() -> None:
        async with shielded(max_batch=1) as (here, _, _new):
            here.models.targets[8].batcher.pace.answered(0.0, 10.0, 1, crowded=True)
            for _ in range(10):
                here.ask(question(headers=CANDIDATE))
            hasty = here.ask(question(headers={b"changeover-timeout": b"20s"}))
            await here.answered(hasty)
            assert (hasty.status, hasty.json()["model_version"]) == (200, "1")
            assert counts(here) == (1, 1, 1)

    asyncio.run(scenario())


def test_a_client_that_leaves_takes_its_replay_along() -> None:
    """Nobody answers it, and no lease is left."""

    async def scenario() -> None:
        async with shielded() as (here, _, new):
            request = here.ask(question(headers={b"changeover-timeout": b"5s"}))
            header, (part,) = await new.take()
            assert request.abandoned is not None
            request.abandoned()
            new.give(header, new.rows(header, part))
            await nothing_is_held(here)
            assert not request.status

    asyncio.run(scenario())
