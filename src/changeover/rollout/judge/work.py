"""Work: does a batch cost the candidate more than the limit allows? Worker CPU time, at one quantile. Pure.

End-to-end latency compares queues, not models, so what is compared is the CPU time of a run, and only inside one
batch-size class and one window. The hypothesis is that the candidate's quantile is at most (1 + limit) times the
active version's: with a threshold `t` at that quantile of the active version, a batch of the candidate is above
(1 + limit) t no more often than one of the active version is above `t`. A quantile test is a test of such shares, which
is how quantiles get distribution-free confidence sequences (Howard and Ramdas 2022, "Sequential estimation of quantiles
with applications to A/B testing and best-arm identification", Bernoulli 28); canaries at Netflix are judged the same
way (Lindon, Sanden, Shirikian 2022, "Rapid regression detection in software deployments through sequential testing").
Here both shares are compared by the two-sample bet of `betting`, so that a phase in which the machine is slow counts
for both arms and for neither side; bands on raw latencies, as if these were independent, give 22-51 % false verdicts.
The threshold comes from the active version's batches *before* the window; where it stands a little beside the quantile,
it is the neighbouring quantile that is judged, for both arms alike.

Three things make identical versions differ, and are allowed for:

- **A worker that is seldom used runs from cold caches.** Measured on two cores: a LeNet takes 18 us back to back and
  272 us after 50 ms of rest; 16 MiB of weights 0.6 and 1.5 ms; 64 MiB 3.8 and 5.2 ms. So a candidate with much less
  traffic than the active version may take a bit more: 0.5 ms and 60 % of the run, at most 1 ms.
- **Rows inside a class differ**: 5 to 8 rows are class 8, and the arm with more traffic has the fuller batches. A
  candidate with half of the traffic or more is allowed the largest ratio of rows in its class.
- **Buckets** are 2.2 % wide; thresholds are rounded in the candidate's favour.

In keyed traffic a key's batches are alike. A key counts in at most `KEY_CAP` batches, so log factors are divided by it:
by Hölder's inequality the geometric mean of the factors of one key is a fair bet whatever their dependence. And a key
stays on its arm over the steps, so capital is set aside at each stratum instead of multiplied.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from changeover.rollout.judge.betting import (
    Array,
    Capital,
    Count,
    Family,
    Guess,
    highest_rejected,
    log_bet,
    lowest_rejected,
)
from changeover.rollout.judge.findings import Finding, Verdict
from changeover.rollout.judge.histograms import SCALE, Histogram, place_above, tails
from changeover.telemetry.evidence import Window
from changeover.telemetry.observations import edge

RATIOS: Final = np.array([0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.8, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0])
"""Ratios of the quantiles that are excluded, or not, one by one."""
_COLD: Final = ((0.4, 0.0), (0.2, 0.25), (0.0, 1.0))
"""From this share of the traffic on, so much of what cold caches may cost is allowed for."""
_UP: Final = np.array([0.1, 0.3, 0.6, 0.95])
"""Guesses: the share above the threshold is so much of the way from the active version's to all of them."""
_DOWN: Final = np.array([0.1, 0.4, 0.7, 0.97])
"""Guesses when a ratio is to be excluded: so much of the way to none."""
_PRIOR: Final = (0.2, 0.3, 0.3, 0.2)
_OFFSETS_UP: Final = np.ceil(np.log(RATIOS) * SCALE - 1e-9)
_OFFSETS_DOWN: Final = np.floor(np.log(RATIOS) * SCALE + 1e-9)
"""Buckets between a threshold and each ratio of it, rounded up and down."""
_KNOWN: Final = 20
"""Batches of the active version before a threshold is set."""
_FADE: Final = 0.99
"""A window's weight against the next in what thresholds are taken from."""


