"""Requests and responses as they travel over HTTP: a JSON header, then the raw bytes of tensors.

The header's length comes in `Inference-Header-Content-Length`; without it the whole body is JSON. Raw bytes are
not copied: an input's data is a view of the body, an output's data goes out as the view it is.
Source: Triton's "Binary Tensor Data Extension" of the protocol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson

from changeover.errors import CallerError, InvalidRequest, ModelRunFailed
from changeover.protocol.json_text import cut_array, load
from changeover.protocol.oip import MAX_DEPTH, InferRequest, ParsedHeader
from changeover.protocol.oip_json import parse_header, parse_skeleton
from changeover.protocol.oip_members import check_content
from changeover.protocol.oip_places import Placed, place_parameters
from changeover.protocol.oip_values import decode_values, json_values
from changeover.tensors import Datatype, Raw, Tensor, element_count

_KEPT_HEADER = 1024  # bytes: longer headers hold data of their own, and seldom come twice
_keep_parsed = lru_cache(128)(parse_header)
_keep_skeleton = lru_cache(128)(parse_skeleton)
_DATA_DEPTH = 3  # data is in an input, in the inputs, in the request
_NOTHING = memoryview(b"")

Layout = tuple[str, Datatype, tuple[int, ...], int]  # name, datatype, shape, bytes of one output


def decode(body: memoryview, header_length: int | None) -> InferRequest:
    """Decode the body of an inference request.

    A client sends the same header again and again, so short headers are kept parsed.

    Args:
        body: the whole body; binary inputs are views of it.
        header_length: bytes of its JSON header, None when all of it is JSON.

    Raises:
        InvalidRequest: see the reasons in `oip`.
        TooLarge: too many tensors, or elements of BYTES.
    """
    if header_length is None:
        text = bytes(body)
        return _decode_repeated(text) or bind(parse_header(text), _NOTHING)
    if not 0 < header_length <= len(body):
        message = f"expected a JSON header of 1 to {len(body)} bytes, got {header_length} as its length"
        raise InvalidRequest(message, reason="header_length_mismatch")
    parse = _keep_parsed if header_length <= _KEPT_HEADER else parse_header
    return bind(parse(bytes(body[:header_length])), body[header_length:])


def _decode_repeated(text: bytes) -> InferRequest | None:
    """Decode JSON whose text beside one array of data is short and may have been seen; None if it is not so.

    What this way cannot take, or refuses for its syntax, is left to the parser of the whole text.
    """
    cut = cut_array(text)
    if cut is None or len(cut[0]) > _KEPT_HEADER:
        return None
    try:
        header, array = _keep_skeleton(cut[0]), load(cut[1], MAX_DEPTH - _DATA_DEPTH)
    except CallerError:
        return None
    if header.cut_out is None:
        return None
    head = header.inputs[header.cut_out]
    where = f"inputs[{header.cut_out}].data"
    data = decode_values(array, head.datatype, element_count(head.shape), where)  # refused before what `bind` refuses
    request = bind(header, _NOTHING)
    request.inputs[header.cut_out].data = data
    return request


def bind(header: ParsedHeader, payload: memoryview) -> InferRequest:
    """Give a parsed header the raw bytes that came behind it (1 µs for one input).

    Raises:
        InvalidRequest: `binary_size_mismatch`, `malformed_bytes` or `value_out_of_range`.
    """
    if len(payload) != header.payload_size:
        expected = f"expected {header.payload_size} bytes of binary data behind the JSON header"
        raise InvalidRequest(f"{expected}, got {len(payload)}", reason="binary_size_mismatch")
    inputs = [
        Tensor(head.name, head.datatype, head.shape, payload[head.part] if head.inline is None else head.inline)
        for head in header.inputs
    ]
    for index in header.walked:
        tensor = inputs[index]
        check_content(tensor.name, tensor.datatype, tensor.shape, tensor.data)
    request = InferRequest(header.id, inputs, header.outputs, header.parameters, header.binary_output)
    if header.places:
        request.places = header.places
    return request


def encode_response(
    model: str, version: str, request_id: str, outputs: Sequence[Tensor], binary: Sequence[bool]
) -> tuple[list[Raw], int | None]:
    """Encode an answer.

    Args:
        model: name of the model.
        version: version that gave the answer.
        request_id: the request's id, "" for none.
        outputs: the tensors, in the order they are sent in.
        binary: for each output whether it goes as raw bytes (`InferRequest.binary_flags`).

    Returns:
        The chunks of the body, and the length of its JSON header; None when nothing comes behind it. Raw bytes are the
        outputs' own data, not a copy. NaN and infinity in JSON become `null`, see `oip_values.json_values`.

    Raises:
        InvalidRequest: `bytes_not_utf8`.
        ModelRunFailed: `malformed_output`, an output's data does not fit its shape.
    """
    if outputs and all(binary):
        header = encode_header(model, version, tuple([(t.name, t.datatype, t.shape, len(t.data)) for t in outputs]))
    else:
        header = _encode_mixed(model, version, outputs, binary)
    if request_id:
        header = b'{"id":' + orjson.dumps(request_id) + b"," + header[1:]
    raws = [tensor.data for tensor, raw in zip(outputs, binary, strict=True) if raw and len(tensor.data)]
    return [header, *raws], len(header) if raws else None


def with_parameters(
    chunks: list[Raw], header_length: int | None, parameters: Mapping[str, bool]
) -> tuple[list[Raw], int | None]:
    """What `encode_response` gave, with parameters of the answer."""
    header = b'{"parameters":' + orjson.dumps(dict(parameters)) + b"," + bytes(chunks[0])[1:]
    return [header, *chunks[1:]], None if header_length is None else len(header)


@lru_cache(256)
def encode_header(model: str, version: str, outputs: tuple[Layout, ...]) -> bytes:
    """The JSON header of an answer without id, all of whose outputs go as raw bytes."""
    heads = [_head(*layout) | {"parameters": {"binary_data_size": layout[3]}} for layout in outputs]
    return orjson.dumps({"model_name": model, "model_version": version, "outputs": heads})


def _encode_mixed(model: str, version: str, outputs: Sequence[Tensor], binary: Sequence[bool]) -> bytes:
    """The JSON header of an answer some of whose outputs are in it."""
    heads = []
    for output, raw in zip(outputs, binary, strict=True):
        size = len(output.data)
        head = _head(output.name, output.datatype, output.shape, size)
        if isinstance(output, Placed):
            head["parameters"] = place_parameters(output.place)
        elif raw:
            head["parameters"] = {"binary_data_size": size}
        else:
            head["data"] = _values(output)
        heads.append(head)
    document = {"model_name": model, "model_version": version, "outputs": heads}
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def _head(name: str, datatype: Datatype, shape: tuple[int, ...], _size: int) -> dict[str, Any]:
    return {"name": name, "datatype": datatype.name, "shape": shape}


def _values(output: Tensor) -> object:
    try:
        return json_values(output)
    except ValueError as error:
        raise ModelRunFailed(f"output {output.name!r}: {error}", reason="malformed_output") from error
