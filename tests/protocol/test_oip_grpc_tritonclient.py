"""gRPC messages compared with tritonclient's: what it sends is read, what is sent it reads."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from changeover.protocol.oip import Place
from changeover.protocol.oip_grpc import GrpcAsked, encode_response
from changeover.protocol.oip_places import Placed
from changeover.tensors import Datatype, from_numpy
from tests.protocol.grpc_requests import decode
from tests.protocol.test_oip_binary_tritonclient import _arrays, _same, _tensor

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tritonclient.grpc import InferInput, InferRequestedOutput, InferResult, service_pb2
    from tritonclient.grpc._utils import _get_inference_request


def _sent(inputs: list[InferInput], outputs: list[InferRequestedOutput] | None = None, **more: Any) -> GrpcAsked:
    """What the server reads of a request tritonclient makes."""
    given = {"model_name": "m", "model_version": "", "request_id": "", "sequence_id": 0, "sequence_start": False}
    given |= {"sequence_end": False, "priority": 0, "timeout": None, "parameters": None} | more
    request = _get_inference_request(inputs=inputs, outputs=outputs, **given)
    return decode(memoryview(request.SerializeToString()))


@pytest.mark.parametrize("datatype", Datatype)
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_requests_of_tritonclient_are_read(datatype: Datatype, data: st.DataObject) -> None:
    """Each datatype arrives bit by bit, from arrays without elements too."""
    array = data.draw(_arrays(datatype))
    given = InferInput("x", list(array.shape), datatype.name).set_data_from_numpy(array)
    asked = _sent([given])
    assert asked.request.binary_output
    _same(asked.request.inputs[0], array, datatype)


def test_what_tritonclient_asks_for_is_read() -> None:
    """Model, version, id, sequence, priority, timeout, own parameters and classification arrive."""
    given = InferInput("x", [1], "FP32").set_data_from_numpy(np.zeros(1, np.float32))
    more = {"model_version": "3", "request_id": "r1", "sequence_id": "s", "sequence_end": True, "priority": 3}
    own = {"float": 0.5, "flag": True, "text": "t", "number": -2}
    outputs = [InferRequestedOutput("a"), InferRequestedOutput("b", class_count=2)]
    asked = _sent([given], outputs, timeout=900, parameters=own, **more)
    assert (asked.model, asked.version, asked.request.id) == ("m", "3", "r1")
    sequence = {"sequence_id": "s", "sequence_start": False, "sequence_end": True}
    assert asked.request.parameters == own | sequence | {"priority": 3, "timeout": 900}
    assert asked.request.outputs is not None
    assert [(o.name, dict(o.parameters)) for o in asked.request.outputs] == [("a", {}), ("b", {"classification": 2})]


def test_shared_memory_of_tritonclient() -> None:
    """Inputs and outputs in shared memory are read, and the outputs beside them are found by the client."""
    given = InferInput("x", [4], "FP32")
    given.set_shared_memory("region", 16, offset=32)
    wanted = InferRequestedOutput("y")
    wanted.set_shared_memory("region", 8)
    asked = _sent([given], [wanted]).request
    assert list(asked.places) == [(0, Place("region", 32, 16))]
    assert asked.outputs is not None
    assert asked.outputs[0].place == Place("region", 0, 8)
    outputs = [Placed("y", Datatype.FP32, (2,), b"", Place("region", 0, 8)), from_numpy("other", np.arange(3))]
    response = service_pb2.ModelInferResponse.FromString(b"".join(encode_response("m", "3", "", outputs)))
    result = InferResult(response)
    assert result.as_numpy("other").tolist() == [0, 1, 2]
    assert result.get_output("y").parameters["shared_memory_region"].string_param == "region"


@pytest.mark.parametrize("datatype", Datatype)
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_responses_are_read_by_tritonclient(datatype: Datatype, data: st.DataObject) -> None:
    """Each datatype is for tritonclient the array that was sent."""
    array = data.draw(_arrays(datatype))
    outputs = [from_numpy("other", np.arange(3)), _tensor("y", array, datatype)]
    response = service_pb2.ModelInferResponse.FromString(b"".join(encode_response("m", "3", "r", outputs)))
    result = InferResult(response)
    read = result.as_numpy("y")
    assert read.shape == array.shape
    assert np.array_equal(read, array)
    assert result.as_numpy("other").tolist() == [0, 1, 2]
    assert (result.get_response().model_version, result.get_response().id) == ("3", "r")
