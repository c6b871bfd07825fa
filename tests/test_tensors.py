"""Tensors: datatypes, conversion to and from arrays, serialised BYTES, rows."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from changeover.tensors import (
    Datatype,
    Tensor,
    bytes_offsets,
    element_count,
    flat_bytes,
    from_numpy,
    join_bytes,
    split_bytes,
    split_rows,
)

NUMBERS = [datatype for datatype in Datatype if datatype not in (Datatype.BYTES, Datatype.BF16)]
ELEMENTS = st.lists(st.binary(max_size=12), max_size=20)


def test_codes_never_change() -> None:
    """The codes between processes are fixed, whatever the order in the class."""
    integers = ["UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"]
    codes = ["BOOL", *integers, "FP16", "FP32", "FP64", "BYTES", "BF16"]
    assert {datatype.name: datatype.value for datatype in Datatype} == {n: i for i, n in enumerate(codes, start=1)}


@pytest.mark.parametrize("datatype", Datatype)
def test_onnx_names_go_both_ways(datatype: Datatype) -> None:
    """Each datatype has one ONNX name, from which it is found again."""
    assert Datatype.from_onnx(datatype.onnx) is datatype


@pytest.mark.parametrize("onnx", ["seq(tensor(float))", "tensor(complex64)", "float", ""])
def test_onnx_types_without_datatype_are_refused(onnx: str) -> None:
    """What OIP cannot carry is an error, not a guess."""
    with pytest.raises(ValueError, match="no datatype"):
        Datatype.from_onnx(onnx)


@pytest.mark.parametrize("datatype", NUMBERS)
@given(data=st.data())
@settings(deadline=None, max_examples=30)
def test_arrays_come_back_as_they_were(datatype: Datatype, data: st.DataObject) -> None:
    """Array to tensor and back keeps type, shape and every bit."""
    array = data.draw(npst.arrays(datatype.numpy, npst.array_shapes(min_dims=0, max_dims=4, min_side=0)))
    tensor = from_numpy("x", array)
    again = tensor.numpy()
    assert (tensor.datatype, tensor.shape, again.dtype) == (datatype, array.shape, array.dtype)
    assert again.tobytes() == array.tobytes() == bytes(tensor.data)
    assert len(tensor.data) == element_count(array.shape) * datatype.itemsize


def test_bfloat16_travels_as_its_bits() -> None:
    """BF16 needs its datatype named and is given as raw 16 bits."""
    bits = np.array([1.5, -2.0], ml_dtypes.bfloat16).view(np.uint16)
    tensor = from_numpy("x", bits, Datatype.BF16)
    assert tensor.datatype is Datatype.BF16
    assert tensor.numpy().view(ml_dtypes.bfloat16).tolist() == [1.5, -2.0]


def test_contiguous_data_is_not_copied() -> None:
    """A contiguous array shares its memory with its tensor, and the tensor with its array."""
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    tensor = from_numpy("x", array)
    assert np.shares_memory(tensor.numpy(), array)


def test_other_memory_orders_are_made_c_order() -> None:
    """A transposed array is sent row by row as it reads, not as it lies in memory."""
    array = np.arange(6, dtype=np.int16).reshape(2, 3).T
    assert np.array_equal(from_numpy("x", array).numpy(), array)
    assert flat_bytes(array).format == "B"


@pytest.mark.parametrize("array", [np.array([b"a", b""]), np.array(["a", ""]), np.array(["a", b""], object)])
def test_text_arrays_become_bytes(array: np.ndarray) -> None:
    """Arrays of `str`, `bytes` or objects are BYTES, text as UTF-8."""
    tensor = from_numpy("x", array)
    assert tensor.datatype is Datatype.BYTES
    assert tensor.numpy().tolist() == [b"a", b""]


@pytest.mark.parametrize(
    ("array", "datatype"),
    [(np.zeros(1, np.complex64), None), (np.zeros(1, np.float32), Datatype.FP64), (np.zeros(1, "M8[s]"), None)],
)
def test_foreign_arrays_are_refused(array: np.ndarray, datatype: Datatype | None) -> None:
    """An array of a type OIP lacks, or of another type than named, is an error."""
    with pytest.raises(ValueError, match=r"datatype|made of"):
        from_numpy("x", array, datatype)


@given(ELEMENTS)
def test_serialised_bytes_come_back(elements: list[bytes]) -> None:
    """Joining elements and splitting them again gives the same elements, from bytes and from a view."""
    data = join_bytes(elements)
    assert split_bytes(data, len(elements)) == elements
    assert split_bytes(memoryview(data), len(elements)) == elements
    assert bytes_offsets(data, len(elements))[-1] == len(data)


@given(st.binary(max_size=64), st.integers(0, 2**70))
def test_garbage_as_bytes_is_a_value_error(data: bytes, count: int) -> None:
    """Any bytes either are exactly `count` elements or raise ValueError, however large the count."""
    try:
        elements = split_bytes(data, count)
    except ValueError:
        return
    assert join_bytes(elements) == data
    assert len(elements) == count


def test_numpy_of_a_lying_shape_is_refused() -> None:
    """A shape far larger than the data raises before anything of that size is made."""
    for datatype in (Datatype.BYTES, Datatype.FP32):
        with pytest.raises(ValueError, match=r"elements|reshape"):
            Tensor("x", datatype, (1 << 40,), b"\0\0\0\0").numpy()


def test_row_bytes() -> None:
    """A row of a fixed-size type is everything behind the first dimension."""
    assert Tensor("x", Datatype.FP32, (3, 2, 5), b"").row_bytes == 40
    assert Tensor("x", Datatype.INT16, (0, 7), b"").row_bytes == 14
    assert Tensor("x", Datatype.BOOL, (4,), b"").row_bytes == 1


@pytest.mark.parametrize(("datatype", "shape"), [(Datatype.BYTES, (2, 2)), (Datatype.FP32, ())])
def test_row_bytes_need_rows_of_fixed_size(datatype: Datatype, shape: tuple[int, ...]) -> None:
    """BYTES and scalars have no row size."""
    with pytest.raises(ValueError, match="no fixed size"):
        _ = Tensor("x", datatype, shape, b"").row_bytes


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.integers(0, 3), st.sampled_from([*Datatype]))
def test_split_rows_cuts_as_slicing_does(counts: list[int], width: int, datatype: Datatype) -> None:
    """Cutting a batch gives the same rows as slicing the array, for every datatype."""
    rows = sum(counts)
    numbers = np.arange(rows * width).reshape(rows, width)
    array = numbers.astype(str).astype(object) if datatype is Datatype.BYTES else numbers.astype(datatype.numpy)
    batch, start = from_numpy("y", array, datatype), 0
    for count, part in zip(counts, split_rows(batch, counts), strict=True):
        assert part.shape == (count, width)
        assert np.array_equal(part.numpy(), batch.numpy()[start : start + count])
        start += count


def test_split_rows_does_not_copy() -> None:
    """The parts are views of the batch's own memory."""
    array = np.arange(6, dtype=np.float32).reshape(3, 2)
    parts = split_rows(from_numpy("y", array), [1, 2])
    assert all(np.shares_memory(part.numpy(), array) for part in parts)


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor("y", Datatype.FP32, (4, 1), bytes(16)),
        Tensor("y", Datatype.FP32, (), bytes(4)),
        Tensor("y", Datatype.BYTES, (3, 1), bytes(4)),
    ],
)
def test_split_rows_refuses_what_does_not_fit(tensor: Tensor) -> None:
    """Counts that are not the rows, or data that is not the shape, raise."""
    with pytest.raises(ValueError, match=r"cut|expected"):
        split_rows(tensor, [1, 2])


def test_texts_are_read_as_a_session_takes_them() -> None:
    """`str`, in their shape; numbers are what they are, and what is no text is told."""
    tensor = Tensor("t", Datatype.BYTES, (2, 1), b"\1\0\0\0a\2\0\0\0\xc3\xa9")
    array = tensor.readable()
    assert (array.dtype, array.tolist()) == (object, [["a"], ["\u00e9"]])
    assert Tensor("x", Datatype.INT8, (2,), b"\1\2").readable().tolist() == [1, 2]
    with pytest.raises(ValueError, match="utf-8"):
        Tensor("t", Datatype.BYTES, (1,), b"\1\0\0\0\xff").readable()
