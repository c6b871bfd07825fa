"""Tensors as the Open Inference Protocol (OIP) sees them: a name, a datatype, a shape and raw bytes.

Raw bytes are little endian and in C order, as on the wire and in a worker's slot. BYTES tensors are in the
serialised form of Triton: each element is a 4-byte little-endian length followed by that many bytes. In this
form whole rows can be put one after the other, or cut apart, without looking at an element's content.
"""

from __future__ import annotations

import enum
import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Raw = bytes | memoryview

_LENGTH = struct.Struct("<I")


class Datatype(enum.IntEnum):
    """The datatypes of OIP; the value is the code used between processes and never changes.

    Attributes:
        itemsize: bytes of one element, 0 for BYTES.
        numpy: dtype of `Tensor.numpy()`; numpy has no BF16, so its raw 16 bits are given.
        onnx: the type's name in an ONNX Runtime `NodeArg.type`.
    """

    itemsize: int
    numpy: np.dtype[Any]
    onnx: str

    def __new__(cls, code: int, itemsize: int, dtype: str, onnx: str) -> Self:
        """Make a member from its code, element size in bytes, numpy dtype and ONNX element type."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.itemsize = itemsize
        member.numpy = np.dtype(dtype)
        member.onnx = f"tensor({onnx})"
        return member

    BOOL = 1, 1, "?", "bool"
    UINT8 = 2, 1, "u1", "uint8"
    UINT16 = 3, 2, "<u2", "uint16"
    UINT32 = 4, 4, "<u4", "uint32"
    UINT64 = 5, 8, "<u8", "uint64"
    INT8 = 6, 1, "i1", "int8"
    INT16 = 7, 2, "<i2", "int16"
    INT32 = 8, 4, "<i4", "int32"
    INT64 = 9, 8, "<i8", "int64"
    FP16 = 10, 2, "<f2", "float16"
    FP32 = 11, 4, "<f4", "float"
    FP64 = 12, 8, "<f8", "double"
    BYTES = 13, 0, "O", "string"
    BF16 = 14, 2, "<u2", "bfloat16"

    @classmethod
    def from_onnx(cls, onnx: str) -> Datatype:
        """The datatype of an ONNX type string such as `tensor(float)`.

        Raises:
            ValueError: OIP has no such type (a sequence, a map, a complex number, a 4- or 8-bit float).
        """
        for member in cls:
            if member.onnx == onnx:
                return member
        raise ValueError(f"the ONNX type {onnx!r} has no datatype in the Open Inference Protocol")

    @classmethod
    def from_numpy(cls, dtype: np.dtype[Any]) -> Datatype:
        """The datatype that holds arrays of `dtype`; object, `S` and `U` arrays are BYTES.

        Raises:
            ValueError: OIP has no such type.
        """
        if dtype.kind in "OSU":
            return cls.BYTES
        for member in cls:
            if member.numpy == dtype and member is not cls.BF16:
                return member
        raise ValueError(f"numpy's {dtype} has no datatype in the Open Inference Protocol")


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output as a model declares it; a dimension of -1 takes any size."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape is what was declared."""
        return len(shape) == len(self.shape) and all(
            want in (-1, got) for got, want in zip(shape, self.shape, strict=True)
        )


@dataclass(slots=True)
class Tensor:
    """One tensor with its data.

    Attributes:
        name: name of the model's input or output.
        datatype: type of the elements.
        shape: dimensions, all >= 0; the first counts the rows of a batch.
        data: raw bytes, or a flat view of bytes somebody else owns.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    data: Raw

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of a fixed-size type.

        Raises:
            ValueError: the tensor is BYTES, whose rows differ in size, or has no rows.
        """
        if not self.datatype.itemsize or not self.shape:
            raise ValueError(f"{self.name}: rows of {self.datatype.name}{list(self.shape)} have no fixed size")
        return self.datatype.itemsize * math.prod(self.shape[1:])

    def numpy(self) -> npt.NDArray[Any]:
        """The tensor as an array: a view of `data` without a copy, an object array of `bytes` for BYTES.

        Raises:
            ValueError: the data does not fit the shape.
        """
        if self.datatype is Datatype.BYTES:
            elements = split_bytes(self.data, element_count(self.shape))
            array = np.empty(len(elements), dtype=object)
            array[:] = elements
            return array.reshape(self.shape)
        return np.frombuffer(self.data, self.datatype.numpy).reshape(self.shape)

    def readable(self) -> npt.NDArray[Any]:
        """The same as a session takes it: texts are `str`.

        Raises:
            ValueError: the data does not fit the shape, or a text is not UTF-8.
        """
        array = self.numpy()
        if self.datatype is not Datatype.BYTES:
            return array
        texts = np.empty(array.size, object)
        texts[:] = [text.decode() for text in array.flat]
        return texts.reshape(array.shape)


