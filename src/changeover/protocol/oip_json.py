"""The JSON header of an inference request: text to `ParsedHeader`, checked member by member.

Unknown members are ignored, as Triton does; `null` counts as absent where a member is optional; a member given
twice has no defined meaning. Sizes in the header are compared with each other and with the data at hand before
anything is allocated for them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import simdjson

from changeover.errors import InvalidRequest
from changeover.protocol.json_text import CUT_OUT, load
from changeover.protocol.oip import MAX_BYTES_ELEMENTS, SHOWN, InputHead, ParsedHeader, RequestedOutput, refusal
from changeover.protocol.oip_members import (
    NO_PARAMETERS,
    add_output,
    check_bytes_elements,
    check_input_once,
    check_parameter_count,
    check_tensor_count,
    datatype_of,
    integer,
    missing,
    shape_of,
    text_of,
)
from changeover.protocol.oip_places import check_place, place_of
from changeover.protocol.oip_values import decode_values
from changeover.tensors import Datatype

_REQUEST_MEMBERS = frozenset({"id", "inputs", "outputs", "parameters"})
_INPUT_MEMBERS = frozenset({"name", "datatype", "shape", "data", "parameters"})
_OUTPUT_MEMBERS = frozenset({"name", "parameters"})
_BYTES = Datatype.BYTES  # looking a member up in its class costs 0.1 µs
_WALKED = (Datatype.BOOL, Datatype.BYTES)
_IN_HEADER = slice(0, 0)
_CUT_OUT_DATA = memoryview(b"")
_ELSEWHERE = memoryview(b"")


def parse_header(header: bytes) -> ParsedHeader:
    """Read and check a request's JSON header.

    Args:
        header: the JSON text, the whole body when nothing comes behind it.

    Raises:
        InvalidRequest: see the reasons in `oip`.
        TooLarge: too many tensors, or elements of BYTES.
    """
    parsed = parse_skeleton(header)
    if parsed.cut_out is not None:
        raise refusal(f"inputs[{parsed.cut_out}].data", "a list", CUT_OUT)
    return parsed


def parse_skeleton(skeleton: bytes) -> ParsedHeader:
    """Read and check a JSON header in which `CUT_OUT` stands for the data of one input (`cut_array`).

    Raises:
        InvalidRequest: see the reasons in `oip`.
        TooLarge: too many tensors, or elements of BYTES.
    """
    document = load(skeleton)
    request = _members(document, _REQUEST_MEMBERS)
    if request is None:
        raise refusal("request", "a JSON object", document, "malformed_json")
    parameters = _parameters(request, "request")
    binary_output = _flag(parameters, "binary_data_output", "request", default=False)
    inputs, size = _inputs(request.get("inputs"))
    return ParsedHeader(
        id="" if request.get("id") is None else text_of(request, "id", "request"),
        inputs=inputs,
        outputs=_outputs(request.get("outputs"), default=binary_output),
        parameters=parameters,
        binary_output=binary_output,
        payload_size=size,
        walked=tuple([i for i, head in enumerate(inputs) if head.inline is None and head.datatype in _WALKED]),
        places=tuple([(i, head.place) for i, head in enumerate(inputs) if head.place is not None]),
        cut_out=next((i for i, head in enumerate(inputs) if head.inline is _CUT_OUT_DATA), None),
    )


def _members(value: object, wanted: frozenset[str]) -> dict[str, object] | None:
    """The wanted members of a JSON object that are there; None when it is no object."""
    if isinstance(value, simdjson.Object):  # asking it for a member that is not there throws inside (2 µs)
        return {name: value[name] for name in wanted.intersection(value)}
    return value if isinstance(value, dict) else None


def _inputs(value: object) -> tuple[tuple[InputHead, ...], int]:
    """The heads of all inputs, and the number of bytes that must come behind the header."""
    if value is None:
        raise missing("inputs", "request")
    heads: dict[str, InputHead] = {}
    size = elements = 0
    for where, members in _objects(value, _INPUT_MEMBERS, "inputs"):
        head = _input(members, where, size, MAX_BYTES_ELEMENTS - elements)
        if head.datatype is _BYTES:
            elements += math.prod(head.shape)
        check_input_once(head.name, heads, where)
        heads[head.name] = head
        size = max(size, head.part.stop)
    return tuple(heads.values()), size


def _input(members: Mapping[str, object], where: str, at: int, room: int) -> InputHead:
    """One input; its raw bytes, if they come behind the header, begin at `at`. `room`: elements of BYTES left."""
    name, datatype, shape = text_of(members, "name", where), datatype_of(members, where), shape_of(members, where)
    count = math.prod(shape)
    check_bytes_elements(datatype, count, where, room)
    parameters = _parameters(members, where)
    data = members.get("data")
    place = place_of(parameters, where)
    if place is not None:
        return _elsewhere(InputHead(name, datatype, shape, _ELSEWHERE, _IN_HEADER, place), data, parameters, where)
    if "binary_data_size" not in parameters:
        if data is None:
            raise missing("data", where)
        if data == CUT_OUT:
            return InputHead(name, datatype, shape, _CUT_OUT_DATA, _IN_HEADER)
        inline = decode_values(data, datatype, count, f"{where}.data")
        return InputHead(name, datatype, shape, inline, _IN_HEADER)
    if data is not None:
        message = f"{where}: expected either data or parameters.binary_data_size, got both"
        raise InvalidRequest(message, reason="conflicting_data")
    end = at + _binary_size(parameters, datatype, count, f"{where}.parameters")
    return InputHead(name, datatype, shape, None, slice(at, end))


def _elsewhere(head: InputHead, data: object, parameters: Mapping[str, object], where: str) -> InputHead:
    """The head of an input in shared memory, which has its data nowhere else and is as large as its shape."""
    if data is not None or "binary_data_size" in parameters:
        message = f"{where}: expected either data or parameters.shared_memory_region, got both"
        raise InvalidRequest(message, reason="conflicting_data")
    if head.place is not None:
        check_place(head.place, head.datatype, math.prod(head.shape), where)
    return head


def _binary_size(parameters: Mapping[str, object], datatype: Datatype, count: int, where: str) -> int:
    where, value = f"{where}.binary_data_size", parameters["binary_data_size"]
    size = integer(value)
    if size is None or size < 0:
        raise refusal(where, "an integer >= 0", value)
    least = count * (datatype.itemsize or 4)  # an element of BYTES has at least its length
    if size < least or (datatype.itemsize and size > least):
        expected = f"{least} bytes{'' if datatype.itemsize else ' or more'} ({count} x {datatype.name})"
        raise refusal(where, expected, size, "shape_data_mismatch")
    return size


def _outputs(value: object, *, default: bool) -> tuple[RequestedOutput, ...] | None:
    """The outputs asked for; none asked for, or an empty list, means all."""
    if value is None:
        return None
    outputs: dict[str, RequestedOutput] = {}
    for where, members in _objects(value, _OUTPUT_MEMBERS, "outputs"):
        name, parameters = text_of(members, "name", where), _parameters(members, where)
        place = place_of(parameters, where)
        binary = _flag(parameters, "binary_data", where, default=default)
        add_output(outputs, RequestedOutput(name, binary and place is None, parameters, place), where)
    return tuple(outputs.values()) or None


def _objects(value: object, wanted: frozenset[str], where: str) -> Iterator[tuple[str, dict[str, object]]]:
    """The objects of a list: each one's place, for errors, and its wanted members."""
    if not isinstance(value, (list, simdjson.Array)):
        raise refusal(where, "a list of objects", value)
    check_tensor_count(len(value), where)
    for index, item in enumerate(value):
        members = _members(item, wanted)
        if members is None:
            raise refusal(f"{where}[{index}]", "an object", item)
        yield f"{where}[{index}]", members


def _parameters(members: Mapping[str, object], where: str) -> Mapping[str, object]:
    value = members.get("parameters")
    if value is None:
        return NO_PARAMETERS
    if not isinstance(value, (dict, simdjson.Object)):
        raise refusal(f"{where}.parameters", "an object", value)
    check_parameter_count(len(value), where)
    if any("\0" in name for name in value):  # the parser cannot look such a name up
        raise refusal(f"{where}.parameters", "names without NUL", value)
    parameters: dict[str, object] = {name: value[name] for name in value}
    for name, item in parameters.items():
        if not isinstance(item, (str, int, float)):  # bool is an int
            raise refusal(f"{where}.parameters.{name[:SHOWN]}", "a string, a number, true or false", item)
    return MappingProxyType(parameters)


def _flag(parameters: Mapping[str, object], name: str, where: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise refusal(f"{where}.parameters.{name}", "true or false", value)
    return value
