"""Bets: exactly fair where they must be, sound however often one looks, and wrong bets are found out."""

from __future__ import annotations

import itertools
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.rollout.judge.betting import (
    CLIP,
    Array,
    Capital,
    Count,
    Family,
    Guess,
    highest_rejected,
    log_bet,
    log_bet_alone,
    lowest_rejected,
)

LEVEL = 0.02
THRESHOLD = math.log(1 / LEVEL)
PRIOR = (0.25, 0.25, 0.25, 0.25)
CHANCE = st.floats(0.0, 1.0)


def binomial(n: int, p: float) -> list[float]:
    return [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


@given(CHANCE, st.floats(-0.6, 0.6), st.tuples(CHANCE, CHANCE), st.tuples(st.integers(1, 7), st.integers(1, 12)))
def test_a_window_expects_no_gain_while_the_hypothesis_holds(
    second: float, margin: float, guess: tuple[float, float], trials: tuple[int, int]
) -> None:
    """Exactly, summed over all outcomes, for any guess, any margin and any baseline, zero and one included."""
    first = second + margin
    if not 0 <= first <= 1:
        return
    n1, n2 = trials
    bet = Guess(*guess)
    expected = sum(
        p * q * math.exp(float(log_bet(Count(k1, n1), Count(k2, n2), margin, bet)))
        for (k1, p), (k2, q) in itertools.product(enumerate(binomial(n1, first)), enumerate(binomial(n2, second)))
    )
    assert expected <= 1 + 1e-9


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 30), st.integers(0, 9), st.integers(1, 300)), min_size=1))
def test_several_games_at_once_are_each_of_them(games: list[tuple[int, int, int, int]]) -> None:
    """To the last bit: what a judge decides does not depend on how many classes of batches it weighs together."""
    guesses = np.array([[0.1, 0.4], [0.02, 0.9]])
    seen = np.array([(min(k1, n1), n1, min(k2, n2), n2) for k1, n1, k2, n2 in games], dtype=np.float64)
    k1, n1, k2, n2 = (column[:, None, None] for column in seen.T)
    together = log_bet(Count(k1, n1), Count(k2, n2), 0.01, Guess(guesses, 0.05))
    alone = [log_bet(Count(row[0], row[1]), Count(row[2], row[3]), 0.01, Guess(guesses, 0.05)) for row in seen]
    assert together.shape == (len(games), 2, 2)
    assert together.tolist() == np.array(alone).tolist()


def test_an_arm_that_is_worse_makes_it_grow() -> None:
    """The other side: with the right guess the expected logarithm is that of the likelihood ratio, and positive."""
    bet = Guess(0.02, 0.001)
    growth = sum(
        p * q * float(log_bet(Count(k1, 20), Count(k2, 400), 0.001, bet))
        for (k1, p), (k2, q) in itertools.product(enumerate(binomial(20, 0.02)), enumerate(binomial(400, 0.001)))
    )
    known = 20 * (0.02 * math.log(0.02 / 0.002) + 0.98 * math.log(0.98 / 0.998))
    assert 0.6 * known < growth < known


@given(CHANCE, st.floats(0.001, 0.999), st.floats(0.001, 0.999))
def test_one_arm_against_a_mean_is_exactly_fair(value: float, mean: float, guess: float) -> None:
    """Any outcome in [0, 1] with this mean: here `value`, and 0 or 1 to make the mean right."""
    other = 1.0 if value < mean else 0.0
    share = 0.0 if value == other else (mean - other) / (value - other)
    values = np.array([value, other])
    factors = [math.exp(float(log_bet_alone(values, np.array(c), mean, guess))) for c in ([1.0, 0.0], [0.0, 1.0])]
    assert share * factors[0] + (1 - share) * factors[1] == pytest.approx(1.0, abs=1e-9)


def crossed(first: Array, second: Array, trials: tuple[int, int], margin: float) -> float:
    """Share of replicates (rows) that ever reach the threshold, looked at after each window (columns)."""
    family = Family(len(first), PRIOR)
    guesses = Guess(np.array([0.02, 0.05, 0.15, 0.5]), 0.01)
    for one, two in zip(first.T, second.T, strict=True):
        family.grow(log_bet(Count(one[:, None], trials[0]), Count(two[:, None], trials[1]), margin, guesses))
    return float((family.peaks >= THRESHOLD).mean())


