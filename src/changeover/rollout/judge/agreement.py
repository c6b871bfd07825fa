"""Agreement: how often does the candidate answer a mirrored request otherwise than the active version? Pure.

A pair is one request answered by both versions, so nothing has to be compared between arms: the share of top-1 flips
(or, where an answer has no classes, the mean bounded error, in [0, 1]) is judged against the limit by betting, after
Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by betting", JRSS B 86. The mirror takes a
random sample of the traffic, so the share is that of the traffic: a client that sends half of all requests is half of
it. Assumed: the chance of a flip, given the past, is at most the limit; a burst of one input that flips is cut down by
the limit on what a single window can say (`betting.CLIP`).
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Final

import numpy as np

from changeover.rollout.judge.betting import (
    Array,
    Capital,
    Family,
    highest_rejected,
    log_bet_alone,
    lowest_rejected,
    with_limit,
)
from changeover.rollout.judge.findings import Finding, Verdict
from changeover.telemetry.evidence import ERROR_STEPS, FARTHEST, TOGETHER, Apart, Pairs

_TIMES: Final = np.array([1.6, 3.0, 7.0, 25.0])
"""Guesses: so many times the limit."""
_PRIOR: Final = (0.2, 0.4, 0.25, 0.15)
_SHARES: Final = np.array([0.02, 0.25, 0.55, 0.8])
"""Guesses when a share is to be excluded: the true one is this part of it."""
_SHARES_PRIOR: Final = (0.4, 0.25, 0.2, 0.15)
_MEANS: Final = np.array(
    [0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8]
)


class Agreement:
    """The test of disagreement between two versions.

    Args:
        limit: of the share of flips, or of the mean bounded error.
        threshold: log e at which the candidate has failed.
    """

    def __init__(self, limit: float, threshold: float) -> None:
        self._limit = limit
        self._threshold = threshold
        self._means = with_limit(_MEANS, limit)
        self._capital = Capital(_PRIOR)
        self._above = Family(len(self._means), _PRIOR)
        self._below = Family(len(self._means), _SHARES_PRIOR)
        tested = np.append(limit, self._means)[:, None]
        over = np.minimum(tested * _TIMES, (1 + tested) / 2)
        under = self._means[:, None] * _SHARES
        self._bets = np.vstack((tested, self._means[:, None])), np.vstack((over, under))
        """Means and guesses of them: of the limit, of what is shown to be exceeded, of what is excluded."""
        self._seen = [0.0, 0.0]
        """Pairs, and the sum of their disagreement."""
        self._apart = TOGETHER

    def observe(self, pairs: Pairs) -> None:
        """Take the pairs of one window."""
        values, counts = _outcomes(pairs)
        trials = float(counts.sum())
        if not trials:
            return
        against, above, below = np.split(log_bet_alone(values, counts, *self._bets), (1, 1 + len(self._means)))
        self._capital.grow(against[0], trials)
        self._above.grow(above)
        self._below.grow(below)
        self._apart = self._apart.joined(pairs.apart)
        self._seen[0] += trials
        self._seen[1] += float((values * counts).sum())

    @property
    def pairs(self) -> int:
        """Pairs seen."""
        return int(self._seen[0])

    @property
    def peak(self) -> float:
        """Largest evidence so far."""
        return self._capital.peak

    def finding(self) -> Finding:
        """What is known now."""
        high = lowest_rejected(self._means, self._below.peaks, self._threshold)
        low = highest_rejected(self._means, self._above.peaks, self._threshold) or 0.0
        verdict = Verdict.FAILED if self.peak >= self._threshold else Verdict.WAITING
        if verdict is Verdict.WAITING and high is not None and high <= self._limit:
            verdict = Verdict.PASSED
        pairs, other = self._seen
        estimate = other / pairs if pairs else None
        detail = "no mirrored request was compared yet"
        if estimate is not None:
            detail = f"{estimate * 100:.3g} % disagreement in {self.pairs} mirrored requests"
            detail += f"; {high * 100:.3g} % or more is excluded" if high else ""
            detail += _farthest(self._apart)
        need = self._need(estimate) if verdict is Verdict.WAITING else None
        log_e, against = self._capital.log_e, self._capital.leans
        return Finding("agreement", verdict, log_e, estimate, low, high, self._limit, detail, need, against)

    def _need(self, estimate: float | None) -> int | None:
        """Pairs until disagreement at the limit is excluded, if it goes on as it is; None if it never will."""
        place = int(np.searchsorted(self._means, self._limit))
        rate = max(estimate or 0.0, self._limit * float(_SHARES[0]))
        if rate >= self._limit or self._limit >= 1:  # a limit of everything excludes nothing
            return None
        growth = rate * math.log(rate / self._limit) + (1 - rate) * math.log((1 - rate) / (1 - self._limit))
        if growth < 1e-7:
            return None
        return max(1, math.ceil((self._threshold - float(self._below.log_e[place])) / growth))

    def memory(self) -> dict[str, Any]:
        """As JSON."""
        families = {"above": self._above.memory(), "below": self._below.memory()}
        return {"capital": self._capital.memory(), **families, "seen": list(self._seen), "apart": list(self._apart)}

    def remember(self, memory: dict[str, Any]) -> None:
        """Go on from a memory."""
        self._capital.remember(memory["capital"])
        self._above.remember(memory["above"])
        self._below.remember(memory["below"])
        self._seen = list(memory["seen"])
        self._apart = Apart(*memory.get("apart", TOGETHER))


def _farthest(apart: Apart) -> str:
    """How far the answers are apart at most; for people, it decides nothing."""
    if apart == TOGETHER:
        return ""
    absolute, relative = (
        "infinite" if part >= farthest else f"{part:.3g}" for part, farthest in zip(apart[:2], FARTHEST, strict=False)
    )
    return f"; at most {absolute} apart, relative {relative}, cosine {apart.cosine:.4g} or more"


def _outcomes(pairs: Pairs) -> tuple[Array, Array]:
    """Disagreement of the pairs and how often it came: bounded errors of those without classes, a flip is 1.

    One model may have both kinds: an image without detections has no class, and another shape is always a flip.
    """
    equal = max(0, pairs.compared - pairs.flips - sum(pairs.errors.values()))
    counted = Counter({0: equal, ERROR_STEPS: pairs.flips})
    for step, count in pairs.errors.items():
        counted[min(max(step, 0), ERROR_STEPS)] += count
    steps = sorted(counted)
    return np.array(steps) / ERROR_STEPS, np.array([counted[step] for step in steps], dtype=np.float64)
