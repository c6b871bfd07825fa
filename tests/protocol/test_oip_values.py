"""Values: JSON arrays to raw bytes and back, for each datatype, exact and inside its range."""

from __future__ import annotations

import json
import math

import ml_dtypes
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from changeover.errors import InvalidRequest
from changeover.protocol.json_text import load
from changeover.protocol.oip_values import decode_values, json_values
from changeover.tensors import Datatype, Tensor, from_numpy, join_bytes

INTEGERS = [d for d in Datatype if d.numpy.kind in "iu" and d is not Datatype.BF16]
FLOATS = [Datatype.FP16, Datatype.FP32, Datatype.FP64, Datatype.BF16]
SHORT_FLOATS = {
    Datatype.FP16: np.dtype(np.float16),
    Datatype.FP32: np.dtype(np.float32),
    Datatype.FP64: np.dtype(np.float64),
    Datatype.BF16: np.dtype(ml_dtypes.bfloat16),
}


def _decode(text: str | bytes, datatype: Datatype, count: int, *, plain: bool = False) -> bytes:
    """Decode JSON text, from the parser's own array or, `plain`, from Python lists."""
    data = text if isinstance(text, bytes) else text.encode()
    return decode_values(orjson.loads(data) if plain else load(data), datatype, count, "inputs[0].data")


def _refused(text: str, datatype: Datatype, count: int = 1) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as error:
        _decode(text, datatype, count)
    with pytest.raises(InvalidRequest) as plain:
        _decode(text, datatype, count, plain=True)
    assert error.value.reason == plain.value.reason
    assert error.value.message == plain.value.message
    return error.value


def _back(tensor: Tensor) -> bytes:
    return orjson.dumps(json_values(tensor), option=orjson.OPT_SERIALIZE_NUMPY)


@pytest.mark.parametrize("datatype", INTEGERS)
@pytest.mark.parametrize("plain", [True, False])
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_integers_go_both_ways_exactly(datatype: Datatype, plain: bool, data: st.DataObject) -> None:
    """Every integer of the type, 64 bits included, survives JSON in both directions."""
    limits = np.iinfo(datatype.numpy)
    values = data.draw(st.lists(st.integers(int(limits.min), int(limits.max)), max_size=20))
    raw = _decode(json.dumps(values), datatype, len(values), plain=plain)
    assert np.frombuffer(raw, datatype.numpy).tolist() == values
    assert json.loads(_back(Tensor("y", datatype, (len(values),), raw))) == values


@pytest.mark.parametrize("datatype", INTEGERS)
@pytest.mark.parametrize("side", ["min", "max"])
def test_integers_at_and_over_the_edge(datatype: Datatype, side: str) -> None:
    """The last integer of a type is taken, the next is refused and named with its place."""
    edge = int(getattr(np.iinfo(datatype.numpy), side))
    beyond = edge + (1 if side == "max" else -1)
    assert np.frombuffer(_decode(f"[0, {edge}]", datatype, 2), datatype.numpy)[1] == edge
    error = _refused(f"[0, {beyond}]", datatype, 2)
    assert error.reason == "value_out_of_range"
    assert error.message.startswith(f"inputs[0].data[1]: expected a number that fits {datatype.name}, got ")


@pytest.mark.parametrize("plain", [True, False])
def test_integral_floats_count_as_integers(plain: bool) -> None:
    """1.0 is the integer 1, also among integers; beyond 2**53 only an integer says which one is meant."""
    raw = _decode("[1.0, 2, -3.0, 9007199254740991, 1e3]", Datatype.INT64, 5, plain=plain)
    assert np.frombuffer(raw, np.int64).tolist() == [1, 2, -3, 2**53 - 1, 1000]
    mixed = _decode("[1.0, 9007199254740993, 18446744073709551615]", Datatype.UINT64, 3, plain=plain)
    assert np.frombuffer(mixed, np.uint64).tolist() == [1, 2**53 + 1, 2**64 - 1]
    small = _decode("[[1.0], [255]]", Datatype.UINT8, 2, plain=plain)
    assert small == b"\x01\xff"


@pytest.mark.parametrize("value", ["1.5", "1e-3", "9007199254740992.0", "1e19", "-1.5", "1e300"])
@pytest.mark.parametrize("datatype", [Datatype.INT64, Datatype.UINT64, Datatype.INT8])
def test_other_floats_are_no_integers(value: str, datatype: Datatype) -> None:
    """A fraction, or a float that may stand for several integers, is refused."""
    assert _refused(f"[{value}]", datatype).reason == "value_out_of_range"


