"""Remarks on plans: each that should come comes, at its place, and the defaults get none."""

from __future__ import annotations

import pytest

from changeover.rollout.plan import Plan, parse_plan
from changeover.rollout.plan_lint import lint

CANARY = "rollout: {strategy: canary, "


def remarks(text: str, rate: float | None = None) -> list[tuple[str, str]]:
    return [(remark.path, remark.sentence) for remark in lint(parse_plan(text), rate)]


@pytest.mark.parametrize("text", ["", "rollout: {strategy: canary}", "rollout: {strategy: manual}"])
def test_the_defaults_are_what_is_meant(text: str) -> None:
    """No plan that is only a strategy is remarked on."""
    assert remarks(text) == []
    assert lint(Plan()) == []


@pytest.mark.parametrize(
    ("fields", "path", "words"),
    [
        ("steps: [5%, 1%, 100%]", "$.rollout.steps[1]", "falls from 5% to 1%"),
        ("steps: [5%, 5%, 100%]", "$.rollout.steps[1]", "comes twice"),
        ("steps: [shadow, 10%]", "$.rollout.steps[1]", "after 10% comes the promotion"),
        ("steps: [100%]", "$.rollout.steps", "this is strategy instant"),
        ("hold: 1s", "$.rollout.hold", "held for 1 s, and is not clear before 3 s of requests"),
        ("steps: [{weight: 5%, hold: 2s}, 100%]", "$.rollout.steps[0]", "held for 2 s"),
        ("max_hold: 10s", "$.rollout.hold", "inconclusive after 10 s"),
        ("min_requests: 1000000000", "$.rollout.min_requests", "requests a second until max_hold"),
        ("prove: true", "$.rollout.min_requests", "the proof takes 5000 requests"),
        ("undo_window: 0", "$.rollout.undo_window", "cannot be undone"),
        ("holdback: 0", "$.rollout.holdback", "only raise alarms"),
        ("undo_window: 0, holdback: 1%", "$.rollout.holdback", "no undo window"),
    ],
)
def test_each_mistake_has_its_remark(fields: str, path: str, words: str) -> None:
    """A path that leads to the line, and a sentence that says what will happen."""
    found = remarks(f"{CANARY}{fields}}}")
    assert any(where == path and words in sentence for where, sentence in found), found


def test_steps_that_grow_need_not_end_with_the_promotion_unremarked() -> None:
    """One remark, of the last step, and no other."""
    assert [path for path, _ in remarks(f"{CANARY}steps: [1%, 2%]}}")] == ["$.rollout.steps[1]"]


def test_too_little_traffic_is_remarked_when_it_is_known() -> None:
    """200 requests at 1 % in half an hour are 11 a second."""
    plan = "rollout: {strategy: canary}"
    assert remarks(plan, rate=12) == []
    ((path, sentence),) = remarks(plan, rate=11)
    assert path == "$.rollout.min_requests"
    assert sentence == "200 requests at 1% take 11.1 requests a second until max_hold"


def test_nothing_is_proved_without_steps() -> None:
    """`prove` with strategy instant has no effect."""
    assert remarks("rollout: {strategy: instant, prove: true}") == [
        ("$.rollout.prove", "nothing is proved with strategy instant")
    ]
