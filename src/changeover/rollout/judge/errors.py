"""Errors: is the candidate's rate of failures more than the limit above the active version's? Pure.

The hypothesis is `p_candidate <= p_active + limit` in every window, whatever `p_active` is and however it moves: both
arms see the same seconds. It is tested by the two-sample bet of `betting`, which is sound at zero failures of the
active version. Failures of mirrored requests count as the candidate's trials of that window; they happened where the
active version did answer, so they cannot be the caller's fault.

Without control (nothing left on the active version) the bet is against the rate that the active version has shown
before, with a margin for its own uncertainty: an alarm that stands on the past, and the sentence says so.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from changeover.rollout.judge.betting import (
    Capital,
    Count,
    Family,
    Guess,
    highest_rejected,
    log_bet,
    log_bet_alone,
    lowest_rejected,
    with_limit,
)
from changeover.rollout.judge.findings import Finding, Verdict
from changeover.telemetry.evidence import Window

_BEYOND: Final = np.array([0.001, 0.003, 0.009, 0.03, 0.1, 0.5])
"""Guesses: so much beyond what the limit allows."""
_PRIOR: Final = (0.1, 0.2, 0.3, 0.2, 0.1, 0.1)
MARGINS: Final = np.array([0.0003, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5])
"""Excess rates that are excluded, or not, one by one."""
SHARES: Final = np.array([0.02, 0.3, 0.6, 0.85])
"""Guesses when an excess is to be excluded: the true one is this share of it."""
SHARES_PRIOR: Final = (0.7, 0.15, 0.1, 0.05)
ALONE: Final = 30.0
"""Seconds without a request on the active version after which there is no control; until then windows are joined."""
_VALUES: Final = np.array([0.0, 1.0])


def trials_of(window: Window) -> tuple[int, int]:
    """The candidate's failures and trials in a window, mirrored ones included."""
    arm, pairs = window.candidate, window.pairs
    return arm.failures + pairs.failures, arm.requests + pairs.compared + pairs.failures


