"""Whose fault a worker's death is: requests that were in hand at several run alone, and in the end not at all (pure).

The first death is most likely none of their doing, so those in hand run as before. After a second each runs alone:
whoever kills workers shall not take others along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from changeover.gateway.ticket import Batch, Ticket

MOST_ATTEMPTS: Final = 3
"""How many workers may die with a request in hand. The last time it runs with nothing beside it."""


class Suspicion:
    """The deaths of one loading's workers, and who was in hand.

    Attributes:
        out: one that runs for the last time is in the worker's hand, and nothing may be beside it.
    """

    __slots__ = ("_in_hand", "out")

    def __init__(self) -> None:
        self.out = False
        self._in_hand: list[Ticket] = []

    def holds(self, first: Ticket, others: bool) -> bool:
        """Whether a suspect is out, or is next while others are: whose fault its worker's death is must be plain."""
        return self.out or (others and first.attempts >= MOST_ATTEMPTS - 1)

    def died(self, in_hand: Iterable[Batch], waiting: Iterable[Batch]) -> None:
        """A worker is gone. What had only waited in its slots had no part in that, and is not counted."""
        self.out = False
        self._in_hand += [ticket for batch in in_hand for ticket in batch.tickets]
        for batch in waiting:
            for ticket in batch.tickets:
                ticket.attempts -= 1

    def judge(self, *, blameless: bool) -> list[Ticket]:
        """What comes of those in hand; `blameless`: their worker was killed from outside.

        Returns:
            Those that are to run no more.
        """
        judged, self._in_hand = self._in_hand, []
        refused = []
        for ticket in judged:
            if blameless:
                ticket.attempts -= 1
            elif ticket.attempts == MOST_ATTEMPTS - 1:
                ticket.alone = True
            elif ticket.attempts >= MOST_ATTEMPTS and not ticket.answered:
                refused.append(ticket)
        return refused
