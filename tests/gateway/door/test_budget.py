"""The byte budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from changeover.gateway.door.budget import Budget
from changeover.gateway.door.limits import MIB, SMALL_BODY


class Waiter:
    def __init__(self) -> None:
        self.got = 0

    def granted(self) -> None:
        self.got += 1


def test_large_bodies_leave_room_for_small_ones() -> None:
    """Large bodies share three quarters; small ones get the rest."""
    budget = Budget(8 * MIB)
    assert budget.take(6 * MIB)
    assert not budget.take(SMALL_BODY + 1)
    assert budget.take(SMALL_BODY)


def test_queue_is_first_come() -> None:
    """What is given back goes to the first in the queue, and later large requests do not overtake it."""
    budget = Budget(8 * MIB)
    assert budget.take(5 * MIB)
    first, second = Waiter(), Waiter()
    budget.wait(first, 4 * MIB, "/a")
    budget.wait(second, 1 * MIB, "/a")
    assert not budget.take(1 * MIB)
    budget.give(5 * MIB)
    assert (first.got, second.got) == (1, 1)
    assert budget.used == 5 * MIB


def test_lines_take_turns() -> None:
    """Whoever waits for one path stands behind no more than one of each other path's crowd."""
    budget = Budget(8 * MIB)
    assert budget.take(6 * MIB)
    crowd = [Waiter() for _ in range(50)]
    for one in crowd:
        budget.wait(one, 1 * MIB, "/a")
    other = Waiter()
    budget.wait(other, 1 * MIB, "/b")
    budget.give(2 * MIB)
    assert (sum(w.got for w in crowd), other.got) == (1, 1)
    budget.give(6 * MIB)
    assert [w.got for w in crowd[:8]] == [1, 1, 1, 1, 1, 1, 1, 0]


def test_leaving_the_queue_lets_the_next_in() -> None:
    """A waiter that gives up makes room for those behind it, and is never called."""
    budget = Budget(8 * MIB)
    budget.take(4 * MIB)
    first, second = Waiter(), Waiter()
    budget.wait(first, 5 * MIB, "/a")
    budget.wait(second, 1 * MIB, "/a")
    budget.forget(first)
    budget.forget(first)
    assert (first.got, second.got) == (0, 1)


def test_a_body_larger_than_its_share_goes_alone() -> None:
    """A body over three quarters of the budget is served when nothing else is held."""
    budget = Budget(8 * MIB)
    assert budget.take(8 * MIB)
    budget.give(8 * MIB)
    budget.charge(1)
    assert not budget.take(8 * MIB)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 4 * MIB)), max_size=40))
def test_the_account_balances(moves: list[tuple[bool, int]]) -> None:
    """Whatever is taken, granted and given back, the account ends at zero and never goes over the total."""
    budget = Budget(8 * MIB)
    held: list[int] = []
    waiting: list[tuple[Waiter, int]] = []
    for give, amount in moves:
        if give and held:
            budget.give(held.pop())
        elif budget.take(amount):
            held.append(amount)
        else:
            waiter = Waiter()
            waiting.append((waiter, amount))
            budget.wait(waiter, amount, f"/{amount % 3}")
        for waiter, size in [entry for entry in waiting if entry[0].got]:
            waiting.remove((waiter, size))
            held.append(size)
        assert budget.used == sum(held) <= 8 * MIB
    for waiter, _ in waiting:
        budget.forget(waiter)
    for size in held + [size for waiter, size in waiting if waiter.got]:
        budget.give(size)
    assert budget.used == 0
