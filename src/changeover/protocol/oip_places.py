"""Tensors that are not in the message but in a shared memory region. Pure.

Source: Triton's "Shared-Memory Extension": the parameters `shared_memory_region`, `shared_memory_byte_size` and
`shared_memory_offset` of an input or of an output asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from changeover.protocol.oip import Place, refusal
from changeover.protocol.oip_members import integer, missing
from changeover.tensors import Datatype, Tensor


@dataclass(slots=True)
class Placed(Tensor):
    """An output whose data was written to shared memory; its own is empty."""

    place: Place


_REGION, _SIZE, _OFFSET = "shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"


def place_of(parameters: Mapping[str, object], where: str) -> Place | None:
    """Where the tensor with these parameters is; None when it is in the message.

    Raises:
        InvalidRequest: `missing_field`: only one of region and size is given; `wrong_type`.
    """
    if _REGION not in parameters and _SIZE not in parameters:
        return None
    for name in (_REGION, _SIZE):
        if name not in parameters:
            raise missing(name, f"{where}.parameters")
    region = parameters[_REGION]
    if not isinstance(region, str):
        raise refusal(f"{where}.parameters.{_REGION}", "a string", region)
    return Place(region, _number(parameters, _OFFSET, where), _number(parameters, _SIZE, where))


def _number(parameters: Mapping[str, object], name: str, where: str) -> int:
    value = parameters.get(name, 0)
    number = integer(value)
    if number is None or not 0 <= number < 1 << 62:
        raise refusal(f"{where}.parameters.{name}", "an integer >= 0", value)
    return number


def check_place(place: Place, datatype: Datatype, count: int, where: str) -> None:
    """Refuse a place that is not as large as the `count` elements that are said to be in it."""
    least, exact = count * (datatype.itemsize or 4), bool(datatype.itemsize)
    if place.size < least or (exact and place.size > least):
        expected = f"{least} bytes{'' if exact else ' or more'} ({count} x {datatype.name})"
        raise refusal(f"{where}.parameters.{_SIZE}", expected, place.size, "shape_data_mismatch")


def place_parameters(place: Place) -> dict[str, Any]:
    """The parameters that say so in an answer."""
    offset = {_OFFSET: place.offset} if place.offset else {}
    return {_REGION: place.region, **offset, _SIZE: place.size}
