"""Bets that are fair at best while a candidate keeps its limit, and the capital that they make. Pure.

**One game.** Two arms share a window; first has `k1` hits in `n1` trials, second `k2` in `n2`. The hypothesis is that
in this window the mean chance of a hit in the first is at most that of the second plus a margin `m`. With any centre
`x`, any stake `g >= 0` and `r = n1/n2`, chosen before the window is seen, the factor

    (1 + g(1-x-m))^k1 (1 - g(x+m))^(n1-k1)  (1 - rg(1-x))^k2 (1 + rgx)^(n2-k2)

has an expectation of at most 1: every trial's factor is linear in its outcome, so with chances `p1`, `p2` the product
expects at most exp(n1 g(p1-x-m) - n2 rg(p2-x)) = exp(n1 g(p1-p2-m)) <= 1. No baseline is assumed: `p2` may be zero, and
may change from window to window, for both arms alike. Stake and centre decide only how fast the capital grows when the
hypothesis is wrong; the best are those of the likelihood ratio of a guess to its projection on the hypothesis (Turner,
Ly, Grünwald 2024, "Generic E-variables for exact sequential k-sample tests"; Grünwald, de Heide, Koolen 2024). With one
arm and a fixed mean this is the betting of Waudby-Smith and Ramdas (2024, "Estimating means of bounded random variables
by betting").

**What is assumed**: within a window, and given its chances, trials hit independently. Which request goes to which arm
is drawn at random, so whatever happens in time (bursts, noisy neighbours, a broken client) happens to both arms alike.
What hits *one* arm in a lump, such as a crash that takes a whole batch along, is not independent: therefore no single
window multiplies capital by more than `CLIP`, so that it takes several bad windows. Cutting a factor down never hurts
the guarantee.

**One capital.** Factors of successive windows multiply (Ville 1939; Ramdas, Grünwald, Vovk, Shafer 2023,
"Game-theoretic statistics and safe anytime-valid inference"), also over steps of different weight and over workers:
each window is its own game, counts are never pooled. Capital is spread over several guesses. Half is kept back and
brought in little by little, so that a candidate that turns bad late is not compared with what its good days have lost
(the same idea as the mixture over change points of Shin, Ramdas, Rinaldo 2024, "E-detectors").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

CLIP: Final = math.log(20)
"""No window multiplies capital by more than 20: one bad second alone never convicts."""
LEANS: Final = math.log(10)
"""Log of the odds from which on what was seen speaks against a candidate, though it convicts nobody."""
RECENT: Final = 3
"""Windows that it takes to convict at 500 to 1, as none multiplies by more than 20; the last are looked at alone."""
_EDGE: Final = 0.999
"""Of the largest stake there is: none ever loses everything."""
_TINY: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Count:
    """Hits among trials of one arm; each may be an array: `hits` one number for each hypothesis (on the first axis)."""

    hits: float | Array
    trials: float | Array


@dataclass(frozen=True, slots=True)
class Guess:
    """What the chances may be, if the hypothesis is wrong; arrays that broadcast to (hypotheses, guesses)."""

    first: float | Array
    second: float | Array


def log_bet(first: Count, second: Count, margin: float | Array, guess: Guess) -> Array:
    """Logarithm of the factor of one window against "the first's chance is at most the second's plus `margin`".

    Args:
        first: what was seen of the first; trials that are arrays, for several games at once, are all positive.
        second: of the second.
        margin: one for each hypothesis.
        guess: of the chances.

    Returns:
        One number for each hypothesis and guess; 0 where an arm has no trials: without control there is no bet.
    """
    m = np.asarray(margin, dtype=np.float64)
    if np.ndim(first.trials) == 0 and (first.trials <= 0 or second.trials <= 0):
        shapes = [np.shape(part) for part in (m, guess.first, guess.second, first.hits, second.hits)]
        return np.zeros(np.broadcast_shapes(*shapes))
    ratio = first.trials / second.trials
    x = _centre(first.trials, second.trials, m, guess)
    g = _stake(x, m, ratio, guess)
    one = first.hits * np.log1p(g * (1 - x - m)) + (first.trials - first.hits) * np.log1p(-g * (x + m))
    two = second.hits * np.log1p(-ratio * g * (1 - x)) + (second.trials - second.hits) * np.log1p(ratio * g * x)
    return np.asarray(one + two, dtype=np.float64)


def log_bet_alone(values: Array, counts: Array, mean: float | Array, guess: float | Array) -> Array:
    """Logarithm of the factor against "the mean of values in [0, 1] is at most `mean`".

    Args:
        values: shape (V,).
        counts: how often each came, shape (V,).
        mean: one for each hypothesis, broadcasts with `guess`.
        guess: of the mean if the hypothesis is wrong; a guess below `mean` bets that it is smaller.
    """
    m = np.asarray(mean, dtype=np.float64)
    g = (np.asarray(guess) - m) / np.maximum(m * (1 - m), _TINY)
    g = np.minimum(np.maximum(g, -_EDGE / np.maximum(1 - m, _TINY)), _EDGE / np.maximum(m, _TINY))
    return np.asarray((np.log1p(g[..., None] * (values - m[..., None])) * counts).sum(axis=-1), dtype=np.float64)


def _centre(n1: float | Array, n2: float | Array, m: Array, guess: Guess) -> Array:
    """The second's chance in the hypothesis that is nearest to the guess (exact for small chances and for margin 0)."""
    total = n1 + n2
    linear = total * m - n2 * np.asarray(guess.second) - n1 * np.asarray(guess.first)
    constant = -n2 * np.asarray(guess.second) * m
    root = (np.sqrt(np.maximum(linear * linear - 4 * total * constant, 0.0)) - linear) / (2 * total)
    return np.asarray(np.minimum(np.maximum(root, np.maximum(0.0, -m)), np.minimum(1.0, 1.0 - m)))