@pytest.mark.parametrize("base", [0.0, 0.001, 0.02, 0.3])
def test_looking_after_every_window_does_not_raise_the_error(base: float) -> None:
    """4,000 rollouts at the very edge of the hypothesis, 200 looks each, a baseline that moves: at most the level."""
    random = np.random.default_rng(7)
    moving = base * (1 + np.sin(np.linspace(0, 12, 200)))
    second = random.binomial(90, moving, (4000, 200))
    first = random.binomial(10, moving + 0.005, (4000, 200))
    assert crossed(first, second, (10, 90), 0.005) <= LEVEL + 3 * math.sqrt(LEVEL / 4000)


def test_a_test_for_one_look_does_not_stand_many() -> None:
    """Negative control: a z-test at the same level, looked at after every window, errs in far more rollouts."""
    random = np.random.default_rng(7)
    first = random.binomial(10, 0.05, (2000, 200)).cumsum(axis=1)
    second = random.binomial(90, 0.05, (2000, 200)).cumsum(axis=1)
    n1, n2 = 10 * np.arange(1, 201), 90 * np.arange(1, 201)
    pooled = (first + second) / (n1 + n2)
    z = (first / n1 - second / n2) / np.sqrt(np.maximum(pooled * (1 - pooled), 1e-9) * (1 / n1 + 1 / n2))
    assert (z[:, 10:] > 2.054).any(axis=1).mean() > 4 * LEVEL


def test_a_pooled_count_is_fooled_by_a_change_of_weight() -> None:
    """Negative control: windows are games of their own; one game over both steps sees a regression that is none."""
    random = np.random.default_rng(3)
    calm = random.binomial(100, 0.01, 500), random.binomial(9_900, 0.01, 500)
    rough = random.binomial(5_000, 0.04, 500), random.binomial(5_000, 0.04, 500)
    guess = Guess(np.array([0.02, 0.03, 0.05, 0.1]), 0.02)
    pooled = log_bet(
        Count((calm[0] + rough[0])[:, None], 5_100), Count((calm[1] + rough[1])[:, None], 14_900), 0, guess
    )
    assert (np.logaddexp.reduce(pooled - math.log(4), axis=1) >= THRESHOLD).mean() > 0.9
    each = Family(500, PRIOR)
    each.grow(log_bet(Count(calm[0][:, None], 100), Count(calm[1][:, None], 9_900), 0.0, guess))
    each.grow(log_bet(Count(rough[0][:, None], 5_000), Count(rough[1][:, None], 5_000), 0.0, guess))
    assert (each.peaks >= THRESHOLD).mean() <= LEVEL


def test_requests_drawn_to_arms_need_no_more_assumption() -> None:
    """Which requests fail is fixed beforehand, in bursts; only the draw of arms is random, and that is enough."""
    random = np.random.default_rng(11)
    fails = np.zeros(100)
    fails[:4] = 1
    first = random.hypergeometric(int(fails.sum()), 96, 10, (4000, 200))
    assert crossed(first, 4 - first, (10, 90), 0.0) <= LEVEL


def test_no_single_window_convicts() -> None:
    """A crash that takes 32 requests along is one event: capital grows by 20 at most."""
    capital = Capital(PRIOR)
    blow = log_bet(Count(32, 40), Count(0, 400), 0.001, Guess(np.array([0.01, 0.1, 0.5, 0.9]), 0.0001))
    assert blow.max() > 50
    capital.grow(blow, 40)
    assert 1 < capital.log_e <= CLIP


def test_capital_that_was_lost_does_not_hide_a_late_change() -> None:
    """After 20,000 good requests a candidate that breaks is found with few more bad windows than a fresh one."""
    good = log_bet(Count(0, 20), Count(0, 380), 0.001, Guess(np.array([0.002, 0.01, 0.1, 0.5]), 0.0001))
    bad = log_bet(Count(6, 20), Count(0, 380), 0.001, Guess(np.array([0.002, 0.01, 0.1, 0.5]), 0.0001))
    needed = []
    for windows in (0, 1000):
        capital = Capital(PRIOR)
        for _ in range(windows):
            capital.grow(good, 20)
        assert windows == 0 or capital.log_e < 0
        needed.append(0)
        while capital.peak < THRESHOLD:
            capital.grow(bad, 20)
            needed[-1] += 1
    assert needed[0] <= 3
    assert needed[1] <= needed[0] + 4


