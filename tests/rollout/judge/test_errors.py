"""Errors: an excess is found soon, a shared misfortune never, and what is excluded is said."""

from __future__ import annotations

import math

import numpy as np
import pytest

from changeover.rollout.judge.errors import Errors, trials_of
from changeover.rollout.judge.findings import Verdict
from changeover.telemetry.evidence import Pairs
from tests.rollout.judge.seen import Side, Story

THRESHOLD = math.log(500)


def test_a_candidate_that_fails_one_in_a_hundred_is_found() -> None:
    """From 0 to 1 %, ten requests a second: half of the runs within 900 requests, peeking at every tick."""
    needed = []
    for seed in range(15):
        random, errors, story = np.random.default_rng(seed), Errors(0.001, THRESHOLD), Story()
        while errors.peak < THRESHOLD and story.second < 400:
            errors.observe(story.window(Side(10, random.binomial(10, 0.01)), Side(190)))
        needed.append(story.second * 10)
    assert 200 < np.median(needed) <= 900


def test_failures_of_both_versions_are_nobodys_regression() -> None:
    """A rate that moves between 0 and 20 % for both, twenty rollouts of 100 windows: none fails."""
    random = np.random.default_rng(2)
    for _ in range(20):
        errors, story = Errors(0.001, THRESHOLD), Story()
        for rate in 0.1 + 0.1 * np.sin(np.linspace(0, 20, 100)):
            sides = Side(10, random.binomial(10, rate)), Side(190, random.binomial(190, rate))
            errors.observe(story.window(*sides))
        assert errors.finding().verdict is Verdict.WAITING


def test_clean_requests_exclude_the_limit_where_the_design_says() -> None:
    """Proving less than 0.1 points takes 5,000 to 6,750 clean requests; before, the finding says how many."""
    errors, story = Errors(0.001, THRESHOLD), Story()
    errors.observe(story.window(Side(10), Side(190)))
    need = errors.finding().need
    assert need is not None
    assert 5_000 < need <= 6_750
    while errors.finding().verdict is not Verdict.PASSED:
        errors.observe(story.window(Side(10), Side(190)))
    assert 5_000 < story.second * 10 <= 6_750
    assert errors.finding().high == 0.001


def test_the_smallest_excess_excluded_shrinks() -> None:
    """After 100 clean requests some points are excluded, after 2,000 fewer."""
    errors, story = Errors(0.001, THRESHOLD), Story()
    highs = []
    for number in (100, 1_000, 3_000):
        while story.second * 10 < number:
            errors.observe(story.window(Side(10), Side(190)))
        highs.append(errors.excluded)
    assert highs == sorted(highs, key=lambda high: -(high or 1))
    assert highs[0] == 0.1
    assert highs[2] is not None
    assert highs[2] <= 0.003


def test_failed_mirrors_count_against_the_candidate() -> None:
    """In a shadow step nothing else can."""
    errors, story = Errors(0.001, THRESHOLD), Story(weight=0)
    window = story.window(Side(), Side(200), Pairs(compared=7, failures=3))
    assert trials_of(window) == (3, 10)
    for _ in range(4):
        errors.observe(window)
    assert errors.finding().verdict is Verdict.FAILED


def test_one_bad_second_does_not_convict() -> None:
    """A batch of 32 that crashed among clean windows is one event."""
    errors, story = Errors(0.001, THRESHOLD), Story()
    for second in range(100):
        errors.observe(story.window(Side(40, 32 if second == 5 else 0), Side(760)))
    assert errors.finding().verdict is Verdict.WAITING


def test_without_control_the_past_is_the_measure() -> None:
    """Nothing left on the active version: an alarm, and the sentence says on what it stands."""
    errors, story = Errors(0.001, THRESHOLD), Story()
    for _ in range(50):
        errors.observe(story.window(Side(10), Side(190)))
    for _ in range(29):
        errors.observe(story.window(Side(200, 0), Side()))
    assert not errors.alone
    for _ in range(30):
        errors.observe(story.window(Side(200, 0), Side()))
    assert errors.alone
    assert errors.finding().verdict is Verdict.WAITING
    for _ in range(10):
        errors.observe(story.window(Side(200, 20), Side()))
    finding = errors.finding()
    assert finding.verdict is Verdict.FAILED
    assert "earlier rate" in finding.detail


def test_a_rare_control_is_a_control() -> None:
    """One request on the active version every few seconds: windows are joined until there is one."""
    random, errors, story = np.random.default_rng(1), Errors(0.001, THRESHOLD), Story(weight=9_900)
    for second in range(200):
        rare = Side(1, random.binomial(1, 0.05)) if second % 7 == 0 else Side()
        errors.observe(story.window(Side(100, random.binomial(100, 0.05)), rare))
    assert not errors.alone
    assert errors.finding().verdict is Verdict.WAITING
    assert errors.finding().estimate == pytest.approx(0.0, abs=0.1)


def test_nothing_seen_is_nothing_said() -> None:
    """No requests, no estimate; and no bet on a candidate alone without a past."""
    errors, story = Errors(0.001, THRESHOLD), Story()
    errors.observe(story.window(Side(50, 50), Side()))
    finding = errors.finding()
    assert (finding.verdict, finding.estimate, finding.log_e) == (Verdict.WAITING, None, pytest.approx(0.0))


def test_a_memory_goes_on() -> None:
    """The same windows after it give the same finding."""
    one, other, story = Errors(0.001, THRESHOLD), Errors(0.001, THRESHOLD), Story()
    one.observe(story.window(Side(10, 1), Side(190, 1)))
    other.remember(one.memory())
    window = story.window(Side(10, 2), Side(190))
    one.observe(window)
    other.observe(window)
    assert one.finding() == other.finding()
