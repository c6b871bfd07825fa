"""Histograms: cut at a place without a value falling on the wrong side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.rollout.judge.histograms import Histogram, place_above, tails
from changeover.telemetry.observations import BUCKETS, bucket, edge

SECONDS = st.floats(2e-6, 4000.0)


@given(SECONDS, SECONDS)
def test_what_is_counted_above_is_above(value: float, limit: float) -> None:
    """A value in the first bucket above a limit, or beyond, is no smaller than the limit."""
    if bucket(value) >= place_above(limit):
        assert value >= limit * (1 - 1e-9)


@given(st.integers(0, BUCKETS - 2))
def test_an_edge_is_its_own_place(place: int) -> None:
    """Rounding never moves an exact edge to the next bucket."""
    assert place_above(edge(place)) == place


@given(st.lists(st.integers(0, 60), min_size=1, max_size=50), st.floats(0.05, 1.0))
def test_a_quantile_is_reached_and_not_before(places: list[int], share: float) -> None:
    """At the quantile's bucket at least the share is reached; before it, it is not."""
    histogram = Histogram()
    for place in places:
        histogram.add({place: 1})
    found = histogram.quantile_place(share)
    assert histogram.total - histogram.above(found + 1) >= share * len(places) - 1e-6
    assert histogram.total - histogram.above(found) < share * len(places) + 1e-6


def test_tails_are_counts_from_a_place_on() -> None:
    """Sparse and dense agree."""
    counts = {3: 2, 7: 1, 9: 4}
    histogram = Histogram()
    histogram.add(counts)
    places = np.array([0, 3, 4, 9, 10])
    assert tails(counts, places).tolist() == [histogram.above(int(p)) for p in places] == [7, 7, 5, 4, 0]
    assert tails({}, places).tolist() == [0] * 5


def test_counts_fade_and_are_remembered() -> None:
    """Half of everything; a memory is the same histogram; what is too large goes into the last bucket."""
    histogram = Histogram()
    histogram.add({5: 4, BUCKETS + 7: 1})
    assert histogram.total == 5.0
    histogram.add({BUCKETS + 7: 1})
    assert histogram.total == 6.0
    histogram.fade(0.5)
    assert histogram.memory() == {"5": 2.0, str(BUCKETS - 1): 1.0}
    assert Histogram.of(histogram.memory()).memory() == histogram.memory()
    assert histogram.total == pytest.approx(3.0)
    assert Histogram().quantile_place(0.5) == 0
