"""Plans: the defaults serve, and everything that is wrong is named with its line and field."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.errors import InvalidPlan
from changeover.rollout.plan import Optimization, Plan, parse_plan, plan_of
from changeover.rollout.plan_gates import AccuracyGate
from changeover.rollout.plan_rollout import LimitsPlan, OnInconclusive, Strategy

WHOLE = """
rollout:
  strategy: canary
  auto: false
  steps: [shadow, 0.5%, {weight: 5%, hold: 1m, min_requests: 1000}, 100%]
  hold: 20s
  min_requests: 150
  max_hold: 1h
  on_inconclusive: rollback
  undo_window: 90s
  holdback: 2%
  prove: true
  supersede: true
  limits: {latency_increase: 20%, error_rate: 0.5%, memory: 70%, disagreement: 3%}
  shield: false
private: true
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
  accuracy: {metric: top1, min: 97%, tolerance: 1e-3}
  performance: {max_ratio: 2, min_difference: 0.5ms}
  resources: {max_memory: 60%}
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
    assert (plan.rollout.strategy, plan.rollout.auto, plan.rollout.undo_window) == (Strategy.CANARY, True, 600)
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
    assert plan.private


def test_every_field_of_the_rollout_is_read() -> None:
    """Shares as fractions, steps as values, each with its own hold where it has one."""
    rollout = parse_plan(WHOLE).rollout
    assert (rollout.strategy, rollout.on_inconclusive) == (Strategy.CANARY, OnInconclusive.ROLLBACK)
    assert (rollout.hold, rollout.min_requests, rollout.max_hold, rollout.held_back) == (20, 150, 3600, 200)
    assert (rollout.prove, rollout.supersede, rollout.shield) == (True, True, False)
    assert rollout.limits == LimitsPlan(latency_increase=0.2, error_rate=0.005, memory=0.7, disagreement=0.03)
    assert [(s.name, s.buckets, s.hold, s.min_requests) for s in rollout.ladder] == [
        ("shadow", 0, 20, 150),
        ("0.5%", 50, 20, 150),
        ("5%", 500, 60, 1000),
    ]


def test_every_field_of_the_gates_is_read() -> None:
    """Thresholds of each gate."""
    gates = parse_plan(WHOLE).gates
    assert gates.accuracy == AccuracyGate(metric="top1", min=0.97, tolerance=1e-3)
    assert (gates.performance.max_ratio, gates.performance.min_difference) == (2, 0.0005)
    assert gates.resources.max_memory == 0.6


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
        ("rollout: {strategy: blue}", "model.yaml line 1: rollout.strategy: Invalid enum value 'blue'."),
        (
            "rollout:\n  steps:\n  - shadow\n  - 5 percent",
            "model.yaml line 4: rollout.steps[1]: '5 percent' is no share such as 5% or 0.1%.",
        ),
        (
            "rollout:\n  steps: [1%, shadow]",
            "model.yaml line 2: rollout.steps[1]: 'shadow' comes before all other steps.",
        ),
        (
            "rollout:\n  steps:\n  - 100%\n  - 5%",
            "model.yaml line 3: rollout.steps[0]: 100% is the promotion, so no step follows it.",
        ),
        (
            "rollout:\n  steps:\n  - 5",
            "model.yaml line 3: rollout.steps[0]: a weight is more than 0% and at most 100%; 5 stands for 500%.",
        ),
        (
            "rollout: {steps: [0.015%]}",
            "model.yaml line 1: rollout.steps[0]: a weight is a multiple of 0.01%, and 0.015% is none.",
        ),
        (
            "rollout:\n  steps:\n  - weight: 5%\n    hold: soon",
            "model.yaml line 4: rollout.steps[0].hold: 'soon' is no duration such as 500ms, 30s, 10m or 2h.",
        ),
        (
            "rollout:\n  steps:\n  - {weight: 5%, holds: 3s}",
            "model.yaml line 3: rollout.steps[0].holds: there is no such field.",
        ),
        ("rollout: {steps: []}", "model.yaml line 1: rollout.steps: Expected `array` of length >= 1."),
        (
            "rollout:\n  limits:\n    error_rat: 1%",
            "model.yaml line 3: rollout.limits.error_rat: there is no such field.",
        ),
        (
            "rollout:\n  limits:\n    memory: 120%",
            "model.yaml line 3: rollout.limits.memory: Expected `float` <= 1.0.",
        ),
        ("gates:\n  accuracy: {metric: f1}", "model.yaml line 2: gates.accuracy.metric: Invalid enum value 'f1'."),
        ("rollout: 5", "model.yaml line 1: rollout: Expected `object`, got `int`."),
        ("- 1", "model.yaml line 1: Expected `object`, got `array`."),
    ],
)
def test_mistakes_are_named_with_line_and_field(text: str, message: str) -> None:
    """What an operator reads says where to look and what was expected."""
    assert refusal(text) == message


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
                    ["rollout", "runtime", "gates", "strategy", "undo_window", "steps", "weight", "limits", "x"]
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
