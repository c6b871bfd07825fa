"""Tickets and batches: leases that end once, and which runs are evidence."""

from __future__ import annotations

import pytest

from changeover.gateway.batcher import Batcher
from changeover.gateway.router import Model, Target
from changeover.gateway.ticket import Batch, Ticket
from changeover.telemetry.observations import bucket
from changeover.telemetry.tally import Tally
from tests.gateway.stage import WORD, Request, entry


def target(loading: int) -> Target:
    """A loading whose batcher nobody feeds."""
    described = entry(loading, str(loading))
    return Target(described, WORD, Batcher(described, None, None, None))  # type: ignore[arg-type]


def ticket(tally: Tally | None = None, key: bytes | None = None) -> Ticket:
    """One with a lease on its target and its fallback."""
    made = Ticket(Request(b""), Model("m", WORD, memoryview(bytes(16)).cast("Q")), target(1), 1)  # type: ignore[arg-type]
    made.fallback, made.tally, made.key = target(2), tally, key
    made.target.leases = made.fallback.backing = 1
    return made


def test_both_leases_end_once() -> None:
    """However often it is released."""
    one = ticket()
    fallback = one.fallback
    assert fallback is not None
    for _ in range(3):
        one.release()
        one.drop_fallback()
        assert (one.target.held, fallback.held) == (0, 0)


@pytest.mark.parametrize(("rows", "runs", "size", "seconds"), [(3, 1, 2, 0.003), (3, 3, 0, 0.001)])
def test_the_work_of_a_run_counts_by_its_rows(rows: int, runs: int, size: int, seconds: float) -> None:
    """A doorbell for several runs of one row is as many times that work."""
    tally = Tally(1, 1, 1)
    Batch([ticket(tally) for _ in range(3)], rows, runs, cpu_ns=3_000_000).weigh()
    assert {s: counts.index(1) for s, counts in tally.work.items()} == {size: bucket(seconds)}


def test_a_run_with_anything_else_in_it_is_no_evidence() -> None:
    """A pinned request may be one that makes a run slow."""
    tally = Tally(1, 1, 1)
    Batch([ticket(tally), ticket(tally)], 2, 1, cpu_ns=1000, settled=False).weigh()
    Batch([ticket(tally), ticket(None)], 2, 1, cpu_ns=1000).weigh()
    Batch([ticket(None), ticket(tally)], 2, 1, cpu_ns=1000).weigh()
    assert not tally.work


def test_a_run_counts_as_long_as_one_of_its_keys_does() -> None:
    """Nobody may fill the histogram alone; traffic without a key is not asked."""
    tally = Tally(1, 1, 1)
    for _ in range(10):
        tally.answered(5, b"often")
    Batch([ticket(tally, b"often")], 1, 1, cpu_ns=1000).weigh()
    assert not tally.work
    Batch([ticket(tally, b"often"), ticket(tally, b"new")], 2, 1, cpu_ns=1000).weigh()
    Batch([ticket(tally, b"often"), ticket(tally)], 2, 1, cpu_ns=1000).weigh()
    assert sum(sum(counts) for counts in tally.work.values()) == 2
