"""The section `gates`: its defaults, and what is out of bounds."""

from __future__ import annotations

import pytest

from changeover.errors import InvalidPlan
from changeover.rollout.plan import Plan, parse_plan


def test_all_gates_are_on() -> None:
    """With the limits of the design."""
    gates = Plan().gates
    assert gates.accuracy.enabled
    assert gates.performance.enabled
    assert gates.resources.enabled
    assert gates.warmup.finite
    assert (gates.performance.max_ratio, gates.resources.max_memory, gates.accuracy.k) == (1.5, 0.8, 5)


@pytest.mark.parametrize(
    "text",
    [
        "performance: {max_ratio: 0}",
        "resources: {max_memory: 0%}",
        "accuracy: {min: 2}",
        "accuracy: {tolerance: -1}",
        "accuracy: {k: 0}",
    ],
)
def test_impossible_limits_are_refused(text: str) -> None:
    """A gate that nothing or everything passes is a mistake."""
    with pytest.raises(InvalidPlan, match="gates"):
        parse_plan(f"gates: {{{text}}}")
