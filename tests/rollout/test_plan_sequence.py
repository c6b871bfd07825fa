"""Section `sequence` of a plan."""

from __future__ import annotations

import pytest

from changeover.errors import InvalidPlan
from changeover.rollout.plan import parse_plan, plan_of
from changeover.rollout.plan_schema import plan_schema
from changeover.sequences.declared import Controls, Initial, StateDeclared, Switch

WHOLE = """
sequence:
  state:
    - {input: h, output: hn}
    - {input: c, output: cn, initial: {data: [0, 1.5]}, max: 64, batch_axis: 1}
  control: {start: START, ready: {input: READY, off: -1, on: 1}, corrid: ID}
  idle: 2m
  max: 10
  on_changeover: replay
  answer_limit: 64KiB
"""


def test_a_whole_section_is_read() -> None:
    """Words become numbers, short forms stay; the plan comes back from its JSON."""
    plan = parse_plan(WHOLE)
    declared = plan.sequence
    assert declared is not None
    second = StateDeclared("c", "cn", Initial(data=(0, 1.5)), 64, 1)
    assert declared.state == (StateDeclared("h", "hn"), second)
    assert declared.control == Controls("START", None, Switch("READY", -1, 1), "ID")
    assert (declared.idle, declared.max, declared.kept, declared.answer_limit) == (120, 10, 16, 64 << 10)
    assert parse_plan(plan.to_json()) == plan
    assert parse_plan("").sequence is None


def test_the_schema_has_the_section() -> None:
    """With words for quantities."""
    idle = plan_schema()["$defs"]["Declared"]["properties"]["idle"]
    assert any(choice.get("type") == "string" for choice in idle["anyOf"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sequence: {}", "line 1: sequence: there is no state and no control input"),
        ("sequence:\n  state: []\n  idel: 3s", "line 3: sequence.idel: there is no such field"),
        ("sequence:\n  state: [{input: h}]", "line 2: sequence.state[0]: Object missing required field `output`"),
        (
            "sequence:\n  state:\n  - {input: h, output: a}\n  - {input: h, output: b}",
            "line 4: sequence.state[1].input: input 'h' has a use already",
        ),
        (
            "sequence:\n  state: [{input: h, output: a}]\n  control:\n    start: h",
            "line 4: sequence.control.start: input 'h' has a use already",
        ),
        (
            "sequence:\n  state:\n  - input: h\n    output: a\n    initial: {}",
            "line 5: sequence.state[0].initial: either file or data",
        ),
        (
            "sequence:\n  state: [{input: h, output: a}]\n  on_changeover: replay\n  replay: 0",
            "line 4: sequence.replay: on_changeover: replay needs the inputs of one step at least",
        ),
        ("sequence: {state: [{input: h, output: a}],\n  max: 0}", "line 2: sequence.max: Expected `int` >= 1"),
        ("sequence: {control: {start: S},\n  idle: soon}", "line 2: sequence.idle: 'soon' is no duration"),
    ],
)
def test_mistakes_are_named_with_line_and_field(text: str, message: str) -> None:
    """What is misspelt, missing, used twice, or cannot be meant."""
    with pytest.raises(InvalidPlan) as caught:
        parse_plan(text)
    assert caught.value.message.startswith(f"model.yaml {message}")


def test_an_inline_plan_is_checked_too() -> None:
    """Without lines, for there are none."""
    with pytest.raises(InvalidPlan, match=r"The plan: sequence: there is no state"):
        plan_of({"sequence": {}})


@pytest.mark.parametrize(
    ("steps", "left"), [("[shadow, 5%, 50%]", ["5%", "50%"]), ("[10%]", ["10%"]), ("[shadow]", ["100%"])]
)
def test_nothing_is_copied_of_sequences(steps: str, left: list[str]) -> None:
    """So a rollout of such a model has no shadow step, which would wait for copies for ever; nor by default."""
    declared = "sequence: {state: [{input: h, output: hn}]}\n"
    assert [s.name for s in parse_plan(f"{declared}rollout: {{steps: {steps}}}").rollout.steps] == left
    assert parse_plan(declared).rollout.steps[0].name == "1%"
    assert parse_plan("").rollout.steps[0].shadow
