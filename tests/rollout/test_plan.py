"""Plans: the defaults serve, and everything that is wrong is named with its line and field."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.errors import InvalidPlan
from changeover.rollout.plan import Optimization, Plan, Strategy, parse_plan, plan_of

WHOLE = """
rollout:
  strategy: instant
  auto: false
  undo_window: 90s
runtime:
  instances: 1
  intra_op_threads: 4
  optimization: off
  providers: [CUDAExecutionProvider, CPUExecutionProvider]
  max_batch: 8
  memory_limit: 2GiB
  run_timeout: 500ms
  queue_limit: 50
  max_queue_delay: 200ms
gates:
  warmup: {finite: false}
"""


def refusal(text: str) -> str:
    with pytest.raises(InvalidPlan) as caught:
        parse_plan(text)
    assert caught.value.reason == "invalid_plan"
    return caught.value.message


@pytest.mark.parametrize("text", ["", "# only a comment", "{}", "rollout: {}\nruntime: {}\ngates: {warmup: {}}"])
def test_the_defaults_serve(text: str) -> None:
    """No file, an empty one, empty sections: the same plan."""
    plan = parse_plan(text)
    assert plan == Plan()
    assert (plan.rollout.strategy, plan.rollout.auto, plan.rollout.undo_window) == (Strategy.INSTANT, True, 600)
    assert (plan.runtime.instances, plan.runtime.intra_op_threads, plan.runtime.max_batch) == (1, 1, 32)
    assert (plan.runtime.optimization, plan.runtime.memory_limit) == (Optimization.ALL, None)
    assert plan.runtime.providers == ("CPUExecutionProvider",)
    assert (plan.runtime.run_timeout, plan.gates.warmup.finite) == (30, True)


def test_every_field_is_read() -> None:
    """Durations in seconds, sizes in bytes, words as enums."""
    plan = parse_plan(WHOLE.encode())
    assert (plan.rollout.auto, plan.rollout.undo_window) == (False, 90)
    assert (plan.runtime.instances, plan.runtime.intra_op_threads, plan.runtime.max_batch) == (1, 4, 8)
    assert (plan.runtime.optimization, plan.runtime.memory_limit) == (Optimization.OFF, 2 << 30)
    assert plan.runtime.providers == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert (plan.runtime.run_timeout, plan.gates.warmup.finite) == (0.5, False)
    assert (plan.runtime.queue_limit, plan.runtime.max_queue_delay) == (50, 0.2)


def test_a_plan_may_come_inline() -> None:
    """The same from JSON, and from its own JSON."""
    assert plan_of(json.loads('{"runtime": {"max_batch": 1}}')).runtime.max_batch == 1
    plan = parse_plan(WHOLE)
    assert plan_of(json.loads(plan.to_json())) == plan


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rollot: {}", "model.yaml line 1: rollot: there is no such field."),
        ("rollout:\n  auto: true\n  undo: 3s", "model.yaml line 3: rollout.undo: there is no such field."),
        ("gates:\n  warmup:\n    finit: true", "model.yaml line 3: gates.warmup.finit: there is no such field."),
        (
            "runtime:\n  run_timeout: fast",
            "model.yaml line 2: runtime.run_timeout: 'fast' is no duration such as 500ms, 30s, 10m or 2h.",
        ),
        (
            "runtime:\n  memory_limit: 2G",
            "model.yaml line 2: runtime.memory_limit: '2G' is no size such as 512MB or 2GiB.",
        ),
        ("runtime:\n\n  max_batch: 0", "model.yaml line 3: runtime.max_batch: Expected `int` >= 1."),
        ("runtime: {instances: two}", "model.yaml line 1: runtime.instances: Expected `int`, got `str`."),
        ("runtime:\n  providers:\n  - CPU", "model.yaml line 3: runtime.providers[0]: Invalid enum value 'CPU'."),
        ("runtime: {optimization: fast}", "model.yaml line 1: runtime.optimization: Invalid enum value 'fast'."),
        ("rollout: {auto: on}", "model.yaml line 1: rollout.auto: Expected `bool`, got `str`."),
        ("rollout: 5", "model.yaml line 1: rollout: Expected `object`, got `int`."),
        ("- 1", "model.yaml line 1: Expected `object`, got `array`."),
    ],
)
def test_mistakes_are_named_with_line_and_field(text: str, message: str) -> None:
    """What an operator reads says where to look and what was expected."""
    assert refusal(text) == message


@pytest.mark.parametrize("strategy", ["canary", "manual"])
def test_later_strategies_are_refused_with_a_sentence(strategy: str) -> None:
    """They are words of the design, but not of this version."""
    message = refusal(f"rollout:\n  strategy: {strategy}")
    what = f"strategy '{strategy}' is not part of this version, which has 'instant'"
    assert message == f"model.yaml line 2: rollout.strategy: {what}."


@pytest.mark.parametrize(
    "text",
    [
        "rollout: {strategy: [canary]}",
        "runtime: {providers: []}",
        "runtime: {memory_limit: 0}",
        "runtime: {run_timeout: 0}",
        "rollout: {undo_window: 31d}",
        "1: 2",
    ],
)
def test_values_out_of_bounds_are_refused(text: str) -> None:
    """Wrong types where words are expected, empty lists, limits of nothing."""
    assert "model.yaml" in refusal(text)


def test_bytes_that_are_no_text_are_refused() -> None:
    """Foreign exceptions stop here."""
    with pytest.raises(InvalidPlan):
        parse_plan(b"\xff\xfe")


def test_zero_is_a_legal_undo_window() -> None:
    """With and without a unit."""
    assert parse_plan("rollout: {undo_window: 0}").rollout.undo_window == 0
    assert parse_plan("rollout: {undo_window: 0s}").rollout.undo_window == 0


def test_options_have_a_digest() -> None:
    """Equal options, equal digest; any other option, another."""
    one = parse_plan("runtime: {max_batch: 8}").runtime.digest
    assert one == parse_plan("runtime: {max_batch: 8}\nrollout: {auto: false}").runtime.digest
    assert one != parse_plan("runtime: {max_batch: 9}").runtime.digest
    assert len(one) == 16


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["rollout", "runtime", "gates", "strategy", "undo_window", "memory_limit", "warmup", "x"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_value_gives_a_plan_or_a_refusal(value: object) -> None:
    """Whatever is sent inline, no other exception comes out."""
    try:
        plan = plan_of(value)
    except InvalidPlan:
        return
    assert isinstance(plan, Plan)


@pytest.mark.parametrize("count", [0, 65, 1.5])
def test_instances_have_bounds(count: float) -> None:
    """One to 64 runner threads."""
    assert parse_plan("runtime: {instances: 64}").runtime.instances == 64
    with pytest.raises(InvalidPlan, match=r"runtime\.instances"):
        parse_plan(f"runtime: {{instances: {count}}}")
