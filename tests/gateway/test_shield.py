"""The shield: whatever the candidate does, the client gets the active version's answer, and the tally the failure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from changeover.gateway.shield import finite
from changeover.telemetry.tally import Tally
from changeover.tensors import Datatype, Tensor
from tests.gateway.stage import FakeWorker, Stage, entry, question, stage
from tests.loop_time import within

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
            request = here.ask(question(headers={b"changeover-timeout": b"1s"}))
            await new.take()
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


@pytest.mark.parametrize("wanted", [True, False])
def test_nan_is_a_failure_where_the_table_says_so(wanted: bool) -> None:
    """Else it is an answer like any other."""

    async def scenario() -> None:
        async with shielded(finite=wanted) as (here, _, new):
            request = here.ask(question(outputs=[{"name": "y", "parameters": {"binary_data": True}}]))
            await new.serve_one(float("nan"))
            await here.answered(request)
            values = np.frombuffer(request.answer[-16:], np.float32)
            assert np.isfinite(values).all() == wanted
            assert counts(here) == ((1, 1, 1) if wanted else (1, 0, 0))
            await nothing_is_held(here)

    asyncio.run(scenario())


def test_nan_that_comes_after_the_way_back_is_not_seen_either() -> None:
    """The table that chose says what is a failure, not the one that is in force when the answer comes."""

    async def scenario() -> None:
        async with shielded(finite=True) as (here, _, new):
            request = here.ask(question(outputs=[{"name": "y", "parameters": {"binary_data": True}}]))
            header, (part,) = await new.take()
            here.serve(2, entry(7, "1"), entry(8, "2"), candidate=8)
            assert here.models.by_name["m"].refresh().epoch == 2
            new.give(header, new.rows(header, part) * float("nan"))
            await here.answered(request)
            assert np.isfinite(np.frombuffer(request.answer[-16:], np.float32)).all()
            await nothing_is_held(here)

    asyncio.run(scenario())


def test_nan_in_both_versions_is_no_fault_of_the_candidate() -> None:
    """The input asks for it: the client gets it, from the active version."""

    async def scenario() -> None:
        async with stage() as here:
            old, new = here.serve(1, entry(7, "1"), entry(8, "2"), weight=10_000, candidate=8, shield=True, finite=True)
            binary = [{"name": "y", "parameters": {"binary_data": True}}]
            request = here.ask(question(outputs=binary))
            await new.serve_one(float("inf"))
            await old.serve_one(float("inf"))
            await here.answered(request)
            assert (request.status, counts(here)) == (200, (1, 0, 0))
            await nothing_is_held(here)

    asyncio.run(scenario())


@pytest.mark.parametrize(("wanted", "shield"), [(True, False), (False, False), (True, True)])
def test_without_a_shield_nan_goes_out_and_counts(wanted: bool, shield: bool) -> None:
    """In the undo window for one: of either version alike. Behind a shield the active version is not looked at."""

    async def scenario() -> None:
        async with stage() as here:
            entries = entry(7, "1"), entry(8, "2")
            old, _ = here.serve(1, *entries, weight=0, candidate=8, shield=shield, finite=wanted)
            for value in (float("nan"), 2.0):
                request = here.ask(question(outputs=[{"name": "y", "parameters": {"binary_data": True}}]))
                await old.serve_one(value)
                await here.answered(request)
                assert request.status == 200
            failed = wanted and not shield
            assert counts(here, 7) == (2, int(failed), 0)
            assert sum(tally(here, 7).latency) == 2
            assert here.models.targets[7].counter.requests == 2
            await nothing_is_held(here)

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
        async with shielded(max_batch=1) as (here, _, new):
            for _ in range(3):
                pair = [here.ask(question(headers=CANDIDATE)) for _ in range(2)]
                for _ in pair:
                    header, (part,) = await new.take()
                    await asyncio.sleep(0.1)
                    new.give(header, new.rows(header, part))
                await here.answered(*pair)
            for _ in range(10):
                here.ask(question(headers=CANDIDATE))
            hasty = here.ask(question(headers={b"changeover-timeout": b"500ms"}))
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


@pytest.mark.parametrize(("datatype", "kind"), [(Datatype.FP16, np.float16), (Datatype.FP32, np.float32),
                                                (Datatype.FP64, np.float64)])  # fmt: skip
def test_only_numbers_without_nan_and_infinity_are_finite(datatype: Datatype, kind: type) -> None:
    """Of each floating datatype, BF16 by its bits; other datatypes always are."""
    for value, good in ((1.0, True), (np.nan, False), (np.inf, False), (-np.inf, False)):
        array = np.array([0.0, value], kind)
        assert finite([Tensor("y", datatype, (2,), array.tobytes())]) == good
        bits = (np.array([0.0, value], np.float32).view(np.uint32) >> 16).astype(np.uint16)
        assert finite([Tensor("y", Datatype.BF16, (2,), bits.tobytes())]) == good
    assert finite([Tensor("n", Datatype.INT64, (1,), b"\xff" * 8), Tensor("e", Datatype.FP32, (0,), b"")])
