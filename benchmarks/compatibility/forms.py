"""What a request is, and short ways to write one down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

LENGTH = "Inference-Header-Content-Length"
ARRAYS = {
    "FP32": np.float32,
    "FP16": np.float16,
    "BF16": np.uint16,
    "BOOL": np.bool_,
    "INT8": np.int8,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP64": np.float64,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT16": np.int16,
}


@dataclass(frozen=True, slots=True)
class Http:
    """A request over HTTP.

    Attributes:
        name: of the comparison, unique.
        until: repeat the request until it has this status, for what takes its time.
    """

    name: str
    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Grpc:
    """A call of `inference.GRPCInferenceService`; `message` is the request in protobuf's JSON form."""

    name: str
    method: str
    message: Mapping[str, Any]
    raw: tuple[bytes, ...] = ()


def get(name: str, path: str) -> Http:
    """A GET."""
    return Http(name, "GET", path)


def post(name: str, path: str, body: Any = None) -> Http:
    """A POST of JSON, or of bytes as they are."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return Http(name, "POST", path, data)


def tensor(name: str, datatype: str, shape: list[Any], data: Any, **parameters: Any) -> dict[str, Any]:
    """An input in JSON."""
    made = {"name": name, "datatype": datatype, "shape": shape, "data": data}
    return {**made, "parameters": parameters} if parameters else made


def infer(name: str, model: str, *inputs: Any, outputs: Any = None, **more: Any) -> Http:
    """An inference in JSON; `model` may have `/versions/V` after it."""
    body: dict[str, Any] = {"inputs": list(inputs), **more}
    if outputs is not None:
        body["outputs"] = outputs
    return post(name, f"/v2/models/{model}/infer", body)


def packed(datatype: str, values: Any) -> bytes:
    """A tensor's bytes on the wire."""
    if datatype == "BYTES":
        texts = [v if isinstance(v, bytes) else v.encode() for v in values]
        return b"".join(len(t).to_bytes(4, "little") + t for t in texts)
    return np.asarray(values, ARRAYS[datatype]).tobytes()


def binary(name: str, model: str, *inputs: Any, outputs: Any = None, **more: Any) -> Http:
    """The same with the inputs after the JSON; answers in binary form too, unless `outputs` says otherwise."""
    raws = [packed(i["datatype"], i["data"]) for i in inputs]
    told = [
        {**{k: v for k, v in i.items() if k != "data"}, "parameters": {"binary_data_size": len(raw)}}
        for i, raw in zip(inputs, raws, strict=True)
    ]
    body: dict[str, Any] = {"inputs": told, **more}
    if outputs is not None:
        body["outputs"] = outputs
    else:
        body.setdefault("parameters", {"binary_data_output": True})
    return framed(name, model, body, b"".join(raws))


def framed(name: str, model: str, head: Any, rest: bytes, length: int | str | None = None) -> Http:
    """A JSON header, bytes after it, and the length that is told of the header: its own, or a lie."""
    text = json.dumps(head).encode()
    told = str(len(text) if length is None else length)
    return Http(name, "POST", f"/v2/models/{model}/infer", text + rest, {LENGTH: told})


ROW = list(range(16))
ONES = [1] * 16


def pair(datatype: str = "INT32", rows: int = 1, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both inputs of `simple` and its relatives."""
    texts = datatype == "BYTES"
    first: list[Any] = [str(v) for v in ROW * rows] if texts else ROW * rows
    second: list[Any] = ["1"] * (16 * rows) if texts else ONES * rows
    return (
        {**tensor("INPUT0", datatype, [rows, 16], first), **more},
        tensor("INPUT1", datatype, [rows, 16], second),
    )


NUMBERS: Mapping[str, list[Any]] = {
    "FP64": [1e-300, 0.1],
    "UINT8": [0, 255],
    "UINT16": [1, 2**16 - 1],
    "UINT32": [1, 2**32 - 1],
    "UINT64": [1, 2**64 - 1],
    "INT16": [-(2**15), 2**15 - 1],
}
"""What the model `numbers` takes, by datatype; the inputs have their names in small letters."""


def x(datatype: str, data: Any, shape: list[Any] | None = None, **parameters: Any) -> dict[str, Any]:
    """The only input of the small models: [1, 4] unless told otherwise."""
    return tensor("x", datatype, [1, 4] if shape is None else shape, data, **parameters)