class Errors:
    """The test of the error rate.

    Args:
        limit: excess over the active version that is allowed, as a share of the requests.
        threshold: log e at which the candidate has failed.
    """

    def __init__(self, limit: float, threshold: float) -> None:
        self._limit = limit
        self._threshold = threshold
        self._margins = with_limit(MARGINS, limit)
        self._capital = Capital(_PRIOR)
        self._above = Family(len(self._margins), _PRIOR)
        self._below = Family(len(self._margins), SHARES_PRIOR)
        self._seen = [0.0, 0.0, 0.0, 0.0]
        """Failures and trials of the candidate, of the active version."""
        self._difference = [0.0, 0.0]
        """Sum over windows of weighted differences of rates, and of the weights (Mantel and Haenszel)."""
        self._pending = [0, 0]
        """The candidate's failures and trials since the last request on the active version, in this stratum."""
        self._without = 0.0
        """Seconds since then."""
        self._stratum: tuple[int, int, int] | None = None
        self.alone = False
        """Whether windows without control have counted."""

    def observe(self, window: Window) -> None:
        """Take one window."""
        if window.stratum != self._stratum:
            self._stratum, self._pending, self._without = window.stratum, [0, 0], 0.0
        failures, trials = trials_of(window)
        pending, active = self._pending, window.active
        pending[0] += failures
        pending[1] += trials
        self._without = 0.0 if active.requests else self._without + window.seconds
        if pending[1] and active.requests:
            self._compare(Count(pending[0], pending[1]), Count(active.failures, active.requests))
            self._pending = [0, 0]
        elif pending[1] and self._seen[3] and self._without >= ALONE:
            self._alarm(pending[0], pending[1])
            self._pending = [0, 0]
        for place, number in enumerate((failures, trials, active.failures, active.requests)):
            self._seen[place] += number

    def _compare(self, first: Count, second: Count) -> None:
        base, margins = self._base(), self._margins[:, None]
        ours, theirs = float(first.trials), float(second.trials)
        beyond = np.vstack((base + self._limit + _BEYOND, base + margins + np.maximum(margins, _BEYOND)))
        over = Guess(np.minimum(beyond, 0.99), base)
        against = log_bet(first, second, np.vstack(([self._limit], margins)), over)
        self._capital.grow(against[0], ours)
        self._above.grow(against[1:])
        under = np.minimum(base + margins * SHARES, 0.98)
        self._below.grow(log_bet(second, first, -margins, Guess(base, under)))
        weight = ours * theirs / (ours + theirs)
        self._difference[0] += weight * (float(first.hits) / ours - float(second.hits) / theirs)
        self._difference[1] += weight

    def _alarm(self, failures: int, trials: int) -> None:
        self.alone = True
        rate = self._seen[2] / self._seen[3]
        mean = min(0.5, rate + 2 * math.sqrt((rate + 1 / self._seen[3]) / self._seen[3]) + self._limit)
        counts = np.array([trials - failures, failures], dtype=np.float64)
        guesses = np.minimum(mean + _BEYOND, 0.99)
        self._capital.grow(log_bet_alone(_VALUES, counts, np.full_like(guesses, mean), guesses), trials)

    def _base(self) -> float:
        """The active version's rate, guessed from the windows before this one."""
        return (self._seen[2] + 0.01) / (self._seen[3] + 50)

    @property
    def log_e(self) -> float:
        """Evidence against the candidate now."""
        return self._capital.log_e

    @property
    def peak(self) -> float:
        """Largest evidence so far."""
        return self._capital.peak

    @property
    def excluded(self) -> float | None:
        """The smallest excess that is excluded."""
        return lowest_rejected(self._margins, self._below.peaks, self._threshold)

    def finding(self) -> Finding:
        """What is known now."""
        low, high = highest_rejected(self._margins, self._above.peaks, self._threshold) or 0.0, self.excluded
        verdict = Verdict.FAILED if self.peak >= self._threshold else Verdict.WAITING
        if verdict is Verdict.WAITING and high is not None and high <= self._limit:
            verdict = Verdict.PASSED
        estimate = self._difference[0] / self._difference[1] if self._difference[1] else None
        need = None if verdict is not Verdict.WAITING else self._need()
        detail = self._detail(estimate, high)
        against = self._capital.leans or self._pending[0] > 0
        return Finding("errors", verdict, self.log_e, estimate, low, high, self._limit, detail, need, against)

    def _need(self) -> int:
        """Clean requests of the candidate until an excess of the limit is excluded."""
        log_e = float(self._below.log_e[int(np.searchsorted(self._margins, self._limit))])
        return max(1, math.ceil((self._threshold - log_e) / max(self._limit * (1 - float(SHARES[0])), 1e-6)))

    def _detail(self, estimate: float | None, high: float | None) -> str:
        if estimate is None and not self.alone:
            return "no requests on both versions yet"
        bad, all_, base_bad, base_all = (int(number) for number in self._seen)
        text = f"{bad} of {all_} requests failed on the candidate, {base_bad} of {base_all} on the active version"
        if self.alone:
            text += "; nothing is left on the active version, so its earlier rate is the measure"
        return text + (f"; an excess of {high * 100:.3g} points or more is excluded" if high else "")

    def memory(self) -> dict[str, Any]:
        """As JSON."""
        families = {"above": self._above.memory(), "below": self._below.memory()}
        own: dict[str, Any] = {"seen": list(self._seen), "difference": list(self._difference), "alone": self.alone}
        own |= {"pending": list(self._pending), "without": self._without, "stratum": self._stratum}
        return {"capital": self._capital.memory(), **families, **own}

    def remember(self, memory: dict[str, Any]) -> None:
        """Go on from a memory."""
        self._capital.remember(memory["capital"])
        self._above.remember(memory["above"])
        self._below.remember(memory["below"])
        self._seen, self._difference = list(memory["seen"]), list(memory["difference"])
        self.alone, self._pending, self._without = memory["alone"], list(memory["pending"]), memory["without"]
        stratum = memory["stratum"]
        self._stratum = None if stratum is None else (stratum[0], stratum[1], stratum[2])
