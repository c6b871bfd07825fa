"""Histograms: cheap to count, exact enough to read, differences of reports."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.telemetry.observations import (
    BUCKETS,
    GONE,
    GRPC,
    HTTP,
    PER_DOUBLING,
    Counter,
    above,
    bucket,
    bucket_middle,
    difference,
    edge,
    merged,
    percentile,
)

SECONDS = st.floats(2e-6, 4000.0)


@given(SECONDS)
def test_a_latency_is_kept_within_its_bucket(seconds: float) -> None:
    """The middle of the bucket is within 1.1 % of the true value, up to 70 minutes."""
    assert bucket_middle(bucket(seconds)) == pytest.approx(seconds, rel=0.0112)


@given(st.floats(-1e12, 1e12))
def test_every_time_has_a_bucket(seconds: float) -> None:
    """Nothing, a negative difference of clocks and thousands of years included."""
    assert 0 <= bucket(seconds) < BUCKETS


@given(st.lists(SECONDS, min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_percentile_is_that_of_the_values(values: list[float], share: float) -> None:
    """Within the bucket's width of the value at that rank."""
    counter = Counter()
    for value in values:
        counter.answered(value)
    true = sorted(values)[max(1, math.ceil(len(values) * share)) - 1]
    found = percentile(counter.sparse(), share)
    assert found == pytest.approx(true, rel=0.0112)


def test_nothing_has_no_percentile() -> None:
    """Not zero: there is none."""
    assert percentile({}, 0.5) is None


@given(st.lists(SECONDS, max_size=50), st.lists(SECONDS, max_size=50))
def test_the_difference_of_two_reports_is_what_came_between(first: list[float], second: list[float]) -> None:
    """And merging it with the earlier report gives the later one."""
    counter = Counter()
    for value in first:
        counter.answered(value)
    earlier = counter.sparse()
    for value in second:
        counter.answered(value)
    later = counter.sparse()
    between = difference(later, earlier)
    assert sum(between.values()) == len(second)
    assert merged([earlier, between]) == later
    assert counter.requests == len(first) + len(second)


def test_edges_are_powers_of_two() -> None:
    """From 2^-20 s on, 32 buckets to a doubling, as in Prometheus' native histograms of schema 5."""
    assert (edge(0), edge(BUCKETS)) == (2.0**-20, 2.0**12)
    for power in range(-19, 12):
        number = (power + 20) * PER_DOUBLING
        assert edge(number) == 2.0**power
        assert bucket(2.0**power) == number
        assert bucket(2.0**power * 0.999) == number - 1


def test_what_came_over_grpc_is_told_apart() -> None:
    """It is in the whole too; nothing is kept where nothing came."""
    counter = Counter()
    counter.answered(0.5, HTTP)
    counter.refused(HTTP)
    assert counter.grpc is None
    counter.answered(0.25, GRPC)
    counter.refused(GRPC)
    assert counter.grpc is not None
    assert (counter.requests, counter.shed, counter.seconds) == (2, 2, 0.75)
    assert (sum(counter.grpc.counts), counter.grpc.shed, counter.grpc.seconds) == (1, 1, 0.25)


def test_errors_are_counted_by_what_they_were() -> None:
    """By protocol, reason and fault."""
    counter = Counter()
    for protocol in (HTTP, GRPC, GRPC):
        counter.erred(protocol, "run_failed", "model")
    counter.erred(HTTP, *GONE)
    assert counter.errors == {
        (HTTP, "run_failed", "model"): 1,
        (GRPC, "run_failed", "model"): 2,
        (HTTP, "client_gone", "caller"): 1,
    }


@given(st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(1, 9)), st.floats(1e-7, 1e4))
def test_answers_above_a_limit_are_counted(histogram: dict[int, int], limit: float) -> None:
    """Those whose bucket has its middle there."""
    assert above(histogram, limit) == sum(count for one, count in histogram.items() if bucket_middle(one) > limit)
