"""Requests and answers as bytes."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from changeover.bench import LoadSpec
from changeover.bench.wire import ResponseHead, failure_reason, infer_request, parse_answer, parse_head

X = np.arange(6, dtype=np.int64).reshape(3, 2)


def test_binary_request() -> None:
    """Raw tensors follow the JSON part, whose length is in a header; binary outputs are asked for."""
    head, _, body = infer_request(LoadSpec("m", {"x": X}), 1, close=True).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    length = next(int(line.split(": ")[1]) for line in lines if line.startswith("inference-header"))
    document = orjson.loads(body[:length])
    assert lines[0] == "POST /v2/models/m/infer HTTP/1.1"
    assert "connection: close" in lines
    assert f"content-length: {len(body)}" in lines
    assert document["inputs"] == [
        {"name": "x", "datatype": "INT64", "shape": [1, 2], "parameters": {"binary_data_size": 16}}
    ]
    assert document["parameters"] == {"binary_data_output": True}
    assert body[length:] == X[1].tobytes()


def test_json_request_without_batch_dimension() -> None:
    """In JSON the numbers are in the document; an unbatched sample keeps its own shape."""
    body = infer_request(LoadSpec("m", {"x": X}, binary=False, batched=False), 2, close=False).partition(b"\r\n\r\n")[2]
    assert orjson.loads(body) == {"inputs": [{"name": "x", "datatype": "INT64", "shape": [2], "data": [4, 5]}]}


def test_head_of_an_answer() -> None:
    """Names are read in any case, absent fields have their defaults."""
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: Close\r\n"
    raw += b"Inference-Header-Content-Length:5\r\nchangeover-epoch: 12"
    assert parse_head(raw) == ResponseHead(status=200, length=7, json_length=5, close=True, epoch=12)
    assert parse_head(b"HTTP/1.1 503 Busy\r\ncontent-length: 0") == ResponseHead(503, 0, None, close=False, epoch=-1)
    assert parse_head(b"HTTP/1.1 204 No Content").length == 0


@pytest.mark.parametrize(
    "raw", [b"", b"HTTP/1.1", b"SSH-2.0 x", b"HTTP/1.1 200 OK", b"HTTP/1.1 two OK\r\ncontent-length: 1"]
)
def test_no_head(raw: bytes) -> None:
    """What is no answer, or does not say how long it is, is refused."""
    with pytest.raises(ValueError, match=r".*"):
        parse_head(raw)


def test_answer_with_binary_and_json_outputs() -> None:
    """Raw outputs are cut out in order, JSON outputs converted; the version is text."""
    document = {
        "model_version": 3,
        "outputs": [
            {"name": "a", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}},
            {"name": "b", "datatype": "INT32", "shape": [2], "data": [7, 8]},
            {"name": "c", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 6}},
        ],
    }
    head = orjson.dumps(document)
    answer = parse_answer(head + np.array([1, 2], np.float32).tobytes() + b"\2\0\0\0hi", len(head))
    assert answer.version == "3"
    assert answer.outputs["a"].tolist() == [[1.0, 2.0]]
    assert answer.outputs["b"].tolist() == [7, 8]
    assert answer.outputs["c"].tolist() == [b"hi"]


def test_too_short_answer() -> None:
    """An answer whose raw part is cut off is refused."""
    head = orjson.dumps(
        {"outputs": [{"name": "a", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}]}
    )
    with pytest.raises(ValueError, match=r".*"):
        parse_answer(head + b"1234", len(head))


def test_failure_reason() -> None:
    """The reason is taken from an error's body where there is one."""
    assert failure_reason(b'{"error": "queue full", "reason": "overloaded"}') == "overloaded"
    assert [failure_reason(body) for body in (b"", b"<html>", b"[1]", b"{}")] == [""] * 4
