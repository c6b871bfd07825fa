"""Requests and responses of gRPC's `ModelInfer`, bytes to messages and back.

Raw tensors are not copied: an input's data is a view of the message, an output's goes out as the view it is. The rest
of a request, its head, is much the same from one to the next, so it is kept parsed by its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from changeover.errors import InvalidRequest
from changeover.protocol.oip import InferRequest, Place
from changeover.protocol.oip_grpc_head import GrpcHead, GrpcInput, parse_head
from changeover.protocol.oip_grpc_messages import Parameter, as_parameters, encode
from changeover.protocol.oip_grpc_wire import (
    MAX_FIELDS,
    field,
    text,
    too_many_fields,
    write_prefix,
    write_text,
    wrong_form,
)
from changeover.protocol.oip_members import check_content
from changeover.protocol.oip_places import Placed, place_parameters
from changeover.tensors import Datatype, Raw, Tensor

_MODEL, _VERSION, _ID, _RAW = 0x0A, 0x12, 0x1A, 0x3A  # tags of a request's fields
_ROUTE, _CUT_OUT = (_MODEL >> 3, _VERSION >> 3), (_ID >> 3, _RAW >> 3)
_OF_REQUEST = "inference.ModelInferRequest"
_RESPONSE = "inference.ModelInferResponse"
_ANSWERED_ID, _RAW_OUTPUT = 3, 6  # numbers of a response's fields
_STREAMED = 2  # of the response in a message of a stream
_KEPT_HEAD = 1024  # bytes: longer heads hold data of their own, and seldom come twice
_KEPT_BEGINS = 128
_NO_PARAMETERS: Mapping[str, Parameter] = MappingProxyType({})
_keep_head = lru_cache(128)(parse_head)

Layout = tuple[str, Datatype, tuple[int, ...], Place | None]  # name, datatype, shape, place of one output


class GrpcAsked(NamedTuple):
    """A request, and whom it asks.

    Attributes:
        model: name of the model.
        version: the version asked for, "" when the server chooses.
        request: what is asked; all its outputs in raw form.
    """

    model: str
    version: str
    request: InferRequest


class _Begin(NamedTuple):
    """How a message begins that ends with its only raw tensor: all before those bytes, and the head in it."""

    written: bytes
    head: bytes


_BEGINS: Final[dict[int, _Begin]] = {}
"""By the size of the message. One that begins as the last one of its size did is cut in the same place."""


class Cut:
    """A `ModelInferRequest`, cut into its raw tensors, its id and the rest, its head; nothing of them was read (2 µs).

    Args:
        body: the whole message.

    Raises:
        InvalidRequest: `malformed_protobuf`.
        TooLarge: `too_many_fields`.
    """

    __slots__ = ("_head", "_id", "_pieces", "_raws")

    _head: bytes | None
    _pieces: list[memoryview]
    _raws: list[memoryview]

    def __init__(self, body: memoryview) -> None:
        self._id: Raw = b""
        end = len(body)
        known = _BEGINS.get(end)
        if known is not None and bytes(body[: len(known.written)]) == known.written:
            self._raws, self._pieces, self._head = [body[len(known.written) :]], [], known.head
        else:
            self._walk(body, end)

    def _walk(self, body: memoryview, end: int) -> None:
        raws: list[memoryview] = []
        pieces: list[memoryview] = []
        tag = start = kept = at = 0
        for _ in range(MAX_FIELDS):
            if at >= end:
                break
            begin = at
            tag, start, at = field(body, at)
            if tag == _RAW:
                raws.append(body[start:at])
            elif tag == _ID:
                self._id = body[start:at]
            elif tag >> 3 in _CUT_OUT:
                raise wrong_form(tag, _OF_REQUEST)
            else:
                continue
            if begin > kept:
                pieces.append(body[kept:begin])
            kept = at
        if at < end:
            raise too_many_fields()
        if end > kept:
            pieces.append(body[kept:])
        self._raws = raws
        self._pieces = pieces
        self._head = b"".join(pieces) if sum(map(len, pieces)) <= _KEPT_HEAD else None
        if tag == _RAW and len(raws) == 1 and start <= _KEPT_HEAD and not self._id and self._head is not None:
            if len(_BEGINS) == _KEPT_BEGINS:
                _BEGINS.clear()
            _BEGINS[end] = _Begin(bytes(body[:start]), self._head)

    def route(self) -> tuple[str, str]:
        """Model and version, "" for none.

        Raises:
            InvalidRequest: `malformed_protobuf`.
        """
        return _route(self._pieces) if self._head is None else _keep_route(self._head)

    def decode(self) -> GrpcAsked:
        """The request; inputs in raw form are views of the message.

        Raises:
            InvalidRequest: see the reasons in `oip`.
            TooLarge: too many tensors, parameters, fields, or elements of BYTES.
        """
        raws = self._raws
        if self._head is not None:
            parsed = _keep_head(self._head, bool(raws))
        else:
            pieces = self._pieces
            parsed = parse_head(pieces[0] if len(pieces) == 1 else b"".join(pieces), bool(raws))
        request_id = text(self._id, "id") if self._id else ""
        request = InferRequest(request_id, _bind(parsed, raws), parsed.outputs, parsed.parameters, binary_output=True)
        request.places = parsed.places
        return GrpcAsked(parsed.model, parsed.version, request)


def _route(pieces: Sequence[memoryview]) -> tuple[str, str]:
    """Of the last fields that name them, as the format has it."""
    model: Raw = b""
    version: Raw = b""
    for piece in pieces:
        at, end = 0, len(piece)
        while at < end:
            tag, start, at = field(piece, at)
            if tag == _MODEL:
                model = piece[start:at]
            elif tag == _VERSION:
                version = piece[start:at]
            elif tag >> 3 in _ROUTE:
                raise wrong_form(tag, _OF_REQUEST)
    return text(model, "model_name"), text(version, "model_version")


@lru_cache(128)
def _keep_route(head: bytes) -> tuple[str, str]:
    return _route([memoryview(head)])


def _bind(head: GrpcHead, raws: list[memoryview]) -> list[Tensor]:
    """Give a head's inputs their data."""
    if not raws:
        return [Tensor(given.name, given.datatype, given.shape, given.inline) for given in head.inputs]
    expected = len(head.inputs) - len(head.places)
    if len(raws) != expected:
        message = f"expected as many raw_input_contents as inputs that are in the message, {expected}, got {len(raws)}"
        raise InvalidRequest(message, reason="binary_size_mismatch")
    inputs, index = [], 0
    for given in head.inputs:
        data: Raw = given.inline
        if given.place is None:
            data = raws[index]
            if given.walked or len(data) != given.size:
                _check(given, index, data)
            index += 1
        inputs.append(Tensor(given.name, given.datatype, given.shape, data))
    return inputs


