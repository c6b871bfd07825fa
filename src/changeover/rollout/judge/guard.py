"""The guard: end-to-end latency, watched coarsely. Pure.

Work a batch says whether the *model* is slower. What it cannot see (a candidate that waits, holds a lock, sends huge
answers) shows only end to end, where queues speak louder than models; so this is no test with a chance of error but a
guard with a wide berth: p95, and p99 where requests are many, above 1 + limit times the larger of the active version
now and the model's own baseline, and by more than 3 ms, in three windows one after the other. A window here is at least
10 seconds and 200 requests of the candidate, long against the time in which a queue forgets.

The baseline of a request rate is the worst that the active version has shown at this rate or the next higher ones
(steps of a half): a candidate with all the traffic is not measured by an active version that is left with 1 %. A rate
that was never seen has no baseline, and where the candidate has more traffic than the active version the guard then
says nothing. Nor does it there while a worker is saturated: what queues then is the traffic of this minute, and no
other minute is a measure for it.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Final

from changeover.rollout.judge.findings import Finding, Verdict
from changeover.telemetry.evidence import Window
from changeover.telemetry.observations import percentile

WINDOWS: Final = 3
SECONDS: Final = 10.0
REQUESTS: Final = 200
SATURATED: Final = 0.9
"""Utilisation in any second from which on a queue says nothing across time."""
MARGIN: Final = 0.003
"""Seconds below which an excess is none."""
_QUANTILES: Final = {"p95": (0.95, REQUESTS), "p99": (0.99, 5 * REQUESTS)}
"""Share, and requests of the candidate it takes."""
_STEP: Final = math.log(1.5)


class Guard:
    """Watches end-to-end latency.

    Args:
        limit: increase that is allowed, as a share.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._stratum: tuple[int, int, int] | None = None
        self._begin()
        self._row = dict.fromkeys(_QUANTILES, 0)
        self._worst: dict[str, dict[int, float]] = {name: {} for name in _QUANTILES}
        self._baseline: Counter[int] = Counter()
        self._baseline_seconds = 0.0
        self._last: dict[str, tuple[float, float]] = {}
        self._failed: str | None = None

    def _begin(self) -> None:
        self._active: Counter[int] = Counter()
        self._candidate: Counter[int] = Counter()
        self._requests = [0, 0]
        self._seconds = 0.0
        self._weight = 0
        self._busy = 0.0

    def observe(self, window: Window) -> None:
        """Take one window of the rollout; several make one of the guard's."""
        if window.stratum != self._stratum:
            self._stratum = window.stratum
            self._row = dict.fromkeys(_QUANTILES, 0)
            self._begin()
        self._learn(window)
        self._active.update(window.active.latency)
        self._candidate.update(window.candidate.latency)
        self._requests[0] += window.candidate.requests
        self._requests[1] += window.active.requests
        self._seconds += window.seconds
        self._weight = window.weight
        self._busy = max(self._busy, window.busy)
        if self._seconds >= SECONDS and self._requests[0] >= REQUESTS:
            self._judge()
            self._begin()

    def _learn(self, window: Window) -> None:
        """The active version's own baseline: its worst ten seconds at each rate."""
        self._baseline.update(window.active.latency)
        self._baseline_seconds += window.seconds
        if self._baseline_seconds < SECONDS:
            return
        requests = sum(self._baseline.values())
        for name, (share, least) in _QUANTILES.items():
            found = percentile(self._baseline, share) if requests >= least else None
            if found is not None:
                worst, rate = self._worst[name], _rate(requests / self._baseline_seconds)
                worst[rate] = max(worst.get(rate, 0.0), found)
        self._baseline, self._baseline_seconds = Counter(), 0.0

    def _judge(self) -> None:
        for name, (share, least) in _QUANTILES.items():
            theirs = percentile(self._active, share) if self._requests[1] >= least else None
            ours = percentile(self._candidate, share) if self._requests[0] >= least else None
            measure = self._measure(name, theirs)
            if ours is None or measure is None:
                self._row[name] = 0  # windows with one between that says nothing do not follow one another
                continue
            self._last[name] = (ours, measure)
            excess = ours > measure * (1 + self._limit) and ours > measure + MARGIN
            self._row[name] = self._row[name] + 1 if excess else 0
            if self._row[name] >= WINDOWS and self._failed is None:
                self._failed = f"{name} end to end {_against(ours, measure)} in {WINDOWS} windows one after the other"

    def _measure(self, name: str, theirs: float | None) -> float | None:
        """The larger of the active version now and of its worst at the candidate's rate, None without a fair one."""
        rate = _rate(self._requests[0] / self._seconds)
        own = [worst for other, worst in self._worst[name].items() if rate <= other <= rate + 2]
        if self._weight > 5_000 and (not own or self._busy >= SATURATED):
            return None
        return max([*own, *([theirs] if theirs is not None else [])], default=None)

    @property
    def failed(self) -> bool:
        """Whether three windows were above."""
        return self._failed is not None

    def finding(self) -> Finding:
        """What is known now."""
        verdict = Verdict.FAILED if self._failed else Verdict.WAITING
        if not self._last:
            return Finding("guard", verdict, 0.0, None, 0.0, None, self._limit, "too few requests for the guard yet")
        name, (ours, measure) = max(self._last.items(), key=lambda item: item[1][0] / item[1][1])
        detail = self._failed or f"{name} end to end {_against(ours, measure)}"
        against = any(self._row.values())
        return Finding("guard", verdict, 0.0, ours / measure - 1, 0.0, None, self._limit, detail, against=against)

    def memory(self) -> dict[str, Any]:
        """As JSON; the window under way is given up."""
        worst = {name: {str(rate): value for rate, value in kept.items()} for name, kept in self._worst.items()}
        last = {name: list(pair) for name, pair in self._last.items()}
        return {"row": dict(self._row), "worst": worst, "last": last, "failed": self._failed, "stratum": self._stratum}

    def remember(self, memory: dict[str, Any]) -> None:
        """Go on from a memory."""
        self._row = dict(memory["row"])
        self._worst = {
            name: {int(rate): value for rate, value in kept.items()} for name, kept in memory["worst"].items()
        }
        self._last = {name: (pair[0], pair[1]) for name, pair in memory["last"].items()}
        self._failed, stratum = memory["failed"], memory["stratum"]
        self._stratum = None if stratum is None else (stratum[0], stratum[1], stratum[2])
        self._begin()
        self._baseline, self._baseline_seconds = Counter(), 0.0


def _rate(per_second: float) -> int:
    """The class of a request rate: steps of a half."""
    return math.floor(math.log(max(per_second, 1e-3)) / _STEP)


def _against(ours: float, measure: float) -> str:
    return f"is {ours * 1e3:.3g} ms, {ours / measure:.2f} times the larger of active version and baseline"
