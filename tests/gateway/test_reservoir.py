"""What is kept of recent requests: any of them alike, bounded, and nothing that is private."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from changeover.gateway import reservoir
from changeover.gateway.reservoir import Reservoir, Shelf, on_sample
from changeover.prover.gates.agreement import LEAST_REQUESTS
from changeover.tensors import Datatype, TensorSpec
from changeover.transport.link import Kind, frame
from changeover.transport.page import create_sample
from changeover.transport.sample import EMPTY, LARGEST, MOST_BYTES, MOST_REQUESTS, read
from tests.gateway.stage import Stage, entry, question, stage

SPEC = TensorSpec("x", Datatype.UINT8, (-1, -1))


def ticket(number: int, size: int = 8, pinned: str | None = None, *, private: bool = False) -> Any:
    """A request that carries its number."""
    data = number.to_bytes(8, "little").ljust(size, b"\0")
    admitted = SimpleNamespace(data=[memoryview(data)], shapes=((1, size),))
    target = SimpleNamespace(inputs=[SPEC], entry=SimpleNamespace(private=private))
    return SimpleNamespace(pinned=pinned, admitted=admitted, target=target)


def passing(kept: Reservoir, one: Any) -> None:
    """As the pipeline does it."""
    kept.skip -= 1
    if kept.skip < 0:
        kept.offer(one)


def numbers(kept: Reservoir) -> list[int]:
    """Of the requests that are kept."""
    return [int.from_bytes(bytes(request[0].data)[:8], "little") for request in kept.sample().requests]


def test_few_are_all_kept() -> None:
    """Copies, with names, types and shapes, and in random order."""
    kept = Reservoir(Shelf())
    for number in range(100):
        passing(kept, ticket(number))
    assert sorted(numbers(kept)) == list(range(100)) != numbers(kept)
    (tensor,) = kept.sample().requests[0]
    assert (tensor.name, tensor.datatype, tensor.shape, type(tensor.data)) == ("x", Datatype.UINT8, (1, 8), bytes)


def test_many_have_the_same_chance() -> None:
    """Of 2,560 requests each tenth of the order brings a tenth of the sample: 30 rounds, within five deviations."""
    tenths: Counter[int] = Counter()
    for _ in range(30):
        kept = Reservoir(Shelf())
        for number in range(10 * MOST_REQUESTS):
            passing(kept, ticket(number))
        assert len(numbers(kept)) == MOST_REQUESTS
        tenths.update(number // MOST_REQUESTS for number in numbers(kept))
    expected = 30 * MOST_REQUESTS / 10
    assert all(abs(tenths[part] - expected) < 5 * expected**0.5 for part in range(10)), tenths


def test_what_is_old_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the number of requests that a sample stands for, a newer one has the better chance; few are looked at."""
    monkeypatch.setattr(reservoir, "_MOST_SEEN", 1000)
    kept = Reservoir(Shelf())
    offered = 0
    for number in range(10_000):
        kept.skip -= 1
        if kept.skip < 0:
            kept.offer(ticket(number))
            offered += 1
    assert (len(numbers(kept)), kept.sample().seen) == (MOST_REQUESTS, 1000)
    assert sum(number >= 7000 for number in numbers(kept)) > MOST_REQUESTS // 2
    assert 1000 < offered < 5000


def test_bytes_are_bounded_for_a_model_and_for_all() -> None:
    """Large requests are fewer, and enough; one over a mebibyte is none; what a model gives back another may take."""
    shelf = Shelf(MOST_BYTES + (4 << 20))
    first, second = Reservoir(shelf), Reservoir(shelf)
    for number in range(100):
        passing(first, ticket(number, LARGEST))
    assert (len(numbers(first)), shelf.left) == (24, 4 << 20)
    assert len(numbers(first)) > LEAST_REQUESTS
    for number in range(100):
        passing(second, ticket(number, LARGEST))
        passing(second, ticket(number, LARGEST + 1))
    assert ([len(numbers(first)), len(numbers(second))], shelf.left) == ([14, 14], 0)
    first.close()
    assert (numbers(first), shelf.left) == ([], MOST_BYTES + (4 << 20) - 14 * LARGEST)
    for number in range(100_000):
        passing(second, ticket(number, LARGEST))
    assert len(numbers(second)) == 24


