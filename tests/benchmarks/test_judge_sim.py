"""The simulator of traffic and the judge in it: a small part of `make judge-sim`, with a control that has to err."""

from __future__ import annotations

import math

import numpy as np
import pytest

import judge_controls as controls
import judge_sim
from changeover.rollout.judge.agreement import Agreement
from judge_traffic import Step, Traffic, simulate, windows

SHORT = (Step(0, 4, 1000), Step(500, 8), Step(5000, 8))


def test_windows_hold_all_the_requests() -> None:
    """Every simulated request is in one arm of one window, with its latency; weights are met."""
    traffic, random = Traffic(rate=100.0, burst=1.0, day=0.0), np.random.default_rng(1)
    events = simulate(traffic, SHORT, 5, random)
    assert len(events.rollout) == pytest.approx(5 * 20 * 100, rel=0.1)
    for rollout in range(5):
        seen = list(windows(events, rollout, SHORT, traffic, random))
        assert sum(w.active.requests + w.candidate.requests for w in seen) == (events.rollout == rollout).sum()
        assert all(sum(w.active.latency.values()) == w.active.requests for w in seen)
        late = seen[-8:]
        share = sum(w.candidate.requests for w in late) / sum(w.active.requests + w.candidate.requests for w in late)
        assert share == pytest.approx(0.5, abs=0.08)


def test_keys_stay_on_their_arm_and_are_capped() -> None:
    """States are cumulative in a step; no key counts more than ten requests, and each goes to one arm."""
    traffic, plan, random = Traffic(keys=50), (Step(5000, 10, 0),), np.random.default_rng(2)
    events = simulate(traffic, plan, 1, random)
    last = list(windows(events, 0, plan, traffic, random))[-1]
    assert sum(last.active.keys.values()) + sum(last.candidate.keys.values()) <= 50
    assert max(requests for requests, _ in [*last.active.keys, *last.candidate.keys]) == 10
    for key in np.unique(events.key):
        assert len(np.unique(events.arm[events.key == key])) == 1


def test_queues_fill_with_load() -> None:
    """At 0.9 of capacity requests wait, at 0.1 they do not."""
    waits = []
    for utilisation in (0.1, 0.9):
        events = simulate(Traffic(utilisation=utilisation), (Step(0, 20),), 5, np.random.default_rng(3))
        waits.append((events.size > 1).mean())
    assert waits[0] < 0.2
    assert waits[1] > 0.4


def test_identical_versions_are_left_alone() -> None:
    """A dozen rollouts, heavy-tailed, bursty and keyed, judged at every tick."""
    reasons = [
        reason
        for number, name in enumerate(("heavy tails and bursts", "keyed, few keys"))
        for reason, _, _, _ in judge_sim.play(judge_sim.IDENTICAL[name], SHORT, 6, number)
    ]
    assert reasons == [""] * 12


def test_a_slow_candidate_is_not() -> None:
    """Negative control of the one above: the same judge and traffic, twice the work."""
    found = judge_sim.play(Traffic(candidate_cost=2.5), SHORT, 6, 1)
    assert [result.reason for result in found] == ["latency_increase"] * 6


def test_independent_bands_err() -> None:
    """What the judge does not do: bands for independent latencies take most identical versions back."""
    assert controls.independent_bands(8, np.random.default_rng(1))["taken_back"] >= 0.25


def test_the_upper_bound_is_that_of_clopper_and_pearson() -> None:
    """Exact where it is known in closed form: no hit in n trials."""
    assert judge_sim.upper(0, 1000) == pytest.approx(1 - 0.05 ** (1 / 1000), rel=1e-6)
    assert judge_sim.upper(4, 1000) < 0.01 < judge_sim.upper(5, 1000)


def test_power_stops_at_its_end() -> None:
    """A test that never crosses is cut off; one that does says at how many requests."""
    random = np.random.default_rng(1)
    assert judge_sim.until(judge_sim.flips_found(0.0, random), 50) == 50
    assert judge_sim.until(judge_sim.flips_found(0.9, random), 5000) <= 50
    assert Agreement(0.01, math.log(500)).pairs == 0


@pytest.mark.parametrize("broken", [0, 9, 29])
def test_no_second_is_clear_once_all_is_seen_to_fail(broken: int) -> None:
    """Without a hold, and after a long good past too; "nothing has failed yet" would have said clear."""
    found = [judge_sim.hasted(broken, seed) for seed in range(12)]
    assert sum(clear for clear, _ in found) == 0
    assert sum(undoubted for _, undoubted in found) > 0
