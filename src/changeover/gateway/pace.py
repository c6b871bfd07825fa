"""How fast a loading takes requests out of its queue, and so how long a new one would wait (pure).

Batches that left somebody behind are measured: then the worker is the limit, and the time between two answers
is what the requests in between cost it, whatever the batch size, the number of runner threads and the share that
other gateways take. At low load an answer's time is only a limit from above, because larger batches would go faster:
it corrects a pace that was measured in bad times, and never makes one.
"""

from __future__ import annotations

from typing import Final

_KEPT: Final = 0.8
"""What is left of older evidence with each new batch: about the last five count."""


class Pace:
    """Times in seconds, of one clock.

    Attributes:
        interval: seconds a request when there are more than fit into a batch; 0 until that was ever so.
    """

    __slots__ = ("_answered", "_requests", "_seconds", "interval")

    def __init__(self) -> None:
        self.interval = 0.0
        self._answered = 0.0
        self._seconds = 0.0
        self._requests = 0.0

    def answered(self, sent: float, now: float, requests: int, *, crowded: bool) -> None:
        """A batch that was handed over at `sent` came back; `crowded` when others had to stay behind it."""
        begun, self._answered = max(sent, self._answered), now
        if crowded:
            self._seconds = _KEPT * self._seconds + now - begun
            self._requests = _KEPT * self._requests + requests
            self.interval = self._seconds / self._requests
        elif self.interval and (took := (now - sent) / requests) < self.interval:
            self.interval = took
            self._seconds = took * self._requests

    def wait(self, requests: int) -> float:
        """Seconds in which so many requests are answered; 0 when that was never measured."""
        return requests * self.interval
