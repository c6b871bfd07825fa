"""Figures, and intervals of a gain."""

from __future__ import annotations

import math

import numpy as np
import pytest

from changeover.workbench.tuning.gain import Slice, compared, figure, student


def test_figures_of_slices() -> None:
    """The median and the 99th percentile are of all runs together; throughput is that of the median slice."""
    slices = [Slice(40, 2.0, (0.1, 0.2, 0.3)), Slice(10, 3.0, (0.4, 0.5)), Slice(10, 1.0, ())]
    assert figure("latency", slices) == pytest.approx(0.3)
    assert figure("p99", slices) == pytest.approx(0.496)
    assert figure("throughput", slices) == pytest.approx(0.1)
    assert figure("latency", []) == math.inf
    assert figure("throughput", []) == math.inf


@pytest.mark.parametrize(
    ("p", "freedom", "known"),
    [
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 3, 3.182),
        (0.975, 7, 2.365),
        (0.99167, 7, 3.128),
        (0.99167, 3, 4.857),
    ],
)
def test_quantiles_are_those_of_the_tables(p: float, freedom: int, known: float) -> None:
    """Within two per cent of the printed ones, as few sittings as there may be."""
    assert student(p, freedom) == pytest.approx(known, rel=0.02)


def test_the_same_setting_gains_nothing() -> None:
    """Of two equal settings at most some five in a hundred comparisons say that one is better or worse."""
    generator = np.random.default_rng(5)
    told = [compared(_pairs(generator, 1.0, 8)) for _ in range(1000)]
    assert sum(one.sure or one.loss for one in told) < 75
    assert sum(one.sure for one in told) > 5  # the control: doubt is not unlimited


def test_a_gain_is_found_and_its_interval_holds_it() -> None:
    """A setting that takes 0.8 of the time is nearly always found better, and the interval holds 0.8 in 95 of 100."""
    generator = np.random.default_rng(6)
    told = [compared(_pairs(generator, 0.8, 8)) for _ in range(500)]
    assert sum(one.sure for one in told) > 490
    assert 0.92 < np.mean([one.low <= 0.8 <= one.high for one in told]) < 0.98


def test_more_settings_share_the_doubt() -> None:
    """Compared among three, the same figures give a wider interval."""
    pairs = [(0.9, 1.0), (0.95, 1.0), (0.85, 1.0), (0.9, 1.0)]
    one, three = compared(pairs), compared(pairs, among=3)
    assert three.low < one.low < one.ratio < one.high < three.high


def test_one_sitting_says_nothing() -> None:
    """Nothing is sure of one figure, or of none."""
    assert not compared([(0.1, 1.0)]).sure
    assert not compared([]).sure
    assert not compared([(math.inf, 1.0), (0.5, math.inf)]).sure


def _pairs(generator: np.random.Generator, ratio: float, sittings: int) -> list[tuple[float, float]]:
    machine = np.exp(generator.normal(0, 0.3, sittings))
    lucky = np.exp(generator.normal(0, 0.05, (2, sittings)))
    return list(zip(ratio * machine * lucky[0], machine * lucky[1], strict=True))
