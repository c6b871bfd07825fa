"""Known ways to be wrong: judges that look sound and take identical versions back, each beside the real one.

Every function plays rollouts of two identical versions and gives the share that is taken back.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from changeover.rollout.judge.errors import Errors
from changeover.rollout.judge.keyed import KeyedErrors
from changeover.telemetry.evidence import Arm, Window
from changeover.telemetry.observations import BUCKETS, percentile
from judge_traffic import PLAN, Step, Traffic, simulate, windows

Array = npt.NDArray[Any]
THRESHOLD = math.log(500)


def independent_bands(rollouts: int, random: np.random.Generator) -> dict[str, float]:
    """Bands for independent samples (Dvoretzky, Kiefer, Wolfowitz, 1 %) round end-to-end latency, a look a step.

    Taken back: the candidate's share above any latency is larger than the active version's by more than both bands.
    """
    traffic, back = Traffic(), 0
    events = simulate(traffic, PLAN, rollouts, random)
    for rollout in range(rollouts):
        epoch, arms, bad = 0, np.zeros((2, BUCKETS)), False
        for window in windows(events, rollout, PLAN, traffic, random):
            if window.stratum[0] != epoch:
                bad |= _apart(arms)
                epoch, arms = window.stratum[0], np.zeros((2, BUCKETS))
            for place, arm in enumerate((window.active, window.candidate)):
                for bucket, count in arm.latency.items():
                    arms[place, bucket] += count
        back += bad or _apart(arms)
    return {"taken_back": back / rollouts}


def _apart(arms: Array) -> bool:
    totals = arms.sum(axis=1)
    if totals.min() == 0:
        return False
    shares = np.cumsum(arms, axis=1) / totals[:, None]
    band = np.sqrt(math.log(2 / 0.01) / (2 * totals)).sum()
    return bool((shares[0] - shares[1]).max() > band)


def slow_at_one_percent(rollouts: int, random: np.random.Generator) -> dict[str, float]:
    """A candidate twice as slow at 1 % of the traffic: its p99 end to end against the active version's, median."""
    traffic, plan = Traffic(candidate_cost=2.0), (Step(100, 120, 0),)
    events = simulate(traffic, plan, rollouts, random)
    ratios = []
    for rollout in range(rollouts):
        mine = events.rollout == rollout
        tails = [percentile(_histogram(events.latency[mine & (events.arm == arm)]), 0.99) for arm in (0, 1)]
        if tails[0] and tails[1]:
            ratios.append(tails[1] / tails[0])
    return {"p99_against_active": round(float(np.median(ratios)), 2)}


def _histogram(buckets: Array) -> dict[int, int]:
    values, counts = np.unique(buckets, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def peeking(rollouts: int, random: np.random.Generator) -> dict[str, float]:
    """A z-test of the error rate at 1 %, looked at every second of two minutes; 1 % of requests fail on both."""
    first = random.binomial(20, 0.01, (rollouts, 120)).cumsum(axis=1)
    second = random.binomial(180, 0.01, (rollouts, 120)).cumsum(axis=1)
    n1, n2 = 20 * np.arange(1, 121), 180 * np.arange(1, 121)
    pooled = (first + second) / (n1 + n2)
    z = (first / n1 - second / n2) / np.sqrt(np.maximum(pooled * (1 - pooled), 1e-9) * (1 / n1 + 1 / n2))
    naive = (z[:, 5:] > 2.326).any(axis=1).mean()
    ours = 0
    for row in range(min(rollouts, 60)):
        errors, before = Errors(0.001, THRESHOLD), (0, 0)
        for second_, (bad, other) in enumerate(zip(first[row], second[row], strict=True)):
            errors.observe(_window(second_, (20, int(bad) - before[0]), (180, int(other) - before[1])))
            before = (int(bad), int(other))
        ours += errors.peak >= THRESHOLD
    return {"taken_back": float(naive), "judge": ours / min(rollouts, 60)}


def requests_of_keys(rollouts: int, random: np.random.Generator) -> dict[str, float]:
    """500 keys of Zipf popularity, one in fifty of which mostly fails on any version; requests as units, at 50 %."""
    traffic, plan = Traffic(keys=500, bad_keys=0.02, utilisation=0.5), (Step(5000, 60, 0),)
    events = simulate(traffic, plan, rollouts, random)
    naive = ours = 0
    for rollout in range(rollouts):
        errors, keyed = Errors(0.001, THRESHOLD), KeyedErrors(0.001, THRESHOLD)
        for window in windows(events, rollout, plan, traffic, random):
            errors.observe(window)
            keyed.observe(window)
        naive += errors.peak >= THRESHOLD
        ours += min(errors.peak, keyed.log_e) >= THRESHOLD and keyed.enough
    return {"taken_back": naive / rollouts, "judge": ours / rollouts}


def pooled_steps(rollouts: int, random: np.random.Generator) -> dict[str, float]:
    """Errors of both versions rise from 0.2 % to 2 % in the day; counts of all steps are added up, one look at the end.

    The candidate has most of its requests late, when more fail; a one-sided z-test at 1 %.
    """
    shares = np.repeat([0.01, 0.05, 0.25, 0.5], 30)
    rates = np.linspace(0.002, 0.02, 120)
    counts = np.zeros((4, rollouts))
    tests = [Errors(0.001, THRESHOLD) for _ in range(min(rollouts, 60))]
    for second, (share, rate) in enumerate(zip(shares, rates, strict=True)):
        n1 = round(200 * share)
        bad = random.binomial(n1, rate, rollouts), random.binomial(200 - n1, rate, rollouts)
        counts += np.array([bad[0], np.full(rollouts, n1), bad[1], np.full(rollouts, 200 - n1)])
        for row, errors in enumerate(tests):
            errors.observe(_window(second, (n1, int(bad[0][row])), (200 - n1, int(bad[1][row]))))
    pooled = (counts[0] + counts[2]) / (counts[1] + counts[3])
    z = (counts[0] / counts[1] - counts[2] / counts[3]) / np.sqrt(
        pooled * (1 - pooled) * (1 / counts[1] + 1 / counts[3])
    )
    ours = sum(errors.peak >= THRESHOLD for errors in tests) / len(tests)
    return {"taken_back": float((z > 2.326).mean()), "judge": ours}


def _window(second: int, candidate: tuple[int, int], active: tuple[int, int]) -> Window:
    span = (second * 10**9, (second + 1) * 10**9)
    return Window((1, 1, 1), *span, 1000, Arm(*active), Arm(*candidate))
