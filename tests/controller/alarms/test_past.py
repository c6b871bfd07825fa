"""What was normal, and what is not."""

from __future__ import annotations

import random

from changeover.controller.alarms.past import Past, Slice, slice_of
from changeover.controller.pulse import Beat
from changeover.telemetry.observations import bucket


def usual(chance: random.Random, asked: int = 1000) -> Slice:
    """Ten seconds like most: some noise in the latency, one failure in a thousand."""
    failures = sum(chance.random() < 0.001 for _ in range(asked))
    return Slice(0.010 * chance.lognormvariate(0, 0.1), asked, failures)


def test_a_minute_is_needed() -> None:
    """And five for an anomaly; then the median is what is normal."""
    chance, past = random.Random(1), Past()
    for number in range(30):
        assert (past.p95_s is None) == (number < 6)
        assert past.latency_score(Slice(1.0, 100, 0)) is None
        past.add(usual(chance))
    assert past.p95_s is not None
    assert 0.009 < past.p95_s < 0.011
    assert past.latency_score(Slice(1.0, 100, 0)) is not None


def test_an_anomaly_stands_out_and_noise_does_not() -> None:
    """Of a thousand usual slices none is over six; twice the latency is, and one failure in seventy."""
    chance, past = random.Random(2), Past()
    scores: list[tuple[float, float]] = []
    for _ in range(1000):
        new = usual(chance)
        latency, errors = past.latency_score(new), past.error_score(new)
        if latency is not None and errors is not None:
            scores.append((latency, errors))
        past.add(new)
    assert max(latency for latency, _ in scores) < 6
    assert max(errors for _, errors in scores) < 6
    assert (past.latency_score(Slice(0.020, 1000, 1)) or 0) > 6
    assert (past.latency_score(Slice(0.005, 1000, 1)) or 0) < 0
    assert (past.error_score(Slice(0.010, 1000, 15)) or 0) > 6


def test_outliers_do_not_become_normal() -> None:
    """A third of all slices ten times as slow leave the median where it was: robust is the word."""
    chance, past = random.Random(3), Past()
    for number in range(300):
        past.add(Slice(0.100, 1000, 0) if number % 3 == 0 else usual(chance))
    assert past.p95_s is not None
    assert past.p95_s < 0.012
    assert (past.latency_score(Slice(0.100, 1000, 0)) or 0) > 6


def test_a_steady_past_makes_no_trifle_an_anomaly() -> None:
    """A spread of nothing is not divided by; one or two failures are none."""
    past = Past()
    for _ in range(100):
        past.add(Slice(0.010, 1000, 0))
    assert (past.latency_score(Slice(0.0105, 1000, 0)) or 0) < 6
    assert past.error_score(Slice(0.010, 1000, 2)) == 0.0
    assert (past.error_score(Slice(0.010, 1000, 8)) or 0) > 6


def test_a_slice_needs_answers() -> None:
    """Few tell nothing; failures count in its share."""
    assert slice_of(Beat(10.0, 19, latency={bucket(0.01): 19})) is None
    made = slice_of(Beat(10.0, 90, 6, 4, latency={bucket(0.01): 90}))
    assert made is not None
    assert (made.asked, made.failures, made.error_share) == (100, 10, 0.1)
