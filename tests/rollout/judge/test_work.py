"""Work: a slower model is found in few batches, a slow machine is nobody's fault, and cold caches are forgiven."""

from __future__ import annotations

import math

import numpy as np
import pytest

from changeover.rollout.judge.findings import Verdict
from changeover.rollout.judge.work import Work, allowed
from tests.rollout.judge.seen import Side, Story, costs

THRESHOLD = math.log(500)


def run(work: Work, times: float, windows: int, seed: int = 1, middle: float = 0.01) -> int:
    """Batches of the candidate until it failed, or all of them."""
    random, story = np.random.default_rng(seed), Story()
    for _ in range(windows):
        ours, theirs = costs(random, 5, middle * times), costs(random, 95, middle)
        work.observe(story.window(Side(5, work={1: ours}), Side(95, work={1: theirs})))
        if work.peak >= THRESHOLD:
            break
    return story.second * 5


@pytest.mark.parametrize("quantile", [0.5, 0.95])
def test_twice_the_work_is_found_in_few_batches(quantile: float) -> None:
    """In half of the runs within 60 candidate requests, whichever quantile is watched."""
    needed = [run(Work(quantile, 0.5, THRESHOLD), 2.0, 60, seed) for seed in range(9)]
    assert np.median(needed) <= 60


@pytest.mark.parametrize("quantile", [0.5, 0.95])
def test_work_within_the_limit_is_no_finding(quantile: float) -> None:
    """A candidate 1.4 times slower keeps a limit of +50 %; 300 windows, some seeds."""
    for seed in range(5):
        work = Work(quantile, 0.5, THRESHOLD)
        run(work, 1.4, 300, seed)
        assert work.finding().verdict is not Verdict.FAILED


def test_equal_work_is_proved() -> None:
    """Identical versions are shown to keep +50 %, and the ratio that is excluded is said."""
    work = Work(0.5, 0.5, THRESHOLD)
    run(work, 1.0, 100)
    finding = work.finding()
    assert finding.verdict is Verdict.PASSED
    assert finding.high is not None
    assert finding.high <= 0.3
    assert finding.estimate == pytest.approx(0.0, abs=0.1)


def test_a_slow_phase_of_the_machine_is_shared() -> None:
    """All batches of both versions take four times as long for twenty seconds, again and again: nothing follows."""
    random, story = np.random.default_rng(4), Story(weight=2_500)
    works = Work(0.5, 0.5, THRESHOLD), Work(0.95, 0.5, THRESHOLD)
    for second in range(300):
        middle = 0.01 * (4 if second // 20 % 2 else 1)
        ours, theirs = costs(random, 20, middle), costs(random, 60, middle)
        for work in works:
            work.observe(story.window(Side(20, work={1: ours}), Side(60, work={1: theirs})))
        story.second -= 1
    assert [work.finding().verdict is Verdict.FAILED for work in works] == [False, False]


def test_a_band_for_independent_batches_is_fooled_by_it() -> None:
    """Negative control: the same phases, seen by a candidate that came later, fail a comparison over all batches."""
    random = np.random.default_rng(4)
    before = np.array(costs(random, 2_000, 0.01))
    after = np.array(costs(random, 600, 0.04))
    band = math.sqrt(math.log(2 / 0.002) / (2 * len(before))) + math.sqrt(math.log(2 / 0.002) / (2 * len(after)))
    assert (after > 1.5 * np.median(before)).mean() > 0.5 + band


def test_only_equal_classes_are_compared() -> None:
    """A candidate that runs batches of one beside an active version that runs batches of eight is not compared."""
    random, story, work = np.random.default_rng(1), Story(), Work(0.5, 0.5, THRESHOLD)
    for _ in range(50):
        ours, theirs = costs(random, 10, 0.09), costs(random, 20, 0.01)
        work.observe(story.window(Side(10, work={8: ours}), Side(20, work={1: theirs})))
    finding = work.finding()
    assert (finding.verdict, finding.log_e, finding.estimate) == (Verdict.WAITING, pytest.approx(0.0), None)


def test_mirrors_are_no_evidence_for_work() -> None:
    """Without weight nothing is counted, however slow."""
    random, story, work = np.random.default_rng(1), Story(weight=0), Work(0.5, 0.5, THRESHOLD)
    for _ in range(50):
        sides = Side(0, work={1: costs(random, 10, 0.1)}), Side(90, work={1: costs(random, 90, 0.01)})
        work.observe(story.window(*sides))
    assert work.finding().estimate is None


def test_cold_caches_and_fuller_batches_are_allowed_for() -> None:
    """A rarely used worker may take a millisecond more; the busier arm has the fuller batches of its class."""
    assert allowed(0.00002, 0.5, 1, 0.01) == pytest.approx(0.000542)
    assert allowed(0.00002, 0.5, 1, 0.25) == pytest.approx(0.000158)
    assert allowed(0.02, 0.5, 1, 0.01) == pytest.approx(0.031)
    assert allowed(0.01, 0.5, 8, 0.4) == pytest.approx(0.015)
    assert allowed(0.01, 0.5, 8, 0.5) == pytest.approx(0.015 * 8 / 5)
    assert allowed(0.01, 0.5, 2, 0.99) == pytest.approx(0.015)
    work = Work(0.5, 0.5, THRESHOLD)
    run(work, 15.0, 100, middle=0.00002)
    assert work.finding().verdict is not Verdict.FAILED


def test_evidence_of_keys_is_weighed_less() -> None:
    """With a tenth of the power more batches are needed, and a new stratum sets aside what was won."""
    random, story, work = np.random.default_rng(1), Story(), Work(0.5, 0.5, THRESHOLD)
    needed = 0
    while work.peak < THRESHOLD and needed < 200:
        sides = Side(5, work={1: costs(random, 5, 0.02)}), Side(95, work={1: costs(random, 95, 0.01)})
        work.observe(story.window(*sides), 0.1)
        needed += 1
    assert 25 <= needed < 200
    story.stratum, before = (2, 1, 1), work.finding().log_e
    work.observe(story.window(Side(), Side()), 0.1)
    assert work.finding().log_e == pytest.approx(before)


def test_a_memory_goes_on() -> None:
    """The same windows after it give the same finding."""
    one, other = Work(0.5, 0.5, THRESHOLD), Work(0.5, 0.5, THRESHOLD)
    run(one, 1.2, 30)
    other.remember(one.memory())
    run(one, 1.2, 30, seed=2)
    run(other, 1.2, 30, seed=2)
    assert one.finding() == other.finding()