def test_the_shelf_is_shared_alike() -> None:
    """Whenever a model comes; one whose requests are small has as many as it would alone."""
    shelf = Shelf(30 * LARGEST)
    models = [Reservoir(shelf) for _ in range(6)]
    for kept in models[:-1]:
        for number in range(200):
            passing(kept, ticket(number, LARGEST))
    for number in range(10 * MOST_REQUESTS):
        passing(models[-1], ticket(number, 64))
    for number in range(200):
        for kept in models[:-1]:
            passing(kept, ticket(number, LARGEST))
    found = [len(numbers(kept)) for kept in models]
    assert found[-1] == MOST_REQUESTS
    assert sum(found[:-1]) == 29
    assert set(found[:-1]) == {5, 6}
    assert shelf.left == 30 * LARGEST - sum(kept.bytes for kept in models) >= 0


def test_who_makes_room_keeps_any_of_them() -> None:
    """A sample that had to shrink is still one of all that was seen: 60 rounds, the halves within five deviations."""
    halves: Counter[int] = Counter()
    for _ in range(60):
        shelf = Shelf(20 * LARGEST)
        first, second = Reservoir(shelf), Reservoir(shelf)
        for number in range(100):
            passing(first, ticket(number, LARGEST))
            if number >= 50:
                passing(second, ticket(number, LARGEST))
        assert len(numbers(first)) == 10
        halves.update(number // 50 for number in numbers(first))
    assert abs(halves[0] - 300) < 5 * 150**0.5, halves


def test_what_the_client_sent_to_a_version_is_not_kept() -> None:
    """It is no sample of the traffic."""
    kept = Reservoir(Shelf())
    for number in range(10):
        passing(kept, ticket(number, pinned="3" if number % 2 else None))
    assert sorted(numbers(kept)) == [0, 2, 4, 6, 8]


def test_what_a_private_version_was_asked_is_not_kept() -> None:
    """It may have been asked before a table without it, and answer after."""
    kept = Reservoir(Shelf())
    for number in range(10):
        passing(kept, ticket(number, private=number % 2 == 1))
    assert sorted(numbers(kept)) == [0, 2, 4, 6, 8]


async def written(here: Stage, model: str = "m") -> Any:
    """What the gateway writes when the supervisor asks."""
    memory = create_sample(1)
    on_sample(frame(Kind.SAMPLE, {"model": model, "place": 0}, fds=[os.dup(memory)]), here.models.by_name)
    await here.until(lambda: read(memory, 0), "the sample")
    sample = read(memory, 0)
    os.close(memory)
    return sample


def test_a_gateway_keeps_what_it_answers_well_and_gives_it_when_asked() -> None:
    """The inputs of routed requests, none of those that failed; nothing of a model that it does not know."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            for values in ((1, 2, 3, 4), (5, 6, 7, 8)):
                request = here.ask(question(values))
                await worker.serve_one(2.0)
                await here.answered(request)
            request = here.ask(question((0, 0, 0, 0)))
            worker.refuse((await worker.take())[0])
            await here.answered(request)
            sample = await written(here)
            assert sample.seen == 2
            assert sorted(tuple(r[0].numpy()[0]) for r in sample.requests) == [(1, 2, 3, 4), (5, 6, 7, 8)]
            assert await written(here, "other") == EMPTY

    asyncio.run(scenario())


def test_a_private_model_keeps_nothing() -> None:
    """From the first table on that names a private version; what was kept before is forgotten."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            for epoch, entries, kept in ((1, None, 1), (2, [entry(7, "1"), entry(8, "2", private=True)], 0)):
                if entries:
                    here.serve(epoch, *entries)
                request = here.ask(question())
                await worker.serve_one(2.0)
                await here.answered(request)
                assert len((await written(here)).requests) == kept
            here.serve(3, entry(7, "1"))
            assert await written(here) == EMPTY

    asyncio.run(scenario())
