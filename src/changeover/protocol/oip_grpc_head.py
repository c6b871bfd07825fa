"""The head of a gRPC inference request: all of it but the tensors in raw form and the id, checked.

A head is read by the table of its message into the same members as a JSON header has, and held against the same
rules (`oip_members`). What is not there is empty, as the format has it: no shape is the shape of a scalar.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import msgspec

from changeover.errors import InvalidRequest
from changeover.protocol.oip import MAX_BYTES_ELEMENTS, Place, RequestedOutput, refusal
from changeover.protocol.oip_grpc_contents import raw_data
from changeover.protocol.oip_grpc_messages import chosen, read
from changeover.protocol.oip_grpc_scalars import SCALARS
from changeover.protocol.oip_grpc_schema import MESSAGES, Slot, Table
from changeover.protocol.oip_grpc_wire import LENGTH, Fields
from changeover.protocol.oip_members import (
    NO_PARAMETERS,
    add_output,
    check_bytes_elements,
    check_input_once,
    check_parameter_count,
    check_tensor_count,
    datatype_of,
    missing,
    shape_of,
    text_of,
)
from changeover.protocol.oip_places import check_place, place_of
from changeover.tensors import Datatype, Raw

_BYTES = Datatype.BYTES
_CLASSES = "classification"
_WALKED = (Datatype.BOOL, Datatype.BYTES)


def _with_unread_contents(request: Table) -> Table:
    """The table of a request whose inputs have their `contents` as bytes: they are not made lists of numbers."""
    inputs = request.slots["inputs"]
    contents = inputs.table.slots["contents"]
    unread = Slot(contents.name, contents.number, "bytes", many=True, scalar=SCALARS["bytes"])
    by_tag = inputs.table.by_tag | {contents.number << 3 | LENGTH: unread}
    defaults = {**inputs.table.defaults, contents.name: ()}
    table = replace(inputs.table, by_tag=by_tag, defaults=defaults)
    own = {inputs.number << 3 | LENGTH: replace(inputs, message=table)}
    return replace(request, by_tag=request.by_tag | own)


_TABLE: Final = _with_unread_contents(MESSAGES["inference.ModelInferRequest"])


class GrpcInput(msgspec.Struct, frozen=True):
    """What a head says of one input.

    Attributes:
        name: name of the input.
        datatype: type of its elements.
        shape: its dimensions.
        inline: the raw bytes of its typed contents.
        size: bytes it must have in raw form; for BYTES at least so many.
        walked: its raw bytes must be looked at too (BOOL, BYTES).
        place: where it is instead, in shared memory.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    inline: Raw
    size: int
    walked: bool
    place: Place | None


class GrpcHead(msgspec.Struct, frozen=True):
    """A head, checked; of equal bytes comes an equal value, so it can be kept.

    Attributes:
        model: name of the model.
        version: the version asked for, "" for none.
        inputs: its inputs, in the order of their raw contents.
        outputs: as in `InferRequest`, like `parameters` and `places`.
    """

    model: str
    version: str
    inputs: tuple[GrpcInput, ...]
    outputs: tuple[RequestedOutput, ...] | None
    parameters: Mapping[str, object]
    places: tuple[tuple[int, Place], ...]


def parse_head(head: Raw, raw: bool) -> GrpcHead:
    """Read and check the fields of a `ModelInferRequest` without `id` and `raw_input_contents`.

    Args:
        head: the fields; typed floats are views of it.
        raw: `raw_input_contents` come with them, so no input may have its own.

    Raises:
        InvalidRequest: see the reasons in `oip`.
        TooLarge: too many tensors, parameters, fields, or elements of BYTES.
    """
    fields = Fields()
    members = read(_TABLE, memoryview(head), fields)
    inputs = _inputs(members["inputs"], raw, fields)
    return GrpcHead(
        model=members["model_name"],
        version=members["model_version"],
        inputs=inputs,
        outputs=_outputs(members["outputs"]),
        parameters=_parameters(members["parameters"], "request"),
        places=tuple([(index, given.place) for index, given in enumerate(inputs) if given.place is not None]),
    )


def _inputs(given: Sequence[dict[str, Any]], raw: bool, fields: Fields) -> tuple[GrpcInput, ...]:
    check_tensor_count(len(given), "inputs")
    inputs: dict[str, GrpcInput] = {}
    elements = 0
    for index, members in enumerate(given):
        where = f"inputs[{index}]"
        taken = _input(members, where, MAX_BYTES_ELEMENTS - elements)
        if taken.datatype is _BYTES:
            elements += math.prod(taken.shape)
        check_input_once(taken.name, inputs, where)
        inputs[taken.name] = _with_data(taken, members["contents"], raw, where, fields)
    return tuple(inputs.values())


def _input(members: Mapping[str, Any], where: str, room: int) -> GrpcInput:
    name, datatype, shape = text_of(members, "name", where), datatype_of(members, where), shape_of(members, where)
    count = math.prod(shape)
    check_bytes_elements(datatype, count, where, room)
    place = place_of(_parameters(members["parameters"], where), where)
    if place is not None:
        check_place(place, datatype, count, where)
    # An element of BYTES has at least its length.
    return GrpcInput(name, datatype, shape, b"", count * (datatype.itemsize or 4), datatype in _WALKED, place)


def _with_data(given: GrpcInput, contents: Sequence[memoryview], raw: bool, where: str, fields: Fields) -> GrpcInput:
    """An input with its typed contents; it must have its data in one place."""
    if contents and (raw or given.place is not None):
        other = "raw_input_contents" if given.place is None else "parameters.shared_memory_region"
        raise InvalidRequest(f"{where}: expected either contents or {other}, got both", reason="conflicting_data")
    if raw or given.place is not None:
        return given
    if not contents:
        raise missing("contents", where)
    data = raw_data(contents, given.datatype, math.prod(given.shape), f"{where}.contents", fields)
    return msgspec.structs.replace(given, inline=data)


def _outputs(given: Sequence[dict[str, Any]]) -> tuple[RequestedOutput, ...] | None:
    """The outputs asked for; none means all."""
    check_tensor_count(len(given), "outputs")
    outputs: dict[str, RequestedOutput] = {}
    for index, members in enumerate(given):
        where = f"outputs[{index}]"
        name, parameters = members["name"], _parameters(members["parameters"], where)
        place = place_of(parameters, where)
        if parameters.get(_CLASSES) == 0:
            raise refusal(f"{where}.parameters.{_CLASSES}", "one class or more", 0)
        add_output(outputs, RequestedOutput(name, place is None, parameters, place), where)
    return tuple(outputs.values()) or None


def _parameters(given: Mapping[str, dict[str, object]], where: str) -> Mapping[str, object]:
    """The parameters as plain values."""
    if not given:
        return NO_PARAMETERS
    check_parameter_count(len(given), where)
    return MappingProxyType(chosen(given, f"{where}.parameters"))
