"""Keyed traffic: a key is one unit, however often it asks. Pure.

A client with a key stays on its arm, so requests are no random sample of anything: with 500 keys of Zipf popularity two
identical versions "regress" in 16 % of rollouts when requests are counted. What is drawn at random (by the hash) is the
key. So a key is one trial, with the share of failures among its first `KEY_CAP` requests in the stratum as its outcome,
in [0, 1]; the two-sample bet of `betting` is linear in the outcome and takes such shares as it takes hits.

The same keys are seen again at the next look and at the next step, so looks are not multiplied. Look number i has the
part 1 / (i (i + 1)) of the capital to bet with, for itself; what it makes is put aside. The sum over all looks ever
taken expects at most 1, however they depend on each other, so it is an e-process too. Looks come when the keys or their
requests have grown by a third: a plan that does not know outcomes. Guesses are a fixed grid, never learned from the
keys they are used on.

A verdict from fewer than `LEAST` keys an arm is none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np

from changeover.rollout.judge.betting import LEANS, Array, Count, Guess, log_bet, lowest_rejected, with_limit
from changeover.rollout.judge.errors import MARGINS
from changeover.telemetry.evidence import Window

LEAST: Final = 200
"""Keys an arm without which there is no verdict."""
_BASES: Final = np.array([0.0, 0.0005, 0.002, 0.01, 0.05, 0.2])
"""Guesses of the active version's share of failures."""
_BEYOND: Final = np.array([0.004, 0.015, 0.06, 0.3])
"""Guesses of what the candidate has beyond the limit."""
_SHARES: Final = np.array([0.02, 0.3, 0.7])
_KEYED: Final = 0.04
"""Traffic is keyed when at least this share of an arm's requests was seen with a key."""
_ENOUGH: Final = 20
"""Requests of an arm before its share is looked at."""
_GROWTH: Final = 4 / 3

States: TypeAlias = Mapping[tuple[int, int], int]


class KeyedErrors:
    """The test of the error rate with keys as units; also tells whether traffic is keyed at all.

    Args:
        limit: excess over the active version that is allowed.
        threshold: log e at which the candidate has failed.
    """

    def __init__(self, limit: float, threshold: float) -> None:
        self._limit, self._threshold = limit, threshold
        self._margins = with_limit(MARGINS, limit)
        self._looks = 0
        self._looked = 0
        """Requests of the candidate's keys at the last look."""
        self._saved = 0.0
        self._excluded = np.zeros(len(self._margins))
        self._stratum: tuple[int, int, int] | None = None
        self._requests = [0, 0]
        self.keyed = False
        self.against = False
        """Whether the keys of this stratum, as they are now, speak against the candidate."""
        self.keys = (0, 0)
        """Keys seen in this stratum: the candidate's, the active version's."""

    def observe(self, window: Window) -> None:
        """Take one window; its keys are those of the whole stratum."""
        if window.stratum != self._stratum:
            self._stratum, self._looked, self._requests = window.stratum, 0, [0, 0]
        candidate, active = window.candidate, window.active
        for place, arm in enumerate((candidate, active)):
            self._requests[place] += arm.requests
            if self._requests[place] >= _ENOUGH and _capped(arm.keys) >= _KEYED * self._requests[place]:
                self.keyed = True
        self.keys = (sum(candidate.keys.values()), sum(active.keys.values()))
        requests = _capped(candidate.keys)
        self.against = self.enough and _against(candidate.keys, active.keys, self._limit) >= math.exp(LEANS)
        if self.enough and requests >= _GROWTH * self._looked:
            self._looked = requests
            self._look(candidate.keys, active.keys)

    def _look(self, candidate: States, active: States) -> None:
        self._looks += 1
        part = -math.log(self._looks * (self._looks + 1))
        self._saved += _against(candidate, active, self._limit) * math.exp(part)
        under = np.repeat(self._margins[:, None], len(_BASES) * len(_SHARES), axis=1)
        base = np.repeat(_BASES, len(_SHARES))
        low = Guess(base, base + under * np.tile(_SHARES, len(_BASES)))
        log = _keys_bet(active, candidate, -self._margins[:, None], low) + part
        self._excluded += np.array([_mean_exp(row) for row in log])

    @property
    def log_e(self) -> float:
        """Evidence against the candidate; grows only."""
        return math.log(self._saved + 1 / (self._looks + 1))

    @property
    def enough(self) -> bool:
        """Whether both arms have keys enough for a verdict."""
        return min(self.keys) >= LEAST

    @property
    def excluded(self) -> float | None:
        """The smallest excess that is excluded."""
        peaks = np.log(self._excluded + 1 / (self._looks + 1))
        return lowest_rejected(self._margins, peaks, self._threshold)

    def memory(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "looks": self._looks,
            "looked": self._looked,
            "saved": self._saved,
            "excluded": self._excluded.tolist(),
            "stratum": self._stratum,
            "requests": list(self._requests),
            "keyed": self.keyed,
            "against": self.against,
            "keys": list(self.keys),
        }

    def remember(self, memory: dict[str, Any]) -> None:
        """Go on from a memory."""
        self._looks, self._looked, self._saved = memory["looks"], memory["looked"], memory["saved"]
        self._excluded = np.array(memory["excluded"])
        stratum = memory["stratum"]
        self._stratum = None if stratum is None else (stratum[0], stratum[1], stratum[2])
        self._requests = list(memory["requests"])
        self.against = bool(memory.get("against"))
        self.keyed, self.keys = memory["keyed"], (memory["keys"][0], memory["keys"][1])


def _against(candidate: States, active: States, limit: float) -> float:
    """What one who bets only now makes of the keys as they are."""
    guesses = Guess((_BASES[:, None] + limit + _BEYOND).ravel(), np.repeat(_BASES, len(_BEYOND)))
    return _mean_exp(_keys_bet(candidate, active, limit, guesses))


def _capped(states: States) -> int:
    return sum(requests * keys for (requests, _), keys in states.items())


def _keys_bet(first: States, second: States, margin: float | Array, guess: Guess) -> Array:
    """Log factors with keys as trials: each key's outcome is its share of failures.

    A factor is linear in the outcome between those of 0 and 1, so it is the mean of the two, weighted by the outcome;
    that is what `log_bet` gives for a single trial that hits in part, were it not for the logarithm. Hence the sum over
    the distinct outcomes.
    """
    one, two = sum(first.values()), sum(second.values())
    base = log_bet(Count(0.0, one), Count(0.0, two), margin, guess)
    hit = log_bet(Count(1.0, one), Count(0.0, two), margin, guess) - base
    mirrored = log_bet(Count(0.0, one), Count(1.0, two), margin, guess) - base
    return base + _beyond_zero(first, hit) + _beyond_zero(second, mirrored)


def _beyond_zero(states: States, log_ratio: Array) -> Array:
    """Sum over keys of log(1 + outcome (ratio - 1)): what a key's factor is against that of a key without failures."""
    total = np.zeros_like(log_ratio)
    for (requests, failures), keys in states.items():
        if failures:
            total += keys * np.log1p(failures / requests * np.expm1(log_ratio))
    return total


def _mean_exp(log: Array) -> float:
    return float(np.exp(np.minimum(np.logaddexp.reduce(log) - math.log(len(log)), 600.0)))
