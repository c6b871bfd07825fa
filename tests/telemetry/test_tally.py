"""Counting evidence: what is a failure, what is a key, and what a step's end does."""

from __future__ import annotations

from changeover.telemetry.observations import BUCKETS, bucket
from changeover.telemetry.tally import Ledger, Tally


def test_requests_failures_and_their_time_are_counted() -> None:
    """A failure by an error has no latency, one by time has."""
    tally = Tally(1, 2, 3)
    tally.answered(bucket(0.01), None)
    tally.failed(None)
    tally.failed(None, bucket(1.0))
    assert (tally.requests, tally.failures) == (3, 2)
    assert (tally.latency[bucket(0.01)], tally.latency[bucket(1.0)], sum(tally.latency)) == (1, 1, 2)


def test_a_late_answer_is_a_failure_in_either_arm() -> None:
    """The bucket of the share and all above it."""
    tally = Tally(1, 2, 3)
    tally.answered(bucket(5.0), None)
    tally.late = bucket(1.0)
    tally.answered(bucket(0.9), None)
    tally.answered(bucket(1.1), None)
    tally.left(bucket(0.5), None)
    tally.left(bucket(2.0), None)
    assert (tally.requests, tally.failures) == (4, 2)


def test_work_is_counted_by_the_size_of_a_batch() -> None:
    """Rows rounded up to a power of two; what is larger than 128 counts with it."""
    tally = Tally(1, 2, 3)
    for rows in (1, 2, 3, 4, 5, 8, 9, 100, 5000):
        tally.worked(rows, 7)
    assert {1 << size: counts[7] for size, counts in tally.work.items()} == {1: 1, 2: 1, 4: 2, 8: 2, 16: 1, 128: 2}


def test_a_key_counts_ten_times_at_most() -> None:
    """The state of each key moves with its requests; the eleventh changes nothing."""
    tally = Tally(1, 2, 3)
    for _ in range(12):
        tally.answered(5, b"often")
    tally.failed(b"seldom")
    tally.answered(5, b"seldom")
    tally.answered(5, None)
    assert sorted(tally.key_states()) == [(2, 1, 1), (10, 0, 1)]
    assert tally.requests == 15


def test_a_key_is_one_unit_whatever_the_number_of_gateways() -> None:
    """Each belongs to one of them; its requests at the others are requests like any other."""
    tallies = [Tally(1, 2, 3, (index, 3)) for index in range(3)]
    for number in range(600):
        for tally in tallies:
            tally.answered(5, b"client-%d" % number)
    counted = [sum(count for *_, count in tally.key_states()) for tally in tallies]
    assert sum(counted) == 600
    assert min(counted) > 100
    assert [tally.requests for tally in tallies] == [600] * 3


def test_keys_are_bounded() -> None:
    """Beyond 20,000 a new key is no unit of evidence; its request counts all the same."""
    tally = Tally(1, 2, 3)
    for number in range(20_100):
        tally.answered(5, b"%d" % number)
    assert tally.key_states() == [(1, 0, 20_000)]
    assert tally.requests == 20_100


def test_a_step_and_a_new_worker_begin_a_tally() -> None:
    """Outside of a rollout there is none."""
    ledger = Ledger(7)
    ledger.incarnate(100)
    assert ledger.current is None
    ledger.step(5)
    first = ledger.current
    ledger.incarnate(101)
    second = ledger.current
    assert first is not None
    assert second is not None
    assert [(t.loading, t.epoch, t.member) for t in (first, second)] == [(7, 5, 100), (7, 5, 101)]
    assert second.late == BUCKETS
    ledger.step(0)
    assert ledger.current is None


def test_only_what_has_changed_is_news() -> None:
    """Also what an ended step still counts; a worker that dies again and again keeps the list short."""
    ledger = Ledger(7)
    ledger.step(5)
    old = ledger.current
    assert old is not None
    assert ledger.news() == [old]
    assert ledger.news() == []
    ledger.step(6)
    old.answered(3, None)
    assert ledger.news() == [old, ledger.current]
    ledger.forget()
    assert ledger.news() == [old, ledger.current]
    for member in range(10):
        ledger.incarnate(member)
    assert len(ledger.news()) == 4
