"""The model configuration that clients see."""

from __future__ import annotations

from changeover.gateway.model_config import model_config
from changeover.transport.control import Signature, TensorEntry
from tests.gateway.stage import entry


def test_without_a_file_it_is_made_of_the_signature() -> None:
    """Dimensions without the batch, Triton's names, and what is in force."""
    told = model_config("m", entry(7, "1"), 2)
    assert {k: told[k] for k in ("name", "platform", "backend", "max_batch_size", "default_model_filename")} == {
        "name": "m",
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "max_batch_size": 8,
        "default_model_filename": "model.onnx",
    }
    (put,), (got,) = told["input"], told["output"]
    assert (put["name"], put["data_type"], put["dims"], put["format"]) == ("x", "TYPE_FP32", [4], "FORMAT_NONE")
    assert (got["name"], got["dims"], got["label_filename"]) == ("y", [4], "")
    assert told["instance_group"][0]["count"] == 2
    assert (told["instance_group"][0]["name"], "dynamic_batching" in told) == ("m", False)
    assert told["optimization"]["input_pinned_memory"] == {"enable": True}
    assert told["version_policy"] == {"latest": {"num_versions": 1}}


def test_a_model_without_batches_shows_its_whole_shapes() -> None:
    """And a model of single values has `dims` of one element that is reshaped away, as Triton writes it."""
    fixed = Signature([TensorEntry("x", "BYTES", [2, 3])], [TensorEntry("y", "INT8", [])], False)
    told = model_config("m", entry(7, "1", signature=fixed), 1)
    assert (told["max_batch_size"], told["input"][0]["dims"]) == (0, [2, 3])
    assert told["input"][0]["data_type"] == "TYPE_STRING"
    assert (told["output"][0]["dims"], told["output"][0]["reshape"]) == ([1], {"shape": []})
    assert "dynamic_batching" not in told


def test_what_a_file_says_is_shown_under_what_is_in_force() -> None:
    """Parameters and unsupported sections stay visible; names, shapes and counts are the ones that count."""
    said = {
        "name": "other",
        "max_batch_size": 4,
        "sequence_batching": {"max_sequence_idle_microseconds": 5},
        "parameters": {"a": {"string_value": "b"}},
        "input": [{"name": "x", "format": "FORMAT_NCHW", "dims": [2, 2], "reshape": {"shape": [4]}}],
        "instance_group": [{"count": 7, "name": "mine", "kind": "KIND_GPU"}],
    }
    told = model_config("m", entry(7, "1", config=said, labels={"y": "/state/labels.txt"}, max_batch=4), 1)
    assert (told["name"], told["max_batch_size"], told["input"][0]["dims"]) == ("m", 4, [4])
    assert told["input"][0]["format"] == "FORMAT_NCHW"
    assert "reshape" not in told["input"][0]
    assert told["sequence_batching"]["max_sequence_idle_microseconds"] == 5
    assert told["parameters"] == {"a": {"string_value": "b"}}
    assert told["output"][0]["label_filename"] == "labels.txt"
    assert [(g["name"], g["kind"], g["count"]) for g in told["instance_group"]] == [("mine", "KIND_GPU", 1)]