@dataclass(slots=True)
class _Game:
    """One class of batches in the window, or windows, until both arms have some: what is counted, and against what."""

    share: float
    """Of the active version's batches above the threshold, before."""
    places: Array
    """Buckets from which on the candidate's batches are counted: the first one above the limit; the first ones above
    each ratio of the threshold, rounded up, and rounded down; and 0, for all."""
    start: int
    """First bucket of the active version's above the threshold."""
    active: Array = field(default_factory=lambda: np.zeros(2))
    """Batches above the threshold, and all."""
    candidate: Array = field(default_factory=lambda: np.zeros(2 + 2 * len(RATIOS)))
    """Batches from each of the places on."""


class Work:
    """The test of one quantile of the CPU time of a batch.

    Args:
        quantile: 0.5 or 0.95.
        limit: increase that is allowed, as a share.
        threshold: log e at which the candidate has failed.
    """

    def __init__(self, quantile: float, limit: float, threshold: float) -> None:
        self._quantile = quantile
        self._limit = limit
        self._threshold = threshold
        self._capital = Capital(_PRIOR, pace=20.0)
        self._above = Family(len(RATIOS), _PRIOR)
        self._below = Family(len(RATIOS), _PRIOR)
        self._past: dict[int, Histogram] = {}
        self._games: dict[int, _Game] = {}
        self._all: dict[int, tuple[Histogram, Histogram]] = {}
        self._stratum: tuple[int, int, int] | None = None
        self._weight = 0.0

    def observe(self, window: Window, power: float = 1.0) -> None:
        """Take one window; `power` is what log factors are multiplied by, below 1 for keyed traffic."""
        if window.stratum != self._stratum:
            self._games.clear()  # what another step or worker has begun is not mixed with this one's
            if self._stratum is not None and power < 1:
                self._capital.set_aside()
            self._stratum = window.stratum
        self._weight = window.weight / 10_000
        if window.weight > 0:
            self._bet(window, power)
        for size, histogram in window.active.work.items():
            past = self._past.setdefault(size, Histogram())
            past.fade(_FADE)
            past.add(histogram)

    def _bet(self, window: Window, power: float) -> None:
        games = []
        for size in sorted(window.active.work.keys() | window.candidate.work.keys()):
            game = self._count(size, window)
            if game is not None and game.active[1] and game.candidate[-1]:
                games.append(self._games.pop(size))
        if not games:
            return
        active, ours = np.array([g.active for g in games])[..., None], np.array([g.candidate for g in games])[..., None]
        x = np.array([game.share for game in games])[:, None, None]
        theirs, trials, rows = Count(active[:, :1], active[:, 1:]), ours[:, -1:], 1 + len(RATIOS)
        over = log_bet(Count(ours[:, :rows], trials), theirs, 0.0, Guess(x + (1 - x) * _UP, x)).sum(axis=0) * power
        under = log_bet(theirs, Count(ours[:, rows:-1], trials), 0.0, Guess(x, x * (1 - _DOWN))).sum(axis=0) * power
        self._capital.grow(over[0], float(trials.sum()))
        self._above.grow(over[1:])
        self._below.grow(under)

    def _count(self, size: int, window: Window) -> _Game | None:
        """The game of a class with this window's batches in it; None while no threshold is known."""
        game = self._games.get(size) or self._begin(size)
        if game is None:
            return None
        self._games[size] = game
        candidate, active = window.candidate.work.get(size, {}), window.active.work.get(size, {})
        game.active += tails(active, np.array([game.start, 0]))
        if candidate:
            game.candidate += tails(candidate, game.places)
            seen = self._all.setdefault(size, (Histogram(), Histogram()))
            seen[0].add(candidate)
            seen[1].add(active)
        return game

    def _begin(self, size: int) -> _Game | None:
        past = self._past.get(size)
        if past is None or past.total < _KNOWN:
            return None
        start = past.quantile_place(self._quantile) + 1
        share = (past.above(start) + 0.5) / (past.total + 1)
        limit = place_above(allowed(edge(start), self._limit, size, self._weight))
        return _Game(share, np.concatenate(([limit], start + _OFFSETS_UP, start + _OFFSETS_DOWN, [0])), start)

    def finding(self) -> Finding:
        """What is known now."""
        low = highest_rejected(RATIOS, self._above.peaks, self._threshold)
        high = lowest_rejected(RATIOS, self._below.peaks, self._threshold)
        verdict = Verdict.FAILED if self.peak >= self._threshold else Verdict.WAITING
        if verdict is Verdict.WAITING and high is not None and high <= 1 + self._limit:
            verdict = Verdict.PASSED
        ratio, name = self.ratio(), f"p{self._quantile * 100:.0f}"
        detail = f"no batches of both versions to compare the work's {name} by yet"
        if ratio is not None:
            batches = int(sum(seen[0].total for seen in self._all.values()))
            detail = f"work a batch ({name}) is {ratio:.2f} times the active version's, over {batches} batches"
            detail += f"; {high:.3g} times or more is excluded" if high else ""
        estimate = None if ratio is None else ratio - 1
        bounds = (max(low - 1, 0.0) if low else 0.0, None if high is None else high - 1)
        log_e, against = self._capital.log_e, self._capital.leans
        return Finding(f"work_{name}", verdict, log_e, estimate, *bounds, self._limit, detail, against=against)

    @property
    def peak(self) -> float:
        """Largest evidence so far."""
        return self._capital.peak

    def ratio(self) -> float | None:
        """Estimated ratio of the quantiles: over classes, weighted by the candidate's batches, geometric mean."""
        weights = total = 0.0
        for candidate, active in self._all.values():
            if candidate.total and active.total:
                ours, theirs = (edge(h.quantile_place(self._quantile)) for h in (candidate, active))
                weights += candidate.total
                total += candidate.total * math.log(ours / theirs)
        return math.exp(total / weights) if weights else None

    def beyond_cold(self) -> float:
        """The ratio of the quantiles without what cold caches may account for, at least 1."""
        weights = total = 0.0
        for candidate, active in self._all.values():
            if candidate.total and active.total:
                ours, theirs = (edge(h.quantile_place(self._quantile)) for h in (candidate, active))
                weights += candidate.total
                total += candidate.total * max(ours - cold(theirs, self._weight), theirs) / theirs
        return total / weights if weights else 1.0

    def memory(self) -> dict[str, Any]:
        """As JSON; a game under way is given up: its counts have decided nothing."""
        return {
            "capital": self._capital.memory(),
            "above": self._above.memory(),
            "below": self._below.memory(),
            "past": {str(size): histogram.memory() for size, histogram in self._past.items()},
            "all": {str(size): [h.memory() for h in both] for size, both in self._all.items()},
            "stratum": self._stratum,
            "weight": self._weight,
        }

    def remember(self, memory: dict[str, Any]) -> None:
        """Go on from a memory."""
        self._capital.remember(memory["capital"])
        self._above.remember(memory["above"])
        self._below.remember(memory["below"])
        self._past = {int(size): Histogram.of(kept) for size, kept in memory["past"].items()}
        self._all = {int(size): (Histogram.of(a), Histogram.of(b)) for size, (a, b) in memory["all"].items()}
        stratum = memory["stratum"]
        self._stratum = None if stratum is None else (stratum[0], stratum[1], stratum[2])
        self._weight, self._games = memory["weight"], {}


def allowed(seconds: float, limit: float, size: int, weight: float) -> float:
    """What a batch of the candidate may take where one of the active version takes `seconds`.

    Args:
        seconds: of the active version.
        limit: increase allowed by the plan.
        size: batch-size class.
        weight: the candidate's share of the traffic.
    """
    rows = size / (size // 2 + 1) if weight >= 0.5 and size > 2 else 1.0
    return seconds * (1 + limit) * rows + cold(seconds, weight)


def cold(seconds: float, weight: float) -> float:
    """What cold caches may add to a run of so many seconds, at a share of the traffic."""
    part = next(part for share, part in _COLD if weight >= share)
    return part * min(0.0005 + 0.6 * seconds, 0.001)
