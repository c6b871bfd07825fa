"""The section `interface` of a plan: what is a step and what is none, with the place of the mistake."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from changeover.errors import InvalidPlan
from changeover.interface.steps import Step
from changeover.rollout.plan import parse_plan, plan_of
from changeover.rollout.plan_schema import plan_schema
from tests.interface.adapting import steps


def test_a_step_knows_its_operation() -> None:
    """Kind and arguments of a step, whichever it is."""
    first, second = steps({"rename": {"a": "b", "c": "d"}}, {"drop": ["x"], "allow_lossy": True})
    assert (first.kind, first.arguments) == ("rename", {"a": "b", "c": "d"})
    assert (second.kind, second.arguments) == ("drop", {"x": None})


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("cast: {x: FP33}", "Invalid enum value 'FP33'"),
        ("turn: {x: 1}", "there is no such field"),
        ("transpose: {x: [0, 2]}", "does not have every axis once"),
        ("reshape: {x: [-1, -1]}", "more than one -1"),
        ("squeeze: {x: [1, 1]}", "an axis comes twice"),
        ("scale: {x: {std: 0}}", "std is 0"),
        ("scale: {x: {mean: [1, 2], std: [1]}}", "lists of different lengths"),
        ("labels: {x: {classes: [0, [0, 1]]}}", "class 0 comes twice"),
        ("labels: {x: {classes: [0, []]}}", "stands for none"),
        ("slice: {x: {axis: 1, start: 3, end: 3}}", "start 3 is not before end 3"),
        ("slice: {x: {axis: 1, end: 3, of: 2}}", "the part ends at 3, and there are 2"),
        ("pad: {x: {axis: 1}}", "nothing is added"),
        ("rename: {}", "rename names no tensor"),
        ("allow_lossy: true", "one operation a step, and there are 0: none"),
    ],
)
def test_a_mistake_has_its_line(line: str, told: str) -> None:
    """The line of the step that is wrong, and what is wrong with it."""
    text = f"interface:\n  - rename: {{a: b}}\n  - {line}\n"
    with pytest.raises(InvalidPlan) as caught:
        parse_plan(text)
    assert caught.value.message.startswith("model.yaml line 3: interface[1]")
    assert told in caught.value.message


def test_two_operations_are_no_step() -> None:
    """The order of two operations in one step would be anybody's guess."""
    with pytest.raises(msgspec.ValidationError, match="there are 2: rename, cast"):
        steps({"cast": {"x": "FP32"}, "rename": {"x": "y"}})


def test_a_plan_comes_back_from_its_json() -> None:
    """What is on record reads as what was written, without the fields that nobody set."""
    given: list[dict[str, Any]] = [
        {"rename": {"a": "b"}},
        {"scale": {"x": {"mean": [0.5, 0.25], "std": 2.0}}},
        {"labels": {"s": {"classes": [1, [0, 2]]}}, "allow_lossy": True},
        {"default": {"t": [1, 2]}},
    ]
    plan = plan_of({"interface": given})
    assert msgspec.json.decode(plan.to_json())["interface"] == given
    assert plan_of(msgspec.json.decode(plan.to_json())) == plan
    assert plan.interface == msgspec.convert(given, tuple[Step, ...])


def test_the_schema_has_the_steps() -> None:
    """Editors know every operation."""
    parts = plan_schema()["$defs"]
    assert set(Step.__struct_fields__) == set(parts["Step"]["properties"])
    assert parts["Step"]["additionalProperties"] is False
