"""The gateway's byte budget: request bodies and unsent answers of all connections together."""

from __future__ import annotations

from typing import Protocol

from changeover.gateway.door.limits import SMALL_BODY


class Waiter(Protocol):
    """A connection that waits for bytes."""

    def granted(self) -> None:
        """The bytes asked for were taken on the waiter's behalf."""


class Budget:
    """A count of bytes with queues that take turns.

    Small requests are served while large ones wait: everything over `SMALL_BODY` has three quarters of the
    total, so a few claims of large bodies cannot shut small ones out. Who must wait stands in the line of its
    path, first come first served; lines take turns, so a flood of bodies for one model is one line among
    others. Unsent answers are charged without asking: an answer is never dropped for want of budget, it delays
    later bodies.

    Attributes:
        used: bytes taken and not yet given back.
    """

    __slots__ = ("_large", "_line_of", "_lines", "total", "used")

    def __init__(self, total: int) -> None:
        self.total = total
        self._large = total * 3 // 4
        self.used = 0
        self._lines: dict[str, dict[Waiter, int]] = {}  # by path; the first line is next
        self._line_of: dict[Waiter, str] = {}

    def take(self, amount: int) -> bool:
        """Take `amount` bytes when they are there now; large requests queue behind earlier ones."""
        small = amount <= SMALL_BODY
        fits = self.used + amount <= self.total if small else not self._lines and self._fits(amount)
        if fits:
            self.used += amount
        return fits

    def charge(self, amount: int) -> None:
        """Take `amount` bytes that are in use already, whatever the budget says."""
        self.used += amount

    def wait(self, waiter: Waiter, amount: int, line: str) -> None:
        """Stand in a line for `amount` bytes; `waiter.granted()` is called once they were taken."""
        self._line_of[waiter] = line
        self._lines.setdefault(line, {})[waiter] = amount

    def forget(self, waiter: Waiter) -> None:
        """Leave the line; nothing happens when in none."""
        if waiter in self._line_of:
            self._leave(waiter)
            self._grant()

    def _leave(self, waiter: Waiter) -> int:
        """Take a waiter out; returns what it waits for. A line without waiters is gone."""
        line = self._line_of.pop(waiter)
        waiters = self._lines[line]
        amount = waiters.pop(waiter)
        if not waiters:
            del self._lines[line]
        return amount

    def give(self, amount: int) -> None:
        """Give back bytes taken or charged earlier, and serve the lines in turn."""
        self.used -= amount
        if self._lines:
            self._grant()

    def _fits(self, amount: int) -> bool:
        # One body that is larger than the share of large ones still gets through, alone.
        return self.used + amount <= self._large or (self.used == 0 and amount <= self.total)

    def _grant(self) -> None:
        while self._lines:
            line, waiters = next(iter(self._lines.items()))
            waiter, amount = next(iter(waiters.items()))
            if not self._fits(amount):
                return
            self._leave(waiter)
            if waiters:
                self._lines[line] = self._lines.pop(line)  # now the last
            self.used += amount
            waiter.granted()
