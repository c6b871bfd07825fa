"""Confidence intervals, against scipy where it has an exact answer, and by their coverage."""

from __future__ import annotations

import numpy as np
import pytest

from changeover.prover import intervals

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (1, 10), (5, 10), (10, 10), (970, 1000), (9_999, 10_000)])
def test_shares_are_scipys(hits: int, count: int) -> None:
    """Clopper-Pearson is scipy's exact interval."""
    wanted = stats.binomtest(hits, count).proportion_ci(0.95, "exact")
    assert intervals.share(hits, count) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


@pytest.mark.parametrize(("hits", "count", "p"), [(0, 5, 0.3), (3, 5, 0.3), (5, 5, 0.3), (600, 1000, 0.5), (1, 9, 1.0)])
def test_tails_are_scipys(hits: int, count: int, p: float) -> None:
    """The upper tail of the binomial distribution."""
    assert intervals.at_least(hits, count, p) == pytest.approx(stats.binom.sf(hits - 1, count, p), abs=1e-12)


def test_nothing_is_known_of_none() -> None:
    """An empty sample bounds nothing."""
    assert intervals.share(0, 0) == (0.0, 1.0)
    assert intervals.mean(np.array([])) == (-np.inf, np.inf)
    assert intervals.median([]) == (-np.inf, np.inf)


@pytest.mark.parametrize(
    ("count", "ranks"), [(3, (0, 2)), (5, (0, 4)), (6, (0, 5)), (8, (0, 7)), (9, (1, 7)), (15, (3, 11)), (40, (13, 26))]
)
def test_the_ranks_of_a_median(count: int, ranks: tuple[int, int]) -> None:
    """As tables of the sign test have them; fewer than six values give their range."""
    low, high = intervals.median(list(range(count)))
    assert (low, high) == ranks
    if count >= 6:
        assert 1 - 2 * stats.binom.cdf(low, count, 0.5) >= 0.95


def test_a_mean_is_held_as_often_as_promised() -> None:
    """Of 200 samples of 200 skewed scores, the bootstrap holds the true mean in at least nine of ten."""
    generator = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        low, high = intervals.mean(generator.beta(8, 2, 200))
        held += low <= 0.8 <= high
    assert held >= 180
