"""Parameters of a load."""

from __future__ import annotations

import json

import pytest

from changeover.controller.overrides import NOTHING, overrides_of
from changeover.errors import InvalidRequest


def test_nothing_is_asked_for() -> None:
    """No parameters, no overrides; an empty config neither."""
    assert overrides_of("m", {}) == NOTHING == overrides_of("m", {"config": "{}"})


def test_files_are_of_one_version() -> None:
    """The highest; with a version policy that one, and what is left out is named."""
    files: dict[str, object] = {"file:1/model.onnx": b"1", "file:2/model.onnx": b"2", "file:2/more/data": b"3"}
    found = overrides_of("m", files)
    assert (found.version, found.files) == (2, {"model.onnx": b"2", "more/data": b"3"})
    assert found.ignored == ("files of version 1: one version serves, 2",)
    config = json.dumps({"version_policy": {"specific": {"versions": [1]}}, "max_batch_size": 4})
    found = overrides_of("m", files | {"config": config})
    assert (found.version, found.files) == (1, {"model.onnx": b"1"})
    assert found.plan == {"runtime": {"max_batch": 4}}


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"other": "x"}, "invalid_parameter"),
        ({"config": b"{}"}, "invalid_parameter"),
        ({"file:1/model.onnx": "text"}, "invalid_parameter"),
        ({"file:model.onnx": b""}, "invalid_parameter"),
        ({"file:1/": b""}, "invalid_parameter"),
        ({"file:0/model.onnx": b""}, "invalid_parameter"),
        ({"file:99999999999/model.onnx": b""}, "invalid_parameter"),
        ({"config": "{"}, "invalid_config"),
        ({"config": "[]"}, "invalid_config"),
        ({"config": "[" * 100_000}, "invalid_config"),
        (
            {"file:1/model.onnx": b"", "config": '{"version_policy": {"specific": {"versions": [3]}}}'},
            "invalid_config",
        ),
    ],
)
def test_parameters_that_make_no_sense(parameters: dict[str, object], reason: str) -> None:
    """Each is refused by name."""
    with pytest.raises(InvalidRequest) as caught:
        overrides_of("m", parameters)
    assert caught.value.reason == reason
