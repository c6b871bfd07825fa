"""How many replays a model may have, and how long its candidate may take (pure; DESIGN §4, shield)."""

from __future__ import annotations

import math
from typing import Final

from changeover.telemetry.observations import bucket_middle

_SHARE: Final = 0.1
"""Replays a routed request earns."""
_BURST: Final = 20.0
_TIMES: Final = 4.0
_PERCENTILE: Final = 0.99
_LEAST: Final = 0.25
"""Seconds that a candidate has in any case. A process may have to wait for a core: a pause of 60 ms in a worker with
1,500 requests a second would be 90 failures at once, and the end of a healthy version's rollout."""
_KEPT: Final = 0.8
"""Of the share before: a quiet second does not make the next burst a failure."""
_UNSURE: Final = 1.0
_FIRST: Final = 20
_ENOUGH: Final = 200
"""Answers that make a percentile: the first one may be a rough one."""


class Budget:
    """Replays of one model at one gateway: a tenth of its requests, and 20 at once.

    A replay is never refused for it. With less than one left the candidate gets no new request, so what is replayed
    beyond the budget is bounded by what was under way.
    """

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = _BURST

    @property
    def empty(self) -> bool:
        """Whether the candidate has to be spared."""
        return self._left < 1.0

    def earn(self) -> None:
        """A request was routed."""
        if self._left < _BURST:
            self._left += _SHARE

    def spend(self) -> None:
        """A request was replayed."""
        self._left -= 1.0


class Patience:
    """A candidate's time share: four times the active version's p99, and 250 ms at least.

    Attributes:
        seconds: the share; infinite as long as nothing is known. After a few answers it is four times the slowest of
            them, and a second at least.
    """

    __slots__ = ("_known", "_seen", "_source", "seconds")

    def __init__(self) -> None:
        self.seconds = math.inf
        self._known = False
        self._source: list[int] = []
        self._seen: list[int] = []

    def read(self, counts: list[int]) -> None:
        """Look at a histogram that grows; a new share comes of what is new in it, when that is enough."""
        if counts is not self._source:
            self._source, self._seen = counts, [0] * len(counts)
        fresh = [now - before for now, before in zip(counts, self._seen, strict=True)]
        total = sum(fresh)
        if total >= (_ENOUGH if self._known else _FIRST):
            before = _KEPT * self.seconds if self._known else 0.0
            self.seconds = max(_TIMES * _highest(fresh, math.ceil(total * (1 - _PERCENTILE))), _LEAST, before)
            self._known, self._seen = True, counts.copy()
        elif total and not self._known:
            self.seconds = max(_TIMES * _highest(fresh, 1), _UNSURE)


def _highest(counts: list[int], rank: int) -> float:
    """Seconds of the `rank`-th slowest."""
    number = len(counts)
    while rank > 0:
        number -= 1
        rank -= counts[number]
    return bucket_middle(number)