@pytest.mark.parametrize("datatype", FLOATS)
@pytest.mark.parametrize("plain", [True, False])
@given(values=st.lists(st.floats(-60000, 60000) | st.integers(-60000, 60000), max_size=30))
@settings(deadline=None, max_examples=40)
def test_floats_are_rounded_as_numpy_rounds(datatype: Datatype, plain: bool, values: list[float]) -> None:
    """Numbers become the nearest float of the type, as numpy and ml_dtypes have it."""
    raw = _decode(json.dumps(values), datatype, len(values), plain=plain)
    assert raw == np.array(values, np.float64).astype(SHORT_FLOATS[datatype]).tobytes()


@pytest.mark.parametrize("datatype", FLOATS)
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_floats_come_back_from_their_json(datatype: Datatype, data: st.DataObject) -> None:
    """What is written for an output is read as the same bits as an input."""
    bits = data.draw(st.lists(st.integers(0, 2 ** (8 * datatype.itemsize) - 1), max_size=20))
    array = np.array(bits, f"u{datatype.itemsize}").view(SHORT_FLOATS[datatype])
    with np.errstate(invalid="ignore"):  # signalling NaNs
        array = array[np.isfinite(array)]
    text = _back(Tensor("y", datatype, array.shape, array.tobytes()))
    assert _decode(text, datatype, array.size) == array.tobytes()


@pytest.mark.parametrize(
    ("datatype", "largest", "beyond"),
    [
        (Datatype.FP16, "65519.99", "65520"),
        (Datatype.FP32, "3.4028235677973364e38", "3.4028235677973366e38"),
        (Datatype.FP64, "1.7976931348623157e308", None),
        (Datatype.BF16, "3.3961774e38", "3.3961776e38"),
    ],
)
def test_floats_at_and_over_the_edge(datatype: Datatype, largest: str, beyond: str | None) -> None:
    """A finite number never becomes infinite: the largest that rounds down is taken, the next refused."""
    for sign in ("", "-"):
        raw = _decode(f"[0, {sign}{largest}]", datatype, 2)
        assert np.isfinite(np.frombuffer(raw, SHORT_FLOATS[datatype])).all()
        if beyond:
            error = _refused(f"[0, {sign}{beyond}, 1]", datatype, 3)
            assert error.reason == "value_out_of_range"
            assert error.message.startswith("inputs[0].data[1]: ")


def test_floats_take_integers_beyond_64_bits() -> None:
    """JavaScript writes 1e20 without exponent; for a float that is a fine number."""
    assert np.frombuffer(_decode("[100000000000000000000]", Datatype.FP32, 1), np.float32) == np.float32(1e20)


def test_float32_is_written_short() -> None:
    """FP32 is written with the fewest digits that say it, not with those of a double."""
    assert _back(from_numpy("y", np.array([0.1, 1.0], np.float32))) == b"[0.1,1.0]"


def test_what_json_has_no_number_for_becomes_null() -> None:
    """NaN and infinity are written as null, which numpy reads as NaN."""
    for datatype, dtype in SHORT_FLOATS.items():
        array = np.array([np.nan, np.inf, -np.inf, 2], dtype)
        text = _back(Tensor("y", datatype, (4,), array.tobytes()))
        assert text == b"[null,null,null,2.0]"
    again = np.array(json.loads(text), np.float32)
    assert math.isnan(again[0])


@pytest.mark.parametrize("plain", [True, False])
@given(values=st.lists(st.booleans(), max_size=20))
def test_booleans_go_both_ways(plain: bool, values: list[bool]) -> None:
    """True and false are bytes of 1 and 0."""
    raw = _decode(json.dumps(values), Datatype.BOOL, len(values), plain=plain)
    assert raw == bytes(values)
    assert json.loads(_back(Tensor("y", Datatype.BOOL, (len(values),), raw))) == values


