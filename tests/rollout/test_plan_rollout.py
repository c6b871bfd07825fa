"""The section `rollout`: what follows from its fields."""

from __future__ import annotations

import pytest

from changeover.rollout.plan_rollout import PlanStep, RolloutPlan, Strategy


def test_the_ladder_is_what_comes_before_the_promotion() -> None:
    """Each step with its hold and least requests, its own or the rollout's."""
    ladder = RolloutPlan(strategy=Strategy.CANARY).ladder
    assert [step.name for step in ladder] == ["shadow", "1%", "5%", "25%", "50%"]
    assert [step.buckets for step in ladder] == [0, 100, 500, 2500, 5000]
    assert {(step.hold, step.min_requests) for step in ladder} == {(30.0, 200)}
    assert ladder[0].shadow
    assert not ladder[1].shadow


@pytest.mark.parametrize("strategy", [Strategy.INSTANT, Strategy.MANUAL])
def test_only_a_canary_climbs(strategy: Strategy) -> None:
    """The other strategies have no steps, whatever is written."""
    assert RolloutPlan(strategy=strategy, steps=(PlanStep(0.5),)).ladder == ()


@pytest.mark.parametrize(
    ("plan", "buckets"),
    [
        (RolloutPlan(strategy=Strategy.CANARY), 100),
        (RolloutPlan(strategy=Strategy.INSTANT), 0),
        (RolloutPlan(strategy=Strategy.MANUAL), 0),
        (RolloutPlan(strategy=Strategy.INSTANT, holdback=0.02), 200),
        (RolloutPlan(strategy=Strategy.CANARY, holdback=0.0), 0),
    ],
)
def test_the_holdback_is_a_canary_s_control(plan: RolloutPlan, buckets: int) -> None:
    """`instant` means all, unless something else is asked for."""
    assert plan.held_back == buckets