def _stake(x: Array, m: Array, ratio: float | Array, guess: Guess) -> Array:
    """The likelihood ratio's, read at the arm whose chance is the larger, within what keeps all factors positive."""
    u = x + m
    by_first = (guess.first - u) / np.maximum(u * (1 - u), _TINY)
    by_second = (x - guess.second) / np.maximum(x * (1 - x), _TINY) / ratio
    most = _EDGE * np.minimum(1 / np.maximum(u, _TINY), 1 / (ratio * np.maximum(1 - x, _TINY)))
    return np.asarray(np.minimum(np.maximum(np.where(m >= 0, by_first, by_second), 0.0), most), dtype=np.float64)


class Capital:
    """The capital of one test, spread over guesses, part of it kept back.

    Args:
        prior: shares of the guesses, sum 1.
        pace: trials after which the part kept back has fallen to 70 %.
    """

    __slots__ = ("_invested", "_pace", "_prior", "_recent", "_reserve", "_saved", "_trials", "peak")

    def __init__(self, prior: Sequence[float], pace: float = 200.0) -> None:
        self._prior = np.log(np.asarray(prior, dtype=np.float64))
        self._pace = pace
        self._reserve = 0.5
        self._saved = 0.0
        self._trials = 0.0
        self._invested = self._prior + math.log(0.5)
        self._recent: Array = np.empty((0, len(self._prior)))
        self.peak = 0.0
        """Largest logarithm of the whole capital so far: what has crossed once has crossed."""

    def grow(self, log_factors: Array, trials: float) -> None:
        """Take one window: its log factors, one a guess, and the candidate's trials in it."""
        if trials <= 0:
            return
        left = self._reserve * math.sqrt((self._pace + self._trials) / (self._pace + self._trials + trials))
        self._bring_in(self._reserve - left)
        self._trials += float(trials)  # a number of numpy is a float to json, and none to the journal
        clipped = np.minimum(log_factors, CLIP)
        self._invested = self._invested + clipped
        self._recent = np.vstack((self._recent[1 - RECENT :], np.zeros_like(clipped))) + clipped
        self.peak = max(self.peak, self.log_e)

    def set_aside(self) -> None:
        """Take what was won off the table and begin anew with half of what was kept back.

        For evidence that must not be multiplied: the same units (keys) seen once more.
        """
        self._saved += float(np.exp(np.minimum(self._invested, 600.0)).sum())
        self._invested = np.full_like(self._prior, -700.0)
        self._recent = self._recent[:0]
        self._bring_in(self._reserve / 2)

    @property
    def log_e(self) -> float:
        """Logarithm of all that there is, at the start 0."""
        parts = np.append(self._invested, [math.log(self._reserve), math.log(max(self._saved, 1e-300))])
        return float(np.logaddexp.reduce(parts))

    @property
    def leans(self) -> bool:
        """Whether all that is at stake, or one of the last windows with all after it, speaks against the candidate.

        What was set aside counts for a verdict, and not here: nothing that comes later could ever outweigh it.
        A long good past makes the whole evidence slow: who has begun to bet in one of the last windows knows of what
        has broken just now. Such capital expects at most 1 in its turn, so it rarely grows by chance.
        """
        begun = [float(np.logaddexp.reduce(self._prior + row)) for row in self._recent]
        at_stake = float(np.logaddexp.reduce(np.append(self._invested, math.log(self._reserve))))
        return max(at_stake, *begun) >= LEANS if begun else False

    def memory(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "invested": self._invested.tolist(),
            "recent": self._recent.tolist(),
            "reserve": self._reserve,
            "saved": self._saved,
            "trials": self._trials,
            "peak": self.peak,
        }

    def remember(self, memory: dict[str, Any]) -> None:
        """Go on from a memory."""
        self._invested = np.asarray(memory["invested"], dtype=np.float64)
        self._recent = np.asarray(memory.get("recent", []), dtype=np.float64).reshape(-1, len(self._prior))
        self._reserve, self._saved = memory["reserve"], memory["saved"]
        self._trials, self.peak = memory["trials"], memory["peak"]

    def _bring_in(self, amount: float) -> None:
        self._reserve -= amount
        if amount > 0:
            self._invested = np.logaddexp(self._invested, self._prior + math.log(amount))