@pytest.mark.parametrize("plain", [True, False])
@given(values=st.lists(st.text(max_size=10), max_size=20))
@settings(deadline=None)
def test_strings_go_both_ways(plain: bool, values: list[str]) -> None:
    """Strings are UTF-8 with their length before them, zero characters and all."""
    raw = _decode(orjson.dumps(values), Datatype.BYTES, len(values), plain=plain)
    assert raw == join_bytes(values)
    assert json.loads(_back(Tensor("y", Datatype.BYTES, (len(values),), raw))) == values


def test_bytes_that_are_no_text_are_refused_as_json() -> None:
    """An output that is not UTF-8 cannot be JSON; the error says what to ask for instead."""
    with pytest.raises(InvalidRequest, match="binary_data: true") as error:
        json_values(Tensor("y", Datatype.BYTES, (1,), join_bytes([b"\xff"])))
    assert error.value.reason == "bytes_not_utf8"


@pytest.mark.parametrize("nested", ["[1, 2, 3, 4]", "[[1, 2], [3, 4]]", "[[[1], [2]], [[3], [4]]]", "[[1], 2, [3, 4]]"])
@pytest.mark.parametrize("datatype", [Datatype.FP32, Datatype.INT64, Datatype.UINT8])
def test_nested_lists_are_read_row_by_row(nested: str, datatype: Datatype) -> None:
    """The elements count in the order they are written, however they are nested."""
    for plain in (True, False):
        raw = _decode(nested, datatype, 4, plain=plain)
        assert np.frombuffer(raw, datatype.numpy).tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("datatype", Datatype)
@pytest.mark.parametrize("text", ["[null]", "[{}]", '[{"a": [1]}]', "[[[null]]]"])
def test_null_and_objects_are_no_elements(datatype: Datatype, text: str) -> None:
    """No datatype is made of null or objects."""
    assert _refused(text, datatype).reason == "wrong_type"


@pytest.mark.parametrize("datatype", Datatype)
def test_elements_of_another_kind_are_refused(datatype: Datatype) -> None:
    """Booleans are no numbers, strings no booleans, and so on: the element is named."""
    good = {Datatype.BOOL: "true", Datatype.BYTES: '"a"'}.get(datatype, "1")
    for bad in {"true", '"a"', "1"} - {good}:
        error = _refused(f"[{good}, {bad}]", datatype, 2)
        assert error.reason == "wrong_type"
        assert error.message.startswith("inputs[0].data[1]: expected ")


@pytest.mark.parametrize("data", ["1", '"abc"', "true", "{}"])
def test_data_must_be_a_list(data: str) -> None:
    """A scalar or an object in the place of the list is refused."""
    assert _refused(data, Datatype.FP32).reason == "wrong_type"


@pytest.mark.parametrize("datatype", Datatype)
@pytest.mark.parametrize("count", [0, 1, 3, 2**62])
def test_the_number_of_elements_must_be_that_of_the_shape(datatype: Datatype, count: int) -> None:
    """Too few and too many are refused, told with both numbers, and nothing is made for the missing ones."""
    element = {Datatype.BOOL: "true", Datatype.BYTES: '"a"'}.get(datatype, "1")
    error = _refused(f"[{element}, {element}]", datatype, count)
    assert error.reason == "shape_data_mismatch"
    assert error.message == f"inputs[0].data: expected {count} elements as the shape says, got 2"


_ANYTHING = st.recursive(
    st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("a\0é", max_size=2),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


@given(st.lists(_ANYTHING, max_size=5), st.sampled_from([*Datatype]), st.integers(0, 6))
@settings(deadline=None, max_examples=400)
def test_both_ways_through_the_parser_agree(data: list[object], datatype: Datatype, count: int) -> None:
    """The array in the parser and the plain list give the same bytes, or the same error."""

    def outcome(*, plain: bool) -> bytes | str:
        try:
            return _decode(json.dumps(data), datatype, count, plain=plain)
        except InvalidRequest as error:
            return error.message

    assert outcome(plain=True) == outcome(plain=False)


def test_unaligned_data_is_written_like_any_other() -> None:
    """Data that begins at an odd address, as in the middle of a body, is moved to where it may be read."""
    raw = b"\0" + np.array([1.5, -2.0], np.float64).tobytes()
    tensor = Tensor("y", Datatype.FP64, (2,), memoryview(raw)[1:])
    assert not tensor.numpy().flags.aligned
    values = json_values(tensor)
    assert isinstance(values, np.ndarray)
    assert values.flags.aligned
    assert _back(tensor) == b"[1.5,-2.0]"
