"""Triton's model configuration: types of its fields, and its JSON."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from changeover.errors import InvalidPlan
from changeover.protocol.model_config import read_config, read_json, triton_type, whole

TEXT = """
name: "densenet"            # as in Triton's examples
platform: "onnxruntime_onnx"
max_batch_size: 8
input [
  { name: "data_0" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 3, 224, 224 ] }
]
output { name: "fc6_1" data_type: TYPE_FP32 dims: 1000 dims: -1 label_filename: "labels.txt" }
instance_group [ { count: 2 kind: KIND_CPU }, { count: 1 } ]
dynamic_batching { max_queue_delay_microseconds: 100 priority_queue_policy { key: 2 value { max_queue_size: 3 } } }
parameters { key: "a" value: { string_value: "b" } }
parameters [ { key: "c" value: { string_value: "d" } } ]
version_policy: { specific { versions: [1, 3] } }
"""


def test_a_file_of_triton_is_read() -> None:
    """Fields have their types, lists and maps are put together, and each path has its line."""
    config, lines = read_config(TEXT)
    assert config["max_batch_size"] == 8
    assert config["input"] == [
        {"name": "data_0", "data_type": "TYPE_FP32", "format": "FORMAT_NCHW", "dims": [3, 224, 224]}
    ]
    assert config["output"][0]["dims"] == [1000, -1]
    assert [group.get("count") for group in config["instance_group"]] == [2, 1]
    assert config["parameters"] == {"a": {"string_value": "b"}, "c": {"string_value": "d"}}
    assert config["dynamic_batching"]["priority_queue_policy"] == {"2": {"max_queue_size": 3}}
    assert config["version_policy"] == {"specific": {"versions": [1, 3]}}
    assert dict(lines)["input.dims"] == 6
    assert dict(lines)["dynamic_batching.max_queue_delay_microseconds"] == 10


def test_its_json_is_what_tritons_own_message_makes_of_it() -> None:
    """The same text, read by protobuf with the client's `ModelConfig`, has the same fields and defaults."""
    from google.protobuf import text_format

    try:
        from tritonclient.grpc.model_config_pb2 import ModelConfig
    except (ImportError, RuntimeError):
        pytest.skip("the gRPC client is not installed")
    message = text_format.Parse(TEXT, ModelConfig())
    told = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    assert _with_numbers(whole(read_config(TEXT)[0])) == _with_numbers(told)


def _with_numbers(value: object) -> object:
    """Protobuf writes 64-bit numbers as texts, and Triton as numbers."""
    if isinstance(value, dict):
        return {key: _with_numbers(item) for key, item in value.items() if key != "model_metrics"}
    if isinstance(value, list):
        return [_with_numbers(item) for item in value]
    return int(value) if isinstance(value, str) and value.lstrip("-").isdigit() else value


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("\nmax_batchsize: 3", 2, "max_batchsize: there is no such field"),
        ("input {\n dims: 3\n dimension: 4 }", 3, "input.dimension: there is no such field"),
        ('max_batch_size: "3"', 1, "max_batch_size: expected a whole number"),
        ("max_batch_size: 1.5", 1, "expected a whole number"),
        ("max_batch_size: 3000000000", 1, "expected a whole number"),
        ("input {}\ninput { data_type: FP32 }", 2, "input.data_type: expected one of TYPE_INVALID"),
        ("name: x", 1, "name: expected a quoted text, found x"),
        ("name: {}", 1, "name: expected a quoted text, found a message"),
        ("input: 3", 1, "input: expected { … }"),
        ('name: "a"\nname: "b"', 2, "name: there is one value of it"),
        ("dynamic_batching {}\nsequence_batching {}", 2, "dynamic_batching is given already"),
        ("parameters: 3", 1, "expected { key"),
        ("parameters { value {} }", 1, "expected { key"),
        ("input { optional: 2 }", 1, "expected true or false"),
        (b"name: \xff", 0, "not UTF-8"),
    ],
)
def test_what_triton_would_not_read_is_refused_with_its_line(text: str | bytes, line: int, what: str) -> None:
    """Unknown fields, wrong types, ranges, and two of what there is one of."""
    with pytest.raises(InvalidPlan) as refused:
        read_config(text)
    assert refused.value.reason == "invalid_config"
    assert what in refused.value.message
    assert not line or refused.value.message.startswith(f"config.pbtxt line {line}: ")


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    """Nothing else is raised."""
    try:
        assert whole(read_config(text)[0])["name"] is not None
    except InvalidPlan as error:
        told = error.reason
    else:
        told = "invalid_config"
    assert told == "invalid_config"


def test_types_have_tritons_names() -> None:
    """BYTES is a string there."""
    assert (triton_type("BYTES"), triton_type("FP16")) == ("TYPE_STRING", "TYPE_FP16")


def test_json_has_the_types_of_the_table() -> None:
    """Numbers in texts, members of enumerations by name or number; what says nothing is left out."""
    given = {
        "name": "m",
        "max_batch_size": "8",
        "input": [{"name": "x", "dims": ["-1", 3], "data_type": "TYPE_FP32", "format": 0, "optional": False}],
        "instance_group": [{"kind": 2, "count": 0, "gpus": []}],
        "version_policy": {"all": {}},
        "ensemble_scheduling": {},
        "parameters": {"a": {"string_value": "b"}},
        "of_tomorrow": 1,
    }
    found, lines = read_json(given)
    assert found == {
        "name": "m",
        "max_batch_size": 8,
        "input": [{"name": "x", "dims": [-1, 3], "data_type": "TYPE_FP32"}],
        "instance_group": [{"kind": "KIND_CPU"}],
        "version_policy": {"all": {}},
        "parameters": {"a": {"string_value": "b"}},
    }
    assert ("of_tomorrow", 0) in lines
    assert ("version_policy.all", 0) in lines
    assert "ensemble_scheduling" not in dict(lines)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_batch_size": True},
        {"max_batch_size": 1.5},
        {"max_batch_size": "8x"},
        {"max_batch_size": 1 << 31},
        {"input": {"name": "x"}},
        {"input": [5]},
        {"input": [{"data_type": "FP32"}]},
        {"instance_group": [{"kind": 9}]},
        {"parameters": [1]},
        {"parameters": {"a": 5}},
        {"response_cache": {"enable": 7}},
        {"name": 5},
        {"version_policy": {"newest": {}}},
    ],
)
def test_json_of_another_type_is_refused(wrong: dict[str, Any]) -> None:
    """With the field's name."""
    with pytest.raises(InvalidPlan, match=next(iter(wrong))) as refused:
        read_json(wrong)
    assert refused.value.reason == "invalid_config"
