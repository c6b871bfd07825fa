"""A sample of requests in memory that gateways and a prover share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from changeover.tensors import Datatype, Tensor
from changeover.transport.page import SAMPLE_AREA, create_sample, is_sealed
from changeover.transport.sample import EMPTY, MOST_BYTES, Sample, areas, read, write

REQUEST = [Tensor("x", Datatype.FP32, (1, 2), b"12345678"), Tensor("text", Datatype.BYTES, (1,), b"\1\0\0\0a")]


@pytest.fixture
def memory() -> Iterator[int]:
    """With two areas."""
    fd = create_sample(2)
    yield fd
    os.close(fd)


def test_what_is_written_is_read(memory: int) -> None:
    """In an area of its own, and only when all of it is there: small ones together, a large one a turn."""
    large = [Tensor("x", Datatype.FP32, (1, 1 << 14), bytes(range(256)) * 256)]
    sample = Sample(77, [REQUEST, REQUEST[:1], large, large, REQUEST])
    assert (areas(memory), is_sealed(memory)) == (2, True)
    writing = write(memory, 1, sample)
    for _ in range(2):
        next(writing)
        assert read(memory, 1) is None
    assert list(writing) == []
    assert read(memory, 1) == sample
    assert read(memory, 0) is None


def test_nothing_kept_is_an_answer_too(memory: int) -> None:
    """So that nobody waits for it."""
    assert list(write(memory, 0, EMPTY)) == []
    assert read(memory, 0) == EMPTY


def test_an_area_is_never_left(memory: int) -> None:
    """A full one fits; one byte over the area, and nothing is written."""
    list(write(memory, 1, EMPTY))
    half = bytes(MOST_BYTES // 2)
    full = [[Tensor("x", Datatype.UINT8, (len(half),), half)]] * 2
    list(write(memory, 0, Sample(2, full)))
    told = read(memory, 0)
    assert told is not None
    assert [len(request[0].data) for request in told.requests] == [len(half)] * 2
    assert read(memory, 1) == EMPTY
    other = create_sample(1)
    list(write(other, 0, Sample(1, [[Tensor("x", Datatype.UINT8, (SAMPLE_AREA,), bytes(SAMPLE_AREA))]])))
    assert read(other, 0) is None
    os.close(other)


def test_many_small_requests_are_few_turns(memory: int) -> None:
    """Of more parts than the kernel takes at once."""
    sample = Sample(5000, [REQUEST] * 1200)
    turns = len(list(write(memory, 0, sample)))
    assert 3 <= turns <= 6
    assert read(memory, 0) == sample
