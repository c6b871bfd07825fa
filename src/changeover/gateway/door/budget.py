"""The gateway's byte budget: request bodies and unsent answers of all connections together."""

from __future__ import annotations

from typing import Protocol

from changeover.gateway.door.limits import SMALL_BODY


class Waiter(Protocol):
    """A connection that waits for bytes."""

    def granted(self) -> None:
        """The bytes asked for were taken on the waiter's behalf."""


class Budget:
    """A count of bytes with a first-come queue.

    Small requests are served while large ones wait: everything over `SMALL_BODY` has three quarters of the
    total, so a few claims of large bodies cannot shut small ones out. Unsent answers are charged without
    asking: an answer is never dropped for want of budget, it delays later bodies.

    Attributes:
        used: bytes taken and not yet given back.
    """

    __slots__ = ("_large", "_queue", "total", "used")

    def __init__(self, total: int) -> None:
        self.total = total
        self._large = total * 3 // 4
        self.used = 0
        self._queue: dict[Waiter, int] = {}

    def take(self, amount: int) -> bool:
        """Take `amount` bytes when they are there now; large requests queue behind earlier ones."""
        small = amount <= SMALL_BODY
        fits = self.used + amount <= self.total if small else not self._queue and self._fits(amount)
        if fits:
            self.used += amount
        return fits

    def charge(self, amount: int) -> None:
        """Take `amount` bytes that are in use already, whatever the budget says."""
        self.used += amount

    def wait(self, waiter: Waiter, amount: int) -> None:
        """Queue for `amount` bytes; `waiter.granted()` is called once they were taken."""
        self._queue[waiter] = amount

    def forget(self, waiter: Waiter) -> None:
        """Leave the queue; nothing happens when not in it."""
        if self._queue and self._queue.pop(waiter, None) is not None:
            self._grant()

    def give(self, amount: int) -> None:
        """Give back bytes taken or charged earlier, and serve the queue in order."""
        self.used -= amount
        if self._queue:
            self._grant()

    def _fits(self, amount: int) -> bool:
        # One body that is larger than the share of large ones still gets through, alone.
        return self.used + amount <= self._large or (self.used == 0 and amount <= self.total)

    def _grant(self) -> None:
        while self._queue:
            waiter, amount = next(iter(self._queue.items()))
            if not self._fits(amount):
                return
            del self._queue[waiter]
            self.used += amount
            waiter.granted()
