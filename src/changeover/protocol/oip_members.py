"""The members of inputs and outputs, checked alike whether they were written in JSON or in protobuf.

Sizes are compared with each other and with the data at hand before anything is allocated for them.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import simdjson

from changeover.errors import InvalidRequest, TooLarge
from changeover.protocol.oip import (
    MAX_BYTES_ELEMENTS,
    MAX_PARAMETERS,
    MAX_RANK,
    MAX_TENSORS,
    RequestedOutput,
    describe,
    refusal,
)
from changeover.tensors import Datatype, Raw, bytes_offsets, element_count

NO_PARAMETERS: Final[Mapping[str, object]] = MappingProxyType({})

_DATATYPES = dict(Datatype.__members__)
_BYTES = Datatype.BYTES  # looking a member up in its class costs 0.1 µs
_MAX_ELEMENTS = 1 << 48


def missing(name: str, where: str) -> InvalidRequest:
    """The error for a member that must be there."""
    return InvalidRequest(f"{where}.{name}: this member is missing", reason="missing_field")


def text_of(members: Mapping[str, object], name: str, where: str) -> str:
    """A member that must be a string."""
    value = members.get(name)
    if isinstance(value, str):
        return value
    if value is None:
        raise missing(name, where)
    raise refusal(f"{where}.{name}", "a string", value)


def datatype_of(members: Mapping[str, object], where: str) -> Datatype:
    """The datatype of an input."""
    name = text_of(members, "datatype", where)
    datatype = _DATATYPES.get(name)
    if datatype is None:
        raise refusal(f"{where}.datatype", f"one of {', '.join(_DATATYPES)}", name, "unknown_datatype")
    return datatype


def shape_of(members: Mapping[str, object], where: str) -> tuple[int, ...]:
    """Dimensions whose product is bounded even where a 0 makes it vanish: numpy multiplies the others."""
    value = members.get("shape")
    if value is None:
        raise missing("shape", where)
    if not isinstance(value, (list, tuple, simdjson.Array)):
        raise refusal(f"{where}.shape", "a list of integers >= 0", value, "invalid_shape")
    if len(value) > MAX_RANK:
        raise refusal(f"{where}.shape", f"at most {MAX_RANK} dimensions", value, "invalid_shape")
    shape: list[int] = []
    product = 1
    for item in value:
        size = item if type(item) is int else integer(item)
        if size is None or size < 0:
            raise refusal(f"{where}.shape[{len(shape)}]", "an integer >= 0", item, "invalid_shape")
        shape.append(size)
        product *= size or 1
    if product > _MAX_ELEMENTS:
        raise refusal(f"{where}.shape", f"at most {_MAX_ELEMENTS} elements", product, "invalid_shape")
    return tuple(shape)


def integer(value: object) -> int | None:
    """An integer, 1.0 counting as one; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) else None


def check_bytes_elements(datatype: Datatype, count: int, where: str, room: int) -> None:
    """Refuse more elements of BYTES than a request has room for."""
    if datatype is _BYTES and count > room:
        message = f"{where}.shape: all BYTES tensors together have at most {MAX_BYTES_ELEMENTS} elements"
        raise TooLarge(message, reason="too_many_elements")


def check_tensor_count(count: int, where: str) -> None:
    """Refuse too many inputs, or outputs asked for."""
    if count > MAX_TENSORS:
        message = f"{where}: at most {MAX_TENSORS} are taken, got {count}"
        raise TooLarge(message, reason="too_many_tensors")


def check_parameter_count(count: int, where: str) -> None:
    """Refuse too many parameters of one thing."""
    if count > MAX_PARAMETERS:
        message = f"{where}.parameters: at most {MAX_PARAMETERS} are taken, got {count}"
        raise TooLarge(message, reason="too_many_parameters")


def check_input_once(name: str, seen: Container[str], where: str) -> None:
    """Refuse an input that was given already."""
    if name in seen:
        message = f"{where}.name: the input {describe(name)} is given twice"
        raise InvalidRequest(message, reason="duplicate_input")


def add_output(outputs: dict[str, RequestedOutput], output: RequestedOutput, where: str) -> None:
    """Take an output that is asked for; asked for again in the same way it is still one, in another way an error."""
    if outputs.setdefault(output.name, output) != output:
        message = f"{where}.name: the output {describe(output.name)} is asked for twice, in two ways"
        raise InvalidRequest(message, reason="duplicate_output")


def check_content(name: str, datatype: Datatype, shape: tuple[int, ...], data: Raw) -> None:
    """Check what the size alone does not tell: the lengths in BYTES, and that BOOL is made of 0 and 1."""
    if datatype is _BYTES:
        try:
            bytes_offsets(data, element_count(shape))
        except ValueError as error:
            raise InvalidRequest(f"input {name!r}: {error}", reason="malformed_bytes") from None
    elif len(data) and np.frombuffer(data, np.uint8).max() > 1:
        message = f"input {name!r}: expected bytes of 0 or 1, as BOOL is sent, got others"
        raise InvalidRequest(message, reason="value_out_of_range")