def _check(given: GrpcInput, index: int, data: memoryview) -> None:
    """Do the raw bytes of an input fit its shape?"""
    size = len(data)
    if size < given.size or (given.datatype.itemsize and size > given.size):
        expected = f"expected {given.size} bytes{'' if given.datatype.itemsize else ' or more'}"
        message = f"raw_input_contents[{index}]: {expected} of {given.datatype.name} as the shape says, got {size}"
        raise InvalidRequest(message, reason="shape_data_mismatch")
    if given.walked:
        check_content(given.name, given.datatype, given.shape, data)


def encode_response(
    model: str,
    version: str,
    request_id: str,
    outputs: Sequence[Tensor],
    parameters: Mapping[str, Parameter] = _NO_PARAMETERS,
) -> list[Raw]:
    """Encode a `ModelInferResponse`.

    Args:
        model: name of the model.
        version: version that gave the answer.
        request_id: the request's id, "" for none.
        outputs: the tensors, in the order they are sent in.
        parameters: of the answer, such as `triton_final_response`.

    Returns:
        The chunks of the message. All outputs go in raw form, as their own data, not a copy; one in shared memory is
        empty there.
    """
    layouts = [(t.name, t.datatype, t.shape, t.place if isinstance(t, Placed) else None) for t in outputs]
    head = encode_head(model, version, tuple(layouts))
    if request_id:
        head += write_text(_ANSWERED_ID, request_id)
    if parameters:
        head += encode(_RESPONSE, {"parameters": as_parameters(parameters)})
    chunks: list[Raw] = [head]
    for output in outputs:
        chunks += (_raw_prefix(len(output.data)), output.data)
    return chunks


@lru_cache(256)
def _raw_prefix(size: int) -> bytes:
    """What stands before an output's bytes."""
    return write_prefix(_RAW_OUTPUT, size)


def stream_response(answer: Sequence[Raw]) -> list[Raw]:
    """A `ModelStreamInferResponse` with an answer, the chunks of `encode_response`; they are not copied."""
    return [write_prefix(_STREAMED, sum(map(len, answer))), *answer]


def stream_error(sentence: str, answer: Mapping[str, Any]) -> bytes:
    """A `ModelStreamInferResponse` that says why a request of the stream has no answer; the stream goes on.

    Args:
        sentence: what a client shows; never empty, as that means no error.
        answer: fields of the `ModelInferResponse` beside it, by which a client knows which request it was.
    """
    return encode("inference.ModelStreamInferResponse", {"error_message": sentence, "infer_response": answer})


@lru_cache(256)
def encode_head(model: str, version: str, outputs: tuple[Layout, ...]) -> bytes:
    """All of a response but its id and its data."""
    heads: list[dict[str, Any]] = []
    for name, datatype, shape, place in outputs:
        heads.append({"name": name, "datatype": datatype.name, "shape": shape})
        if place is not None:
            heads[-1]["parameters"] = as_parameters(place_parameters(place))
    return encode(_RESPONSE, {"model_name": model, "model_version": version, "outputs": heads})
