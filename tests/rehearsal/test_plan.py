"""The plan of a rehearsal is the model's own, but for what it says itself."""

from __future__ import annotations

import pytest

from changeover.errors import InvalidPlan
from changeover.rehearsal.plan import MEMORY_LIMIT, memory_limit, script
from changeover.rollout.plan import Plan


def test_only_a_missing_limit_is_added() -> None:
    """A leak has to end; everything else is as given, and the change is told."""
    made = script("rollout: {undo_window: 7s}\nruntime: {max_batch: 4}\n", "model.yaml", None)
    assert (made.plan.rollout.undo_window, made.plan.runtime.max_batch) == (7.0, 4)
    assert made.plan.runtime.memory_limit == memory_limit(made.plan) == MEMORY_LIMIT
    assert len(made.changes) == 1


def test_a_plan_with_a_limit_stays_as_it_is() -> None:
    """Nothing is changed, nothing is told."""
    made = script("runtime: {memory_limit: 3MiB}\n", "model.yaml", None)
    assert (memory_limit(made.plan), made.changes) == (3 << 20, ())


def test_no_plan_is_a_plan() -> None:
    """That of the defaults."""
    made = script("", "model.yaml", None)
    assert made.plan.rollout == Plan().rollout
    assert "default plan" in made.changes[0]


def test_a_wrong_plan_is_refused_by_its_own_lines() -> None:
    """Before anything starts."""
    with pytest.raises(InvalidPlan, match=r"canary.yaml line 2"):
        script("rollout:\n  undo_windo: 7s\n", "canary.yaml", None)


def test_a_plan_without_limit_cannot_leak() -> None:
    """The leak's size follows from it."""
    with pytest.raises(InvalidPlan):
        memory_limit(Plan())
