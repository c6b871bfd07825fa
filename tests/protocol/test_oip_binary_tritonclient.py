"""Requests and responses compared with tritonclient: what it sends is read, what is sent it reads."""

from __future__ import annotations

import warnings
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from changeover.protocol.oip import InferRequest
from changeover.protocol.oip_binary import decode, encode_response
from changeover.tensors import Datatype, Tensor, from_numpy

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tritonclient.http import InferInput, InferRequestedOutput, InferResult
    from tritonclient.http._utils import _get_inference_request

SHAPES = npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


def _arrays(datatype: Datatype) -> st.SearchStrategy[npt.NDArray[Any]]:
    """Arrays as tritonclient takes them for a datatype."""
    if datatype is Datatype.BYTES:
        return npst.arrays(object, SHAPES, elements=st.text(max_size=5).map(str.encode))
    if datatype is Datatype.BF16:
        return npst.arrays(np.float32, SHAPES, elements=st.floats(-1e4, 1e4, width=32)).map(
            lambda array: array.astype(ml_dtypes.bfloat16)
        )
    finite = {"allow_nan": False, "allow_infinity": False} if datatype.numpy.kind == "f" else {}
    return npst.arrays(datatype.numpy, SHAPES, elements=npst.from_dtype(datatype.numpy, **finite))


def _sent(inputs: list[InferInput], outputs: list[InferRequestedOutput] | None = None, **more: Any) -> InferRequest:
    """What the server reads of a request tritonclient makes."""
    given = {"request_id": "", "sequence_id": 0, "sequence_start": False, "sequence_end": False, "priority": 0}
    given |= {"timeout": None, "custom_parameters": None} | more
    body, header_length = _get_inference_request(inputs, outputs=outputs, **given)
    return decode(memoryview(body), header_length)


def _input(name: str, array: npt.NDArray[Any], datatype: Datatype, *, binary: bool) -> InferInput:
    given = InferInput(name, list(array.shape), datatype.name)
    return given.set_data_from_numpy(array, binary_data=binary)


def _tensor(name: str, array: npt.NDArray[Any], datatype: Datatype) -> Tensor:
    return from_numpy(name, array.view(np.uint16) if datatype is Datatype.BF16 else array, datatype)


def _same(tensor: Tensor, array: npt.NDArray[Any], datatype: Datatype) -> None:
    expected = _tensor("", array, datatype)
    assert (tensor.datatype, tensor.shape) == (datatype, array.shape)
    assert bytes(tensor.data) == bytes(expected.data)


@pytest.mark.parametrize("datatype", Datatype)
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_binary_requests_of_tritonclient_are_read(datatype: Datatype, data: st.DataObject) -> None:
    """Each datatype in binary form arrives bit by bit."""
    array = data.draw(_arrays(datatype))
    request = _sent([_input("x", array, datatype, binary=True)])
    _same(request.inputs[0], array, datatype)
    assert request.binary_output


@pytest.mark.parametrize("datatype", [datatype for datatype in Datatype if datatype is not Datatype.BF16])
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_json_requests_of_tritonclient_are_read(datatype: Datatype, data: st.DataObject) -> None:
    """Each datatype its client writes as JSON arrives bit by bit."""
    array = data.draw(_arrays(datatype))
    request = _sent([_input("x", array, datatype, binary=False)])
    assert [tensor.name for tensor in request.inputs] == ["x"]
    _same(request.inputs[0], array, datatype)


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_mixed_requests_of_tritonclient_are_read(data: st.DataObject) -> None:
    """Inputs in both forms in one request, in any order, each get their own data."""
    sent = []
    for index in range(data.draw(st.integers(1, 4))):
        datatype = data.draw(st.sampled_from([*Datatype]))
        binary = datatype is Datatype.BF16 or data.draw(st.booleans())
        sent.append((f"x{index}", data.draw(_arrays(datatype)), datatype, binary))
    request = _sent([_input(name, array, datatype, binary=binary) for name, array, datatype, binary in sent])
    assert [tensor.name for tensor in request.inputs] == [name for name, *_ in sent]
    for tensor, (_, array, datatype, _) in zip(request.inputs, sent, strict=True):
        _same(tensor, array, datatype)


def test_what_tritonclient_asks_for_is_read() -> None:
    """Id, sequence, priority, timeout and the outputs' forms arrive."""
    outputs = [InferRequestedOutput("a", binary_data=True), InferRequestedOutput("b", binary_data=False, class_count=2)]
    request = _sent(
        [_input("x", np.zeros(1, np.float32), Datatype.FP32, binary=True)],
        outputs,
        request_id="r1",
        sequence_id=7,
        sequence_start=True,
        priority=3,
        timeout=900,
    )
    assert request.id == "r1"
    assert request.binary_flags(["b", "a"]) == (False, True)
    assert request.parameters["timeout"] == 900
    assert (request.parameters["sequence_id"], request.parameters["sequence_start"]) == (7, True)
    assert request.outputs is not None
    assert request.outputs[1].parameters["classification"] == 2


@pytest.mark.parametrize("datatype", Datatype)
@pytest.mark.parametrize("binary", [True, False])
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_responses_are_read_by_tritonclient(datatype: Datatype, binary: bool, data: st.DataObject) -> None:
    """Each datatype, in both forms, is for tritonclient the array that was sent."""
    array = data.draw(_arrays(datatype))
    chunks, header_length = encode_response("m", "3", "", [_tensor("y", array, datatype)], (binary,))
    result = InferResult.from_response_body(b"".join(chunks), header_length=header_length)
    read = result.as_numpy("y")
    assert read.shape == array.shape
    if datatype is Datatype.BYTES:
        read = np.array([e.encode() if isinstance(e, str) else e for e in read.ravel()], object).reshape(read.shape)
    assert np.array_equal(read, array)
    assert result.get_response()["model_version"] == "3"


def test_mixed_responses_are_read_by_tritonclient() -> None:
    """Outputs in both forms in one answer keep their data apart."""
    arrays = {"a": np.arange(3, dtype=np.int64), "b": np.ones((2, 2), np.float32), "c": np.array([b"x", b"yz"], object)}
    outputs = [from_numpy(name, array) for name, array in arrays.items()]
    for binary in [(True, False, True), (False, True, False), (False, False, True)]:
        chunks, header_length = encode_response("m", "1", "id 7", outputs, binary)
        result = InferResult.from_response_body(b"".join(chunks), header_length=header_length)
        assert result.as_numpy("a").tolist() == [0, 1, 2]
        assert result.as_numpy("b").tolist() == [[1, 1], [1, 1]]
        assert [e if isinstance(e, bytes) else e.encode() for e in result.as_numpy("c")] == [b"x", b"yz"]
        assert result.get_response()["id"] == "id 7"
