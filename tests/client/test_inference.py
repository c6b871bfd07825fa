"""Arrays to binary requests, binary answers to arrays: read by the server's own decoder, written by its encoder."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from changeover.client.ask import Answer, Ask, InvalidClient
from changeover.client.inference import How, infer, outputs
from changeover.errors import ChangeoverError, Internal, Overloaded
from changeover.protocol.oip import InferRequest
from changeover.protocol.oip_binary import decode, encode_response
from changeover.tensors import Datatype, from_numpy


def decoded(ask: Ask) -> InferRequest:
    """The request as the server reads it."""
    assert isinstance(ask.body, bytes)
    return decode(memoryview(ask.body), int(ask.headers["inference-header-content-length"]))


@pytest.mark.parametrize("datatype", [d for d in Datatype if d not in (Datatype.BYTES, Datatype.BF16)])
def test_every_datatype_arrives(datatype: Datatype) -> None:
    """With its shape and values, also from an array that is not contiguous."""
    array = np.arange(12).reshape(3, 4).astype(datatype.numpy).T
    (tensor,) = decoded(infer("m", {"x": array}, {})).inputs
    assert (tensor.name, tensor.datatype, tensor.shape) == ("x", datatype, (4, 3))
    assert np.array_equal(tensor.numpy(), array)


@pytest.mark.parametrize("texts", [np.array([b"a", "ä"], object), np.array(["a", "ä"]), ["a", "ä"]])
def test_texts_are_bytes(texts: Any) -> None:
    """From `bytes`, `str`, numpy's own texts and lists."""
    (tensor,) = decoded(infer("m", {"x": texts}, {})).inputs
    assert tensor.datatype is Datatype.BYTES
    assert tensor.numpy().tolist() == [b"a", "ä".encode()]


def test_bfloat16_is_its_bits() -> None:
    """Numpy has no such type; that of ml_dtypes is taken."""
    (tensor,) = decoded(infer("m", {"x": np.array([1.5], ml_dtypes.bfloat16)}, {})).inputs
    assert (tensor.datatype, tensor.numpy().tolist()) == (Datatype.BF16, [0x3FC0])


@pytest.mark.parametrize("array", [np.array([1j]), np.array([{}], object), np.array([np.datetime64("2026-01-01")])])
def test_what_the_protocol_has_not_is_told_before_it_is_sent(array: Any) -> None:
    """With the input's name."""
    with pytest.raises(InvalidClient, match="input 'x'") as caught:
        infer("m", {"x": array}, {})
    assert caught.value.reason == "unknown_datatype"


def test_how_it_is_asked() -> None:
    """Version, key, outputs, parameters and id are where the server looks for them."""
    how: How = {"outputs": ["b", "a"], "version": "4", "key": "k", "parameters": {"priority": 2}, "id": "q"}
    ask = infer("m", {"x": np.zeros(1)}, how)
    request = decoded(ask)
    assert (ask.path, ask.headers["changeover-key"]) == ("/v2/models/m/versions/4/infer", "k")
    assert request.outputs is not None
    assert [(output.name, output.binary) for output in request.outputs] == [("b", True), ("a", True)]
    assert (request.parameters["priority"], request.id) == (2, "q")
    assert ask.timed
    assert ask.repeatable


def test_a_step_of_a_sequence_is_not_asked_twice() -> None:
    """It has a state."""
    assert not infer("m", {"x": np.zeros(1)}, {"parameters": {"sequence_id": 1}}).repeatable


def answered(*arrays: tuple[str, Any]) -> Answer:
    tensors = [from_numpy(name, array) for name, array in arrays]
    chunks, length = encode_response("m", "4", "q", tensors, [True] * len(tensors))
    headers = {"inference-header-content-length": str(length), "changeover-epoch": "7"}
    return Answer(200, headers, b"".join(bytes(chunk) for chunk in chunks))


def test_an_answer_is_its_arrays() -> None:
    """With the version that gave it."""
    y, texts = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([[b"a"], [b""]], object)
    found = outputs(answered(("y", y), ("texts", texts)))
    assert list(found) == ["y", "texts"]
    assert np.array_equal(found["y"], y)
    assert found["texts"].tolist() == texts.tolist()
    assert (found.model, found.version, found.id, found.epoch) == ("m", "4", "q", 7)
    assert repr(found) == "<Outputs of m version 4: y float32[2, 3], texts object[2, 1]>"


@pytest.mark.parametrize("body", [b"{}", b"[]", b"x", b'{"outputs":[{}],"model_name":"m"}'])
def test_what_is_no_answer_is_told(body: bytes) -> None:
    """Whoever sent it."""
    with pytest.raises(Internal, match="no answer to an inference"):
        outputs(Answer(200, {}, body))


def test_an_error_is_raised() -> None:
    """As everywhere."""
    with pytest.raises(ChangeoverError) as caught:
        outputs(Answer(503, {"retry-after": "2"}, b'{"error":"x","reason":"queue_full"}'))
    assert isinstance(caught.value, Overloaded)