def from_numpy(name: str, array: npt.NDArray[Any], datatype: Datatype | None = None) -> Tensor:
    """Make a tensor of an array, without a copy where the array is contiguous.

    Args:
        name: name of the tensor.
        array: any array; one of objects or strings becomes BYTES (`str` is encoded as UTF-8).
        datatype: needed for BF16 only, whose raw bits come as `uint16`.

    Raises:
        ValueError: OIP has no such type, or the array's type is not that of `datatype`.
    """
    datatype = datatype or Datatype.from_numpy(array.dtype)
    if datatype is Datatype.BYTES:
        return Tensor(name, datatype, array.shape, join_bytes(array.ravel().tolist()))
    if array.dtype != datatype.numpy:
        raise ValueError(f"{name}: {datatype.name} is made of {datatype.numpy}, not of {array.dtype}")
    return Tensor(name, datatype, array.shape, flat_bytes(array))


def flat_bytes(array: npt.NDArray[Any]) -> memoryview:
    """The bytes of an array in C order, as a view where the array is contiguous."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def element_count(shape: Iterable[int]) -> int:
    """Number of elements of a shape without free dimensions; 1 for a scalar."""
    return math.prod(shape)


def join_bytes(items: Iterable[bytes | str]) -> bytes:
    """Serialise the elements of a BYTES tensor; `str` is encoded as UTF-8."""
    parts: list[bytes] = []
    for item in items:
        element = item.encode() if isinstance(item, str) else item
        parts += (_LENGTH.pack(len(element)), element)
    return b"".join(parts)


def split_bytes(data: Raw, count: int) -> list[bytes]:
    """The elements of a serialised BYTES tensor.

    Raises:
        ValueError: `data` is not exactly `count` elements.
    """
    offsets = bytes_offsets(data, count)
    return [bytes(data[start + 4 : stop]) for start, stop in pairwise(offsets)]


def bytes_offsets(data: Raw, count: int) -> list[int]:
    """Where the elements of a serialised BYTES tensor begin, then the end: `count` + 1 offsets into `data`.

    Raises:
        ValueError: `data` is not exactly `count` elements. Nothing is allocated for elements that are not there.
    """
    size, at, offsets, unpack = len(data), 0, [0], _LENGTH.unpack_from
    for index in range(count):
        if at + 4 > size:
            raise ValueError(f"expected {count} elements, got {index} in {size} bytes")
        at += 4 + unpack(data, at)[0]
        offsets.append(at)
    if at != size:
        raise ValueError(f"expected {count} elements that fill {size} bytes, got elements of {at} bytes")
    return offsets


def split_rows(tensor: Tensor, counts: Sequence[int]) -> list[Tensor]:
    """Cut a batch into tensors of `counts` rows each, as views of the same data.

    Raises:
        ValueError: the counts do not add up to the rows, or the data does not fit the shape.
    """
    if not tensor.shape or sum(counts) != tensor.shape[0]:
        raise ValueError(f"{tensor.name}: cannot cut {list(tensor.shape)} into parts of {list(counts)} rows")
    if tensor.datatype is Datatype.BYTES:
        width = math.prod(tensor.shape[1:])
        elements = bytes_offsets(tensor.data, tensor.shape[0] * width)
        ends = [elements[width * end] for end in accumulate(counts)]
    else:
        ends = [tensor.row_bytes * end for end in accumulate(counts)]
    view, starts = memoryview(tensor.data), [0, *ends]
    return [
        Tensor(tensor.name, tensor.datatype, (rows, *tensor.shape[1:]), view[start:stop])
        for rows, start, stop in zip(counts, starts, ends, strict=False)
    ]
