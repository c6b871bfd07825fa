"""What a `config.pbtxt` becomes: fields of the plan, remarks, and a comparison with the model."""

from __future__ import annotations

from typing import Any

import pytest

from changeover.errors import InvalidPlan, ModelRejected
from changeover.rollout.plan import parse_plan
from changeover.rollout.triton_config import require_fitting, understood, understood_json
from changeover.transport.control import Signature, TensorEntry

SIGNATURE = Signature([TensorEntry("x", "FP32", [-1, 4])], [TensorEntry("y", "FP32", [-1, -1])], True)


def test_what_has_an_equal_here_becomes_the_plan() -> None:
    """And `model.yaml` wins where both speak."""
    text = b"""
    max_batch_size: 16
    instance_group [ { count: 2 }, { count: 1 kind: KIND_CPU } ]
    dynamic_batching { max_queue_delay_microseconds: 100
      default_queue_policy { max_queue_size: 50 default_timeout_microseconds: 250000 } }
    parameters { key: "intra_op_thread_count" value { string_value: "2" } }
    output { name: "y" label_filename: "classes.txt" }
    """
    found = understood(text)
    assert found.remarks == ()
    plan = parse_plan("", config=found.plan)
    runtime = plan.runtime
    assert (runtime.max_batch, runtime.instances, runtime.intra_op_threads) == (16, 3, 2)
    assert (runtime.queue_limit, runtime.max_queue_delay) == (50, 0.25)
    assert plan.labels == {"y": "classes.txt"}
    over = parse_plan("runtime: {max_batch: 4}\nlabels: {z: other.txt}", config=found.plan)
    assert (over.runtime.max_batch, over.runtime.instances) == (4, 3)
    assert over.labels == {"y": "classes.txt", "z": "other.txt"}


@pytest.mark.parametrize(
    ("batch", "tensor", "shape"),
    [
        (4, "dims: [2, 2] reshape { shape: [4] }", [-1, 2, 2]),
        (4, "dims: [1] reshape { }", [-1, 1]),
        (0, "dims: [-1, 2] reshape { shape: [2, -1] }", [-1, 2]),
        (0, "dims: [2, 2] reshape { shape: [4] }", [2, 2]),
        (4, "dims: [-1] reshape { shape: [-1, 1] }", None),
        (4, "dims: [4]", None),
    ],
)
def test_a_reshaped_tensor_is_a_step_of_the_interface(batch: int, tensor: str, shape: list[int] | None) -> None:
    """The shape that clients send; where more is free than a step can say it is told. `model.yaml`'s steps win."""
    found = understood(f'max_batch_size: {batch} input {{ name: "x" {tensor} }}'.encode())
    assert found.plan.get("interface") == (None if shape is None else [{"reshape": {"x": shape}}])
    assert len(found.remarks) == (shape is None and "reshape" in tensor)
    own = parse_plan("interface: [{cast: {x: FP64}}]", config=found.plan).interface
    assert (len(own), own[0].reshape) == (1, None)
    assert len(parse_plan("", config=found.plan).interface) == (shape is not None)


def test_a_model_without_batches_has_one_row_in_each() -> None:
    """`max_batch_size: 0` puts nothing together; no file says nothing at all."""
    assert parse_plan("", config=understood(b"max_batch_size: 0").plan).runtime.max_batch == 1
    assert parse_plan("", config=understood(b"").plan) == parse_plan("")


def test_what_has_no_effect_is_named_with_its_line() -> None:
    """Once for a message, whatever it holds; what asks for what is done anyway is no remark."""
    text = b"""platform: "tensorrt_plan"
sequence_batching { max_sequence_idle_microseconds: 5
  direct {} }
model_warmup { name: "w" batch_size: 1 inputs { key: "x" value { zero_data: true dims: [4] } } count: 2
  inputs { key: "y" value { input_data_file: "y.raw" } } }
input { name: "x" dims: [-1, 4] reshape { shape: [-1, 2, -1] } }
instance_group { kind: KIND_GPU gpus: [0] }
version_policy { latest { num_versions: 2 } }
parameters { key: "own" value { string_value: "1" } }
default_model_filename: "net.onnx"
"""
    remarks = understood(text).remarks
    assert [remark.partition(":")[0] + remark.partition(":")[2].partition(" has")[0] for remark in remarks[:3]] == [
        "line 2 sequence_batching",
        "line 5 model_warmup.inputs.y.input_data_file",
        "line 7 instance_group.gpus",
    ]
    assert [remark.partition(":")[0] for remark in remarks[3:]] == [
        "line 1", "line 10", "line 8", "line 6", "line 7", "line 9",
    ]  # fmt: skip
    assert (
        understood(b'version_policy { latest { num_versions: 1 } } default_model_filename: "model.onnx"').remarks == ()
    )


