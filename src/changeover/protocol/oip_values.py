"""JSON numbers, booleans and strings to the raw bytes of a tensor, and back.

Lists of numbers go from the parser straight into an array (`simdjson.Array.as_buffer`), without a Python object
for each; what that cannot take goes through a plain list, which also finds the element an error must name.

A number must fit its datatype: integers exactly (64 bits included), 1.0 counts as an integer, 1.5 does not; a
float may lose digits but not become infinite. Nesting is not compared with the shape: as in Triton, the elements
are taken in row-major order, flat or nested.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import simdjson

from changeover.errors import InvalidRequest
from changeover.protocol.oip import describe, refusal
from changeover.tensors import Datatype, Tensor, element_count, join_bytes, split_bytes

_Cell = Literal["d", "i", "u"]

_BF16 = Datatype.BF16  # looking a member up in its class costs 0.1 µs
_FLOATS = frozenset({Datatype.FP16, Datatype.FP32, Datatype.FP64, _BF16})
_WIDE: dict[_Cell, np.dtype[Any]] = {"d": np.dtype("<f8"), "i": np.dtype("<i8"), "u": np.dtype("<u8")}
_CELLS: dict[Datatype, _Cell] = {
    datatype: "d" if datatype in _FLOATS else "u" if datatype is Datatype.UINT64 else "i"
    for datatype in Datatype
    if datatype not in (Datatype.BOOL, Datatype.BYTES)
}
_KINDS: dict[Datatype, tuple[tuple[type, ...], str]] = {
    Datatype.BOOL: ((bool,), "true or false"),
    Datatype.BYTES: ((str,), "a string"),
}
_EXACT = 2.0**53  # below it a double is exactly the integer that was written


def decode_values(data: object, datatype: Datatype, count: int, where: str) -> bytes:
    """The raw bytes of a tensor whose `data` member is given.

    Args:
        data: a list, flat or nested, or the parser's own array of it.
        datatype: type of the elements.
        count: how many there must be.
        where: name of the member, for errors.

    Raises:
        InvalidRequest: `wrong_type`, `shape_data_mismatch` or `value_out_of_range`.
    """
    if isinstance(data, simdjson.Array):
        wide = _numbers(data, datatype)
        if wide is not None:
            check_count(wide.size, count, where)
            return _narrow(wide, datatype, where)
    elif not isinstance(data, list):
        raise refusal(where, "a list", data)
    values = _Leaves(datatype, where).of(data)
    check_count(len(values), count, where)
    return _pack(values, datatype, where)


def json_values(tensor: Tensor) -> npt.NDArray[Any] | list[str]:
    """The elements of a tensor as something orjson writes as a flat JSON array.

    JSON has no NaN and no infinity: orjson writes `null` for them, which numpy reads as NaN again. A client that
    must tell them apart asks for the output in binary form. FP16 and BF16 are written as the numbers they are.

    Raises:
        InvalidRequest: `bytes_not_utf8`.
        ValueError: the data does not fit the shape.
    """
    if tensor.datatype is Datatype.BYTES:
        return _texts(tensor)
    array = tensor.numpy().reshape(-1)
    if tensor.datatype is _BF16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array if array.flags.aligned else array.copy()


def _texts(tensor: Tensor) -> list[str]:
    try:
        return [element.decode() for element in split_bytes(tensor.data, element_count(tensor.shape))]
    except UnicodeDecodeError as error:
        message = f"output {tensor.name!r} is not UTF-8 text: ask for it in binary form (binary_data: true)"
        raise InvalidRequest(message, reason="bytes_not_utf8") from error


def _numbers(data: simdjson.Array, datatype: Datatype) -> npt.NDArray[Any] | None:
    """The elements as 64-bit numbers of the datatype's kind, or None when the slower way must look at them."""
    cell = _CELLS.get(datatype)
    if cell is None:
        return None
    try:
        return np.frombuffer(data.as_buffer(of_type=cell), _WIDE[cell])
    except (TypeError, ValueError):  # an element is of another kind, or over 64 bits
        if cell == "d":
            return None
    try:
        doubles = np.frombuffer(data.as_buffer(of_type="d"), _WIDE["d"])
    except (TypeError, ValueError):
        return None
    # Integers written as 1.0: taken while doubles are exact, which leaves out no integer under 2**53.
    integral = np.abs(doubles) < _EXACT
    integral &= np.trunc(doubles) == doubles
    integral &= doubles >= (0 if cell == "u" else -_EXACT)
    return doubles.astype(_WIDE[cell]) if integral.all() else None


