"""Triton's model configuration as a plan: what counts, what is named, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from changeover.controller.model_config import plan_of_config
from changeover.errors import InvalidRequest
from changeover.rollout.plan import plan_of


def test_what_a_plan_can_say_counts() -> None:
    """In numbers or, as Triton's JSON spells them, in texts; each is a field that plans have."""
    asked = plan_of_config(
        "m",
        {
            "name": "m",
            "platform": "onnxruntime_onnx",
            "backend": "onnxruntime",
            "default_model_filename": "model.onnx",
            "max_batch_size": 16,
            "instance_group": [{"count": 2, "kind": "KIND_CPU"}, {"kind": "KIND_AUTO"}],
            "version_policy": {"specific": {"versions": ["2"]}},
            "dynamic_batching": {
                "preserve_ordering": False,
                "default_queue_policy": {"max_queue_size": 7, "default_timeout_microseconds": "250000"},
            },
            "parameters": {"intra_op_thread_count": {"string_value": "2"}},
        },
    )
    runtime = {"max_batch": 16, "instances": 3, "queue_limit": 7, "max_queue_delay": 0.25, "intra_op_threads": 2}
    assert (asked.version, asked.plan, asked.ignored) == (2, {"runtime": runtime}, ())
    assert plan_of(asked.plan).runtime.instances == 3


def test_what_has_no_counterpart_is_named() -> None:
    """Field by field, with the reason; a field that says nothing is not worth a word."""
    asked = plan_of_config(
        "m",
        {
            "input": [{"name": "x"}],
            "output": [{"name": "y"}],
            "optimization": {"priority": "PRIORITY_MAX"},
            "ensemble_scheduling": {},
            "model_warmup": [],
            "version_policy": {"latest": {"num_versions": 2}},
            "instance_group": [{"count": 1, "kind": "KIND_GPU", "gpus": [0]}],
            "dynamic_batching": {"max_queue_delay_microseconds": "100", "priority_levels": "2"},
            "parameters": {"other": {"string_value": "1"}},
            "of_tomorrow": {"x": 1},
        },
    )
    assert [sentence.partition(":")[0] for sentence in asked.ignored] == [
        "input, output",
        "optimization",
        "instance_group.gpus",
        "dynamic_batching.priority_levels",
        "of_tomorrow",
        "version_policy",
        "instance_group.kind",
        "parameters",
    ]
    assert asked.plan == {"runtime": {"instances": 1}}


@pytest.mark.parametrize(
    "config",
    [
        {"name": "other"},
        {"name": 5},
        {"platform": "tensorrt_plan"},
        {"backend": "python"},
        {"default_model_filename": "net.onnx"},
        {"max_batch_size": -1},
        {"max_batch_size": 70000},
        {"max_batch_size": "many"},
        {"max_batch_size": True},
        {"instance_group": {"count": 1}},
        {"instance_group": [{"count": -1}]},
        {"version_policy": {"newest": {}}},
        {"version_policy": {"specific": {"versions": []}}},
        {"version_policy": [1]},
        {"dynamic_batching": True},
        {"parameters": {"intra_op_thread_count": "2"}},
        {"parameters": {"intra_op_thread_count": {"string_value": "many"}}},
    ],
)
def test_a_config_that_makes_no_sense_is_refused(config: dict[str, Any]) -> None:
    """With the field that is wrong."""
    with pytest.raises(InvalidRequest, match=next(iter(config)) if "name" not in config else "config") as caught:
        plan_of_config("m", config)
    assert caught.value.reason == "invalid_config"
