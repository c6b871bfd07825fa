"""Whose fault a worker's death is; the deaths themselves are in `test_batcher_deaths`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from changeover.gateway.suspicion import MOST_ATTEMPTS, Suspicion


def ticket(attempts: int, *, answered: bool = False) -> Any:
    """One that was put into a slot so often."""
    return SimpleNamespace(attempts=attempts, answered=answered, alone=False)


def batch(*tickets: Any) -> Any:
    """In one slot."""
    return SimpleNamespace(tickets=list(tickets))


def test_each_death_is_held_more_against_who_was_in_hand() -> None:
    """After the first it runs as before, after the second alone, after the third no more; each is judged once."""
    suspicion = Suspicion()
    first, second, third = (ticket(attempts) for attempts in range(1, MOST_ATTEMPTS + 1))
    suspicion.died([batch(first, second), batch(third)], [])
    assert suspicion.judge(blameless=False) == [third]
    assert [one.alone for one in (first, second, third)] == [False, True, False]
    assert [one.attempts for one in (first, second, third)] == [1, 2, 3]
    assert suspicion.judge(blameless=False) == []


def test_who_is_not_to_blame() -> None:
    """Who only waited, who was in hand when the worker was killed from outside; who is answered needs no refusal."""
    suspicion = Suspicion()
    waited, killed, gone = ticket(3), ticket(3), ticket(3, answered=True)
    suspicion.died([], [batch(waited)])
    assert (waited.attempts, suspicion.judge(blameless=False)) == (2, [])
    suspicion.died([batch(killed)], [])
    assert (suspicion.judge(blameless=True), killed.attempts, killed.alone) == ([], 2, False)
    suspicion.died([batch(gone)], [])
    assert suspicion.judge(blameless=False) == []


@pytest.mark.parametrize(("attempts", "others", "held"), [(1, True, False), (2, True, True), (2, False, False)])
def test_a_suspect_waits_for_others(attempts: int, others: bool, held: bool) -> None:
    """It goes when nothing is beside it."""
    assert Suspicion().holds(ticket(attempts), others) is held


def test_nothing_goes_beside_a_suspect() -> None:
    """Until it is back, or its worker is dead."""
    suspicion = Suspicion()
    suspicion.out = True
    assert suspicion.holds(ticket(0), False)
    suspicion.died([], [])
    assert not suspicion.holds(ticket(0), False)