def _narrow(wide: npt.NDArray[Any], datatype: Datatype, where: str) -> bytes:
    """64-bit numbers as the raw bytes of `datatype`; refuses what does not fit."""
    if datatype.itemsize == 8:
        return wide.tobytes()
    if datatype in _FLOATS:
        return _round(wide, datatype, where).tobytes()
    limits = np.iinfo(datatype.numpy)
    if wide.size and (wide.min() < limits.min or wide.max() > limits.max):
        index = int(((wide < limits.min) | (wide > limits.max)).argmax())
        raise out_of_range(where, index, wide[index].item(), datatype)
    return wide.astype(datatype.numpy).tobytes()


def _round(wide: npt.NDArray[Any], datatype: Datatype, where: str) -> npt.NDArray[Any]:
    """Doubles rounded to a shorter float (BF16 as its bits); JSON has no infinity, so none may come out."""
    short = np.dtype(np.float32) if datatype is _BF16 else datatype.numpy
    try:
        with np.errstate(over="raise"):  # the processor's own flag: a second pass costs as much as the first
            rounded = wide.astype(short)
    except FloatingPointError:
        with np.errstate(over="ignore"):
            rounded = wide.astype(short)
        infinite = np.isinf(rounded)
    else:
        if datatype is not _BF16:
            return rounded
        rounded = _bfloat16(rounded)
        infinite = (rounded & 0x7FFF) == 0x7F80
    if infinite.any():
        index = int(infinite.argmax())
        raise out_of_range(where, index, wide[index].item(), datatype)
    return rounded


def _bfloat16(array: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The bits of BF16: the upper half of FP32, rounded to nearest, ties to even."""
    bits = array.view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)


class _Leaves:
    """The elements of nested lists in row-major order; the depth was limited before parsing."""

    def __init__(self, datatype: Datatype, where: str) -> None:
        self._kinds, self._expected = _KINDS.get(datatype, ((int, float), f"a number ({datatype.name})"))
        self._where = where
        self._values: list[Any] = []

    def of(self, data: Any) -> list[Any]:
        """All elements, each of a type its datatype is made of; the first that is not ends it."""
        for value in data:
            kind = type(value)
            if kind in self._kinds:
                self._values.append(value)
            elif kind is simdjson.Array or kind is list:
                self.of(value)
            else:
                raise refusal(f"{self._where}[{len(self._values)}]", self._expected, value)
        return self._values


def _pack(values: list[Any], datatype: Datatype, where: str) -> bytes:
    """Elements of the right Python type as raw bytes."""
    if datatype is Datatype.BOOL:
        return bytes(values)
    if datatype is Datatype.BYTES:
        return join_bytes(values)
    if datatype in _FLOATS:
        return _narrow(np.array(values, np.float64), datatype, where)
    return np.array(_integers(values, datatype, where), datatype.numpy).tobytes()


def _integers(values: list[int | float], datatype: Datatype, where: str) -> list[int]:
    limits = np.iinfo(datatype.numpy)
    lowest, highest, integers = int(limits.min), int(limits.max), []
    for index, value in enumerate(values):
        # A double from 2**53 on may stand for another integer than the one that was written.
        if isinstance(value, float) and not (value.is_integer() and abs(value) < _EXACT):
            raise out_of_range(where, index, value, datatype)
        integers.append(int(value))
        if not lowest <= integers[-1] <= highest:
            raise out_of_range(where, index, integers[-1], datatype)
    return integers


def check_count(got: int, expected: int, where: str) -> None:
    """Refuse data of another number of elements than the shape has."""
    if got != expected:
        message = f"{where}: expected {expected} elements as the shape says, got {got}"
        raise InvalidRequest(message, reason="shape_data_mismatch")


def out_of_range(where: str, index: int, value: float, datatype: Datatype) -> InvalidRequest:
    """The error for element `index`, which its datatype cannot hold."""
    message = f"{where}[{index}]: expected a number that fits {datatype.name}, got {describe(value)}"
    return InvalidRequest(message, reason="value_out_of_range")
