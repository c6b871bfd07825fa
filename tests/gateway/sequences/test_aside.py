"""What a step does beside its own errands."""

from __future__ import annotations

from typing import Any

from changeover.gateway.batcher import Batcher
from changeover.gateway.router import Target
from changeover.gateway.sequences.aside import Holds, forget_elsewhere, shielded
from changeover.gateway.sequences.request import Request
from changeover.gateway.sequences.where import where
from changeover.sequences.saved import Token
from changeover.telemetry.tally import Tally
from tests.gateway.sequences.stateful import stateful
from tests.gateway.sequences.test_where import NEW, OLD, line, model


def test_a_hold_is_one_lease_until_it_is_let_go() -> None:
    """However often the same loading is named; nobody is held for None."""
    target = Target(stateful(1, "1"), 1, None)  # type: ignore[arg-type]
    holds = Holds()
    for held in (target, target, None):
        holds.hold(held)
    assert target.held == 1
    holds.release()
    holds.release()
    assert target.held == 0


def test_all_but_the_goal_are_told_to_forget() -> None:
    """None that is dead for good: nobody would hear it."""
    routed, mine = model(), line(range(10_000))
    targets = routed.refresh().targets
    found = where(routed, (), mine, None, begins=True)
    house: Any = type("House", (), {"target": staticmethod(targets.get)})
    request = Request(routed, mine, Token(1, 1))
    forget_elsewhere(house, request, found, NEW)
    assert (targets[OLD].batcher.waiting, targets[NEW].batcher.waiting) == (1, 0)
    targets[OLD].batcher = Batcher(stateful(OLD, "3"), None, None, None)  # type: ignore[arg-type]
    targets[OLD].batcher.gone = True
    forget_elsewhere(house, request, found, NEW)
    assert targets[OLD].batcher.waiting == 0


def test_a_shielded_failure_is_the_judges_and_costs_a_replay() -> None:
    """It counts once as failed, once as shielded."""
    routed = model(shield=True)
    target = routed.refresh().targets[NEW]
    tally = Tally(NEW, 5, 1)
    errand: Any = type("E", (), {"model": routed, "target": target, "tally": tally, "key": None})
    while not routed.budget.empty:
        shielded(errand)
    assert (tally.failures, tally.shielded) == (20, 20)
    assert target.counter.shielded == 20
