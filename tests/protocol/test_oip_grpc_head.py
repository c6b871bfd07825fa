"""The head of a gRPC request: equal bytes give an equal value, and nothing of it can be changed."""

from __future__ import annotations

import pytest

from changeover.errors import InvalidRequest
from changeover.protocol.oip import RequestedOutput
from changeover.protocol.oip_grpc_head import GrpcInput, parse_head
from changeover.tensors import Datatype
from tests.protocol.grpc_messages import message


def _head() -> bytes:
    request = message("inference.ModelInferRequest")(model_name="m", model_version="2")
    request.inputs.add(name="x", datatype="FP32", shape=[2, 3])
    request.inputs.add(name="s", datatype="BYTES", shape=[4])
    request.outputs.add(name="y").parameters["classification"].int64_param = 3
    request.parameters["timeout"].int64_param = 5000
    return bytes(request.SerializeToString())


def test_what_a_head_says() -> None:
    """Sizes are known before any data is seen; BYTES and BOOL have to be walked."""
    head = parse_head(_head(), raw=True)
    assert (head.model, head.version, head.parameters) == ("m", "2", {"timeout": 5000})
    assert head.inputs == (
        GrpcInput("x", Datatype.FP32, (2, 3), b"", 24, walked=False, place=None),
        GrpcInput("s", Datatype.BYTES, (4,), b"", 16, walked=True, place=None),
    )
    assert head.outputs == (RequestedOutput("y", binary=True, parameters={"classification": 3}),)


def test_a_head_is_a_function_of_its_bytes() -> None:
    """Equal bytes give an equal head, which nobody can change."""
    head = parse_head(_head(), raw=True)
    assert head == parse_head(memoryview(_head()), raw=True)
    with pytest.raises(AttributeError):
        head.model = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        head.parameters["timeout"] = 1  # type: ignore[index]


def test_without_raw_tensors_each_input_has_contents() -> None:
    """An input must have its data in one of the two places."""
    with pytest.raises(InvalidRequest, match=r"inputs\[0\].contents: this member is missing"):
        parse_head(_head(), raw=False)
    request = message("inference.ModelInferRequest")()
    request.inputs.add(name="x", datatype="INT8", shape=[1]).contents.int_contents.append(7)
    assert bytes(parse_head(request.SerializeToString(), raw=False).inputs[0].inline) == b"\7"


def test_parameters_named_for_http_mean_nothing() -> None:
    """`binary_data` and its kin belong to the HTTP form: they are kept and change nothing."""
    request = message("inference.ModelInferRequest")()
    request.parameters["binary_data_output"].bool_param = False
    request.inputs.add(name="x", datatype="INT8", shape=[1]).parameters["binary_data_size"].int64_param = 99
    head = parse_head(request.SerializeToString(), raw=True)
    assert (head.parameters["binary_data_output"], head.inputs[0].size) == (False, 1)