@pytest.mark.parametrize(
    ("policy", "versions", "told"),
    [
        ("latest { num_versions: 1 }", None, 0),
        ("latest { num_versions: 2 }", None, 1),
        ("all {}", None, 1),
        ("specific { versions: [3] }", (3,), 0),
        ("specific { versions: [3, 1] }", (3, 1), 1),
    ],
)
def test_a_version_policy_names_versions(policy: str, versions: tuple[int, ...] | None, told: int) -> None:
    """Of several one serves, and that is told; the same in a file and in JSON."""
    text = f"version_policy {{ {policy} }}".encode()
    in_file = understood(text)
    in_json = understood_json(in_file.config)
    assert in_file.versions == in_json.versions == versions
    assert [len(found.remarks) for found in (in_file, in_json)] == [told, told]


def test_a_file_and_its_json_are_understood_alike() -> None:
    """The same plan, and the same remarks but for their lines."""
    text = b"""name: "m" max_batch_size: 8 instance_group { count: 3 kind: KIND_GPU }
      optimization { priority: PRIORITY_MAX }
      dynamic_batching { priority_levels: 2 default_queue_policy { max_queue_size: 5 } }"""
    in_file = understood(text)
    in_json = understood_json(in_file.config)
    assert (in_json.config, in_json.plan) == (in_file.config, in_file.plan)
    assert [remark.partition(": ")[2].replace(" has no", ": it has no") for remark in in_file.remarks[:2]] == list(
        in_json.remarks[:2]
    )
    assert len(in_file.remarks) == len(in_json.remarks) == 3


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"\nmax_batch_size: -1", 2),
        (b"max_batch_size: 70000", 1),
        (b"name: 'x'\ninstance_group { count: 65 }", 2),
        (b"\n\nparameters { key: 'intra_op_thread_count' value { string_value: 'many' } }", 3),
        (b"\nversion_policy { specific { } }", 2),
        (b"\nversion_policy { specific { versions: [1, 0] } }", 2),
    ],
)
def test_impossible_numbers_are_refused_with_their_line(text: bytes, line: int) -> None:
    """Of the file that says them, not of `model.yaml`."""
    with pytest.raises(InvalidPlan, match=f"config.pbtxt line {line}: ") as refused:
        understood(text)
    assert refused.value.reason == "invalid_config"


def test_a_file_without_end_is_refused() -> None:
    """64 KiB are more than anybody writes."""
    with pytest.raises(InvalidPlan, match="over 64 KiB"):
        understood(b"#" * (65 << 10))


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"input": [{"name": "z"}]}, "no input 'z'"),
        ({"output": [{"name": "y", "data_type": "TYPE_INT8"}]}, "TYPE_INT8, and the model's is TYPE_FP32"),
        ({"max_batch_size": 4, "input": [{"name": "x", "dims": [5]}]}, r"dims \[5\]"),
        ({"max_batch_size": 0, "input": [{"name": "x", "dims": [4]}]}, r"dims \[4\]"),
        ({"max_batch_size": 4, "input": [{"name": "x", "dims": [2, 2], "reshape": {"shape": [4]}}]}, "dims"),
    ],
)
def test_a_configuration_of_another_model_is_refused(config: dict[str, Any], what: str) -> None:
    """By names, datatypes and shapes."""
    with pytest.raises(ModelRejected, match=what) as refused:
        require_fitting(config, SIGNATURE)
    assert refused.value.reason == "config_mismatch"


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"max_batch_size": 4, "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [4]}]},
        {"max_batch_size": 4, "output": [{"name": "y", "dims": [1000]}]},
        {"input": [{"name": "x", "dims": [-1, 4]}]},
        {"max_batch_size": 4, "input": [{"name": "x", "dims": [4], "reshape": {"shape": [2, 2]}}]},
        {"max_batch_size": 4, "input": [{"name": "x", "dims": [-1, 2], "reshape": {"shape": [-1]}}]},
    ],
)
def test_a_configuration_that_fits_passes(config: dict[str, Any]) -> None:
    """With the batch's dimension left out where `max_batch_size` says so, and as clients see it."""
    require_fitting(config, SIGNATURE)
    with pytest.raises(ModelRejected, match="not free"):
        require_fitting({"max_batch_size": 1}, Signature(SIGNATURE.inputs, SIGNATURE.outputs, False))