def test_all_capital_is_accounted_for() -> None:
    """Bringing in, setting aside and fair windows change nothing of the whole."""
    capital = Capital(PRIOR)
    for _ in range(50):
        capital.grow(np.zeros(4), 100)
        capital.set_aside()
    assert capital.log_e == pytest.approx(0.0, abs=1e-9)
    assert capital.peak == pytest.approx(0.0, abs=1e-9)


def test_what_is_set_aside_is_not_at_stake() -> None:
    """After setting aside, ruin of what is on the table leaves what was won before."""
    capital = Capital(PRIOR)
    capital.grow(np.full(4, 2.0), 1)
    won = capital.log_e
    capital.set_aside()
    capital.grow(np.full(4, -500.0), 1)
    assert won - 0.2 < capital.log_e < won


def test_a_memory_is_the_same_capital() -> None:
    """What is remembered goes on alike."""
    one, other = Capital(PRIOR), Capital(PRIOR)
    one.grow(np.array([0.5, -1.0, 2.0, 0.0]), 30)
    other.remember(one.memory())
    for capital in (one, other):
        capital.grow(np.array([1.5, 1.0, 2.0, 0.5]), 30)
    assert one.memory() == other.memory()


def test_a_memory_can_go_on_record() -> None:
    """The journal takes plain numbers only, whatever kind of number the trials were counted in."""
    capital = Capital(PRIOR)
    capital.grow(np.array([0.5, -1.0, 2.0, 0.0]), np.float64(30))
    assert msgspec.json.decode(msgspec.json.encode(capital.memory())) == capital.memory()


@pytest.mark.parametrize("margin", [0.0, 0.01, -0.02])
def test_the_set_of_what_is_not_rejected_holds_the_truth(margin: float) -> None:
    """Coverage over 200 looks: the true difference is rejected, from above or below, in at most its share of runs."""
    random = np.random.default_rng(5)
    second = random.binomial(60, 0.05, (3000, 200))
    first = random.binomial(20, 0.05 + margin, (3000, 200))
    above, below = Family(3000, PRIOR), Family(3000, PRIOR)
    up, down = np.array([0.02, 0.05, 0.1, 0.3]), np.array([0.001, 0.01, 0.02, 0.04])
    for one, two in zip(first.T, second.T, strict=True):
        ours, theirs = Count(one[:, None], 20), Count(two[:, None], 60)
        above.grow(log_bet(ours, theirs, margin, Guess(0.05 + margin + up, 0.05)))
        below.grow(log_bet(theirs, ours, -margin, Guess(0.05, np.maximum(0.05 + margin - down, 0.0))))
    missed = ((above.peaks >= THRESHOLD) | (below.peaks >= THRESHOLD)).mean()
    assert missed <= 2 * LEVEL


def test_bounds_are_read_from_what_is_rejected() -> None:
    """The lowest value rejected with all above it, the highest with all below it, or none."""
    values, none = np.array([1.0, 2.0, 3.0]), np.zeros(3)
    assert lowest_rejected(values, np.array([9.0, 1.0, 9.0]), 5.0) == 3.0
    assert lowest_rejected(values, np.array([9.0, 9.0, 9.0]), 5.0) == 1.0
    assert lowest_rejected(values, none, 5.0) is None
    assert highest_rejected(values, np.array([9.0, 1.0, 9.0]), 5.0) == 1.0
    assert highest_rejected(values, np.array([9.0, 9.0, 9.0]), 5.0) == 3.0
    assert highest_rejected(values, none, 5.0) is None


def test_without_control_there_is_no_bet() -> None:
    """An empty arm says nothing, whatever the other shows."""
    guess = Guess(np.array([0.5, 0.9]), 0.1)
    assert log_bet(Count(5, 10), Count(0, 0), 0.01, guess).tolist() == [0.0, 0.0]
    assert log_bet(Count(0, 0), Count(5, 10), 0.01, guess).tolist() == [0.0, 0.0]
