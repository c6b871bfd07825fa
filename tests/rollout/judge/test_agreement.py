"""Agreement: flips beyond the limit are found, flips within it are not, and an exact answer is met."""

from __future__ import annotations

import math

import numpy as np
import pytest

from changeover.rollout.judge.agreement import Agreement
from changeover.rollout.judge.betting import Family, log_bet_alone
from changeover.rollout.judge.findings import Verdict
from changeover.telemetry.evidence import FARTHEST, Apart, Pairs

THRESHOLD = math.log(500)


def needed(rate: float, seed: int, most: int = 300) -> int:
    """Pairs, ten a window, until it failed, or all."""
    random, agreement = np.random.default_rng(seed), Agreement(0.01, THRESHOLD)
    for _ in range(most):
        agreement.observe(Pairs(10, random.binomial(10, rate)))
        if agreement.peak >= THRESHOLD:
            break
    return agreement.pairs


def test_flips_three_times_the_limit_are_found() -> None:
    """3 % against 1 %: half of the runs within 900 pairs."""
    assert 200 < np.median([needed(0.03, seed, 200) for seed in range(15)]) <= 900


def test_flips_at_the_limit_are_not() -> None:
    """Right at 1 %, some rollouts of 3,000 pairs."""
    assert [needed(0.01, seed) for seed in range(15)] == [3_000] * 15


def test_flips_count_beside_pairs_without_classes() -> None:
    """An image without detections has none, and says nothing of the others; another shape is a flip of any model."""
    agreement = Agreement(0.01, THRESHOLD)
    for _ in range(20):
        agreement.observe(Pairs(compared=10, flips=7, errors={0: 2, 500: 1}))
    finding = agreement.finding()
    assert finding.verdict is Verdict.FAILED
    assert finding.estimate == pytest.approx(0.75)
    assert agreement.pairs == 200


def test_the_set_of_means_holds_the_truth() -> None:
    """Coverage at every look, of a mean of bounded errors, against both sides; 2,000 runs at once."""
    random, level = np.random.default_rng(9), 0.02
    values, prior = np.array([0.0, 0.1, 1.0]), (0.5, 0.5)
    counts = random.multinomial(10, [0.9, 0.08, 0.02], (100, 2_000)).astype(float)
    mean = 0.08 * 0.1 + 0.02
    above, below = Family(2_000, prior), Family(2_000, prior)
    for window in counts:
        for family, guesses in ((above, (0.05, 0.2)), (below, (0.003, 0.015))):
            family.grow(np.stack([_each(values, window, mean, guess) for guess in guesses], axis=1))
    for family in (above, below):
        assert (family.peaks >= math.log(1 / level)).mean() <= level + 3 * math.sqrt(level / 2_000)
        assert (family.peaks >= math.log(1 / level)).mean() > 0


def _each(values: np.ndarray, window: np.ndarray, mean: float, guess: float) -> np.ndarray:
    one = [log_bet_alone(values, row, mean, guess) for row in np.eye(len(values))]
    return np.asarray(window @ np.array(one).reshape(len(values)))


def test_a_win_expects_what_the_likelihood_ratio_does() -> None:
    """Exactly: the growth of the bet on hits is the relative entropy of guess and limit."""
    guess, limit = 0.03, 0.01
    each = [float(log_bet_alone(np.array([0.0, 1.0]), c, limit, guess)) for c in (np.array([1, 0]), np.array([0, 1]))]
    entropy = guess * math.log(guess / limit) + (1 - guess) * math.log((1 - guess) / (1 - limit))
    assert (1 - guess) * each[0] + guess * each[1] == pytest.approx(entropy)


def test_bounded_errors_are_judged_where_there_are_some() -> None:
    """A model without classes: the mean of the errors, in thousandths, is what the limit is about."""
    agreement = Agreement(0.01, THRESHOLD)
    for _ in range(60):
        agreement.observe(Pairs(compared=10, errors={5: 9, 20: 1}))
    finding = agreement.finding()
    assert finding.estimate == pytest.approx(0.0065)
    assert finding.verdict is Verdict.WAITING
    while agreement.peak < THRESHOLD and agreement.pairs < 5_000:
        agreement.observe(Pairs(compared=10, errors={40: 10}))
    assert agreement.finding().verdict is Verdict.FAILED


def test_agreement_is_proved_and_what_is_missing_is_said() -> None:
    """Without flips 1 % is excluded after as many pairs as were announced, and a bit."""
    agreement = Agreement(0.01, THRESHOLD)
    agreement.observe(Pairs(10))
    need = agreement.finding().need
    assert need is not None
    while agreement.finding().verdict is not Verdict.PASSED:
        agreement.observe(Pairs(10))
    assert agreement.pairs == pytest.approx(need, abs=60)
    assert agreement.finding().high == 0.01


def test_nothing_is_needed_where_nothing_helps() -> None:
    """Disagreement at the limit or beyond, up to all of the pairs, has no number of pairs that would prove it less."""
    for flips in (1, 50, 100):
        agreement = Agreement(0.01, THRESHOLD)
        agreement.observe(Pairs(100, flips))
        assert agreement.finding().need is None


def test_a_memory_goes_on() -> None:
    """The same pairs after it give the same finding."""
    one, other = Agreement(0.01, THRESHOLD), Agreement(0.01, THRESHOLD)
    one.observe(Pairs(40, 2, apart=Apart(0.5, 0.1, 0.9)))
    other.remember(one.memory())
    one.observe(Pairs(40, 1))
    other.observe(Pairs(40, 1))
    assert one.finding() == other.finding()


def test_how_far_answers_are_apart_is_said_and_decides_nothing() -> None:
    """The farthest of all windows; equal answers need no sentence, and over a zero an error is infinite."""
    agreement, silent = Agreement(0.01, THRESHOLD), Agreement(0.01, THRESHOLD)
    for far in (Apart(0.25, FARTHEST.relative, 0.98765), Apart(0.125, 3.0, 0.5)):
        agreement.observe(Pairs(40, apart=far))
        silent.observe(Pairs(40))
    assert agreement.finding().detail.endswith("; at most 0.25 apart, relative infinite, cosine 0.5 or more")
    assert "apart" not in silent.finding().detail
    assert (agreement.finding().log_e, agreement.finding().need) == (silent.finding().log_e, silent.finding().need)


def test_no_pairs_say_nothing() -> None:
    """Nothing mirrored, nothing found."""
    agreement = Agreement(0.01, THRESHOLD)
    agreement.observe(Pairs(dropped=5))
    assert agreement.finding().estimate is None
