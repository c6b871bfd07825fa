"""Section `adaptive`: its forms, its limits, what lint says of it."""

from __future__ import annotations

import json

import pytest

from changeover.errors import InvalidPlan
from changeover.rollout.plan import Plan, parse_plan, plan_of
from changeover.rollout.plan_adaptive import AdaptivePlan, Apply
from changeover.rollout.plan_lint import lint
from changeover.rollout.plan_schema import plan_schema


def test_its_forms() -> None:
    """Nothing and `false` are never, `true` are the defaults, and each field is one's own."""
    assert parse_plan("").adapts is parse_plan("adaptive: false").adapts is None
    assert parse_plan("adaptive: true").adapts == AdaptivePlan()
    plan = parse_plan("adaptive: {every: 2d, hold: 1h, factor: 4, apply: push, objective: throughput, budget: 5m}")
    assert plan.adapts == AdaptivePlan(172_800, 3600, 4, Apply.PUSH, "throughput", 300)
    assert plan_of(json.loads(plan.to_json())) == plan
    assert plan_of(json.loads(Plan().to_json())).adapts is None


@pytest.mark.parametrize(
    "text",
    [
        "adaptive: yes please",
        "adaptive: {every: 0}",
        "adaptive: {hold: 1s}",
        "adaptive: {factor: 1}",
        "adaptive: {apply: now}",
        "adaptive: {objective: all}",
        "adaptive: {sometimes: true}",
    ],
)
def test_mistakes(text: str) -> None:
    """Told with the line and the field."""
    with pytest.raises(InvalidPlan, match=r"line 1: adaptive"):
        parse_plan(text)


def test_the_schema_has_it() -> None:
    """Both forms, and quantities as words."""
    schema = plan_schema()
    assert {"type": "boolean"} in schema["properties"]["adaptive"]["anyOf"]
    every = schema["$defs"]["AdaptivePlan"]["properties"]["every"]
    assert any(choice.get("type") == "string" for choice in every["anyOf"])


def test_lint() -> None:
    """What is pushed and not compared, what has nothing to calibrate with, what cannot be as often as it says."""
    text = "rollout: {strategy: instant}\nprivate: true\nadaptive: {apply: push, every: 60s}"
    paths = [remark.path for remark in lint(parse_plan(text)) if remark.path.startswith("$.adaptive")]
    assert paths == ["$.adaptive.apply", "$.adaptive.apply", "$.adaptive.every"]
    assert [r for r in lint(parse_plan("adaptive: true")) if r.path.startswith("$.adaptive")] == []
