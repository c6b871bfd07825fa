"""HTTP/1.1 and Open Inference Protocol from the caller's side: bytes of requests, meaning of answers. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from changeover.bench.spec import LoadSpec
from changeover.errors import InvalidRequest
from changeover.tensors import Datatype, Tensor, from_numpy

Array = NDArray[Any]


class ResponseHead(NamedTuple):
    """What the generator needs of an answer's head.

    Attributes:
        length: bytes of the body.
        json_length: bytes of the JSON part in front of raw tensors, or None when the body is all JSON.
        close: the server will close the connection.
        epoch: `changeover-epoch`, or -1.
    """

    status: int
    length: int
    json_length: int | None
    close: bool
    epoch: int


class Answer(NamedTuple):
    """A decoded answer: the version that gave it, and its outputs in their order."""

    version: str
    outputs: dict[str, Array]


def infer_request(spec: LoadSpec, sample: int, *, close: bool) -> bytes:
    """Return the complete request for one sample.

    Raises:
        InvalidRequest: an input has a type this generator cannot send.
    """
    body, json_length = _body(spec, sample)
    path = f"/v2/models/{spec.model}{f'/versions/{spec.version}' if spec.version else ''}/infer"
    lines = [f"POST {path} HTTP/1.1", f"host: {spec.host}:{spec.port}", f"content-length: {len(body)}"]
    if json_length is None:
        lines.append("content-type: application/json")
    else:
        lines.append("content-type: application/octet-stream")
        lines.append(f"inference-header-content-length: {json_length}")
    if close:
        lines.append("connection: close")
    lines += [f"{name}: {value}" for name, value in spec.headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _body(spec: LoadSpec, sample: int) -> tuple[bytes, int | None]:
    """Return the body and the length of its JSON part when raw tensors follow."""
    inputs, raw = [], []
    for name, samples in spec.inputs.items():
        array = samples[sample : sample + 1] if spec.batched else samples[sample]
        try:
            tensor = from_numpy(name, array)
        except ValueError as error:
            raise InvalidRequest(f"input {name} cannot be sent: {error}", reason="invalid_load") from None
        entry: dict[str, Any] = {"name": name, "datatype": tensor.datatype.name, "shape": tensor.shape}
        if spec.binary:
            entry["parameters"] = {"binary_data_size": len(tensor.data)}
            raw.append(bytes(tensor.data))
        else:
            entry["data"] = array.ravel().tolist()
        inputs.append(entry)
    if not spec.binary:
        return orjson.dumps({"inputs": inputs}), None
    head = orjson.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}})
    return head + b"".join(raw), len(head)


def parse_head(head: bytes) -> ResponseHead:
    """Read the head of an answer, without its closing empty line.

    Raises:
        ValueError: it is no HTTP/1.1 answer with a content-length.
    """
    first, *rest = head.decode("latin-1").split("\r\n")
    protocol, status = first.split(" ", 2)[:2]
    if not protocol.startswith("HTTP/1."):
        raise ValueError("no HTTP/1 answer")
    pairs = (line.partition(":") for line in rest)
    values = {name.strip().lower(): value.strip() for name, _, value in pairs}
    json_length = values.get("inference-header-content-length")
    return ResponseHead(
        status=int(status),
        length=int(values["content-length"]) if "content-length" in values else _bodiless(int(status)),
        json_length=None if json_length is None else int(json_length),
        close="close" in values.get("connection", "").lower(),
        epoch=int(values.get("changeover-epoch", -1)),
    )


def _bodiless(status: int) -> int:
    if status in (204, 304):
        return 0
    raise ValueError("an answer without content-length")


def parse_answer(body: bytes, json_length: int | None) -> Answer:
    """Decode the body of a 200 answer to an inference request.

    Raises:
        ValueError, KeyError, TypeError: it is not one.
    """
    document = orjson.loads(body if json_length is None else body[:json_length])
    outputs: dict[str, Array] = {}
    offset = json_length or 0
    for tensor in document["outputs"]:
        datatype, shape = Datatype[tensor["datatype"]], tuple(tensor["shape"])
        size = tensor.get("parameters", {}).get("binary_data_size")
        if size is None:
            values = np.asarray(tensor["data"], datatype.numpy).reshape(shape)
        else:
            values = Tensor(tensor["name"], datatype, shape, body[offset : offset + size]).numpy()
            offset += size
        outputs[tensor["name"]] = values
    return Answer(str(document.get("model_version", "")), outputs)


def failure_reason(body: bytes) -> str:
    """Return the `reason` of an error answer, or an empty text when it names none."""
    try:
        document = orjson.loads(body)
        return str(document.get("reason", "")) if isinstance(document, dict) else ""
    except orjson.JSONDecodeError:
        return ""
