"""Utilisation: would the candidate's worker be too busy at the next weight? Pure.

Known is how busy the busier worker is at today's split. Work grows with traffic at most in proportion (fuller batches
cost less a row), so today's figure, moved to the next share and multiplied by how much more a batch of the candidate
costs, is an upper guess. Growth is refused above 0.9, except when the candidate costs no more than the active version:
then its load would be the one that the model has today.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from changeover.rollout.judge.findings import Finding, Verdict
from changeover.telemetry.evidence import Window

MOST: Final = 0.9
_ALIKE: Final = 1.05
"""A candidate that costs at most this much of the active version's work is taken as equal."""
_WINDOWS: Final = 10


class Load:
    """Keeps how busy the busier worker was in the last windows of a stratum."""

    def __init__(self) -> None:
        self._stratum: tuple[int, int, int] | None = None
        self._weight = 0
        self._busy: deque[float] = deque(maxlen=_WINDOWS)

    def observe(self, window: Window) -> None:
        """Take one window."""
        if window.stratum != self._stratum:
            self._stratum = window.stratum
            self._busy.clear()
        self._weight = window.weight
        self._busy.append(window.busy)

    def predicted(self, weight: int, ratio: float) -> float | None:
        """The candidate's utilisation at another weight; None as long as nothing is known.

        Args:
            weight: buckets of the candidate then.
            ratio: work of a batch against the active version's.
        """
        if not self._busy:
            return None
        busy, share = sum(self._busy) / len(self._busy), weight / 10_000
        mine = self._weight / 10_000
        if mine > 0.5:
            return busy * share / mine
        return busy * ratio * share / (1 - mine)

    def growth(self, weight: int, ratio: float) -> Finding:
        """Whether the candidate may have this weight: `failed` refuses growth, it is no verdict on the candidate."""
        predicted = self.predicted(weight, ratio)
        if predicted is None:
            return Finding("utilisation", Verdict.WAITING, 0.0, None, 0.0, None, MOST, "no load was measured yet")
        refused = predicted > MOST and ratio > _ALIKE
        text = f"at {weight / 100:g} % the candidate's worker would be busy {predicted * 100:.0f} % of the time"
        detail = text + (f", more than {MOST * 100:.0f} %" if refused else "")
        verdict = Verdict.FAILED if refused else Verdict.CLEAR
        return Finding("utilisation", verdict, 0.0, predicted, 0.0, None, MOST, detail)

    def memory(self) -> dict[str, Any]:
        """As JSON."""
        return {"stratum": self._stratum, "weight": self._weight, "busy": list(self._busy)}

    def remember(self, memory: dict[str, Any]) -> None:
        """Go on from a memory."""
        stratum = memory["stratum"]
        self._stratum = None if stratum is None else (stratum[0], stratum[1], stratum[2])
        self._weight, self._busy = memory["weight"], deque(memory["busy"], maxlen=_WINDOWS)