class Family:
    """Many hypotheses at once, each with a capital of its own: what is rejected makes a confidence sequence.

    A set of all values that are not rejected holds the true one at all times with the chance promised (Howard, Ramdas,
    McAuliffe, Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences").

    Args:
        hypotheses: how many.
        prior: shares of the guesses, sum 1.
    """

    __slots__ = ("_invested", "peaks")

    def __init__(self, hypotheses: int, prior: Sequence[float]) -> None:
        self._invested = np.tile(np.log(np.asarray(prior, dtype=np.float64)), (hypotheses, 1))
        self.peaks: Array = np.zeros(hypotheses)

    def grow(self, log_factors: Array) -> None:
        """Take one window: log factors of shape (hypotheses, guesses)."""
        self._invested = self._invested + np.minimum(log_factors, CLIP)
        self.peaks = np.maximum(self.peaks, np.logaddexp.reduce(self._invested, axis=1))

    @property
    def log_e(self) -> Array:
        """Logarithm of each capital now."""
        return np.asarray(np.logaddexp.reduce(self._invested, axis=1), dtype=np.float64)

    def memory(self) -> dict[str, Any]:
        """As JSON."""
        return {"invested": self._invested.tolist(), "peaks": self.peaks.tolist()}

    def remember(self, memory: dict[str, Any]) -> None:
        """Go on from a memory."""
        self._invested = np.asarray(memory["invested"], dtype=np.float64)
        self.peaks = np.asarray(memory["peaks"], dtype=np.float64)


def with_limit(values: Array, limit: float) -> Array:
    """The values and the limit, ascending, each once.

    Not `numpy.unique`: its first call imports `numpy.ma`, and a controller would stand still for that in a rollout.
    """
    return np.array(sorted({*values.tolist(), limit}))


def lowest_rejected(values: Array, peaks: Array, threshold: float) -> float | None:
    """The smallest value that is rejected together with all above it, None when the largest is not."""
    rejected = peaks >= threshold
    if not rejected[-1]:
        return None
    return float(values[len(values) - int(np.argmin(rejected[::-1])) if not rejected.all() else 0])


def highest_rejected(values: Array, peaks: Array, threshold: float) -> float | None:
    """The largest value that is rejected together with all below it, None when the smallest is not."""
    rejected = peaks >= threshold
    if not rejected[0]:
        return None
    return float(values[(int(np.argmin(rejected)) if not rejected.all() else len(values)) - 1])
