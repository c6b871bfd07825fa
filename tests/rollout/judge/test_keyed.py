"""Keyed traffic: keys are the units, however often they ask, and few keys give no verdict."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from changeover.rollout.judge.errors import Errors
from changeover.rollout.judge.keyed import LEAST, KeyedErrors
from tests.rollout.judge.seen import Side, Story

THRESHOLD = math.log(500)


def states(random: np.random.Generator, keys: int, rates: np.ndarray | float, requests: int = 10) -> Counter:
    """States of so many keys after some requests each."""
    failures = random.binomial(requests, rates, keys)
    return Counter((requests, int(bad)) for bad in failures)


def sides(candidate: Counter, active: Counter) -> tuple[Side, Side]:
    def side(found: Counter) -> Side:
        requests = sum(n * keys for (n, _), keys in found.items())
        return Side(requests, sum(bad * keys for (_, bad), keys in found.items()), keys=found)

    return side(candidate), side(active)


def broken(random: np.random.Generator, keys: int) -> np.ndarray:
    """A client in fifty sends what no version can answer."""
    return np.where(random.random(keys) < 0.02, 0.9, 0.0)


def test_keys_that_fail_on_any_version_are_no_regression() -> None:
    """Some clients are broken, drawn to arms at random: 300 rollouts of six steps, at most a few are taken back."""
    random, failed = np.random.default_rng(1), 0
    for _ in range(300):
        keyed, story = KeyedErrors(0.001, THRESHOLD), Story()
        for step in range(6):
            story.stratum = (step, 1, 1)
            one, two = (states(random, n, broken(random, n)) for n in (250, 2_000))
            keyed.observe(story.window(*sides(one, two)))
        failed += keyed.log_e >= THRESHOLD
    assert failed <= 2


def test_requests_of_such_keys_are_a_regression() -> None:
    """Negative control: the same, with requests as units, and popular keys that send half of all."""
    random, failed = np.random.default_rng(1), 0
    share = 1 / np.arange(1, 501) / (1 / np.arange(1, 501)).sum()
    for _ in range(100):
        errors, story = Errors(0.001, THRESHOLD), Story()
        rates, ours = broken(random, 500), random.random(500) < 0.05
        for _ in range(40):
            asked = random.multinomial(400, share)
            bad = random.binomial(asked, rates)
            one, two = ((int(asked[arm].sum()), int(bad[arm].sum())) for arm in (ours, ~ours))
            errors.observe(story.window(Side(*one), Side(*two)))
        failed += errors.peak >= THRESHOLD
    assert failed >= 6


def test_a_candidate_that_fails_every_tenth_is_found() -> None:
    """With 300 keys on the candidate one look is enough."""
    random = np.random.default_rng(1)
    keyed = KeyedErrors(0.001, THRESHOLD)
    keyed.observe(Story().window(*sides(states(random, 300, 0.1), states(random, 3_000, 0.0))))
    assert keyed.keyed
    assert keyed.log_e >= THRESHOLD


def test_few_keys_are_no_evidence() -> None:
    """Under 200 on an arm there is no look, whatever they show."""
    random = np.random.default_rng(1)
    keyed = KeyedErrors(0.001, THRESHOLD)
    keyed.observe(Story().window(*sides(states(random, LEAST - 1, 0.5), states(random, 3_000, 0.0))))
    assert (keyed.keyed, keyed.enough, keyed.log_e) == (True, False, 0.0)


def test_looks_come_with_growth_and_share_one_capital() -> None:
    """The same keys again are not looked at again; the looks' parts of the capital add up to one."""
    random, story = np.random.default_rng(1), Story()
    keyed = KeyedErrors(0.001, THRESHOLD)
    one, two = states(random, 300, 0.02), states(random, 3_000, 0.0)
    keyed.observe(story.window(*sides(one, two)))
    first = keyed.log_e
    keyed.observe(story.window(*sides(one, two)))
    assert keyed.log_e == first
    story.stratum = (2, 1, 1)
    keyed.observe(story.window(*sides(one, two)))
    assert first < keyed.log_e < first + math.log(1.5)


def test_an_excess_is_excluded_by_clean_keys() -> None:
    """4,000 clean keys exclude some points, and never less than requests could."""
    random = np.random.default_rng(1)
    keyed = KeyedErrors(0.001, THRESHOLD)
    assert keyed.excluded is None
    keyed.observe(Story().window(*sides(states(random, 4_000, 0.0), states(random, 9_000, 0.0))))
    assert keyed.excluded is not None
    assert 0.001 < keyed.excluded <= 0.005


def test_traffic_with_a_few_testers_is_not_keyed() -> None:
    """Keys in one request of a hundred change nothing; keys in most make it keyed, from twenty requests on."""
    few, most = KeyedErrors(0.001, THRESHOLD), KeyedErrors(0.001, THRESHOLD)
    story = Story()
    few.observe(story.window(Side(300, keys={(3, 0): 1}), Side(9_000, keys={(10, 0): 3})))
    assert not few.keyed
    most.observe(story.window(Side(19, keys={(1, 0): 19}), Side(0)))
    assert not most.keyed
    most.observe(story.window(Side(10, keys={(1, 0): 29}), Side(0)))
    assert most.keyed


def test_a_memory_goes_on() -> None:
    """The same windows after it give the same evidence."""
    random, story = np.random.default_rng(1), Story()
    one, other = KeyedErrors(0.001, THRESHOLD), KeyedErrors(0.001, THRESHOLD)
    one.observe(story.window(*sides(states(random, 300, 0.01), states(random, 900, 0.0))))
    other.remember(one.memory())
    window = story.window(*sides(states(random, 600, 0.01), states(random, 1_900, 0.0)))
    one.observe(window)
    other.observe(window)
    assert one.memory() == other.memory()
