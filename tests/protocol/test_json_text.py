"""JSON text: the depth limit, the parser and its fall-back, the cutting out of an array."""

from __future__ import annotations

import json

import pytest
import simdjson
from hypothesis import given, settings
from hypothesis import strategies as st

from changeover.errors import InvalidRequest
from changeover.protocol.json_text import CUT_OUT, check_depth, cut_array, load
from changeover.protocol.oip import MAX_DEPTH


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize("noise", [b"", b'"]]]]\\"[[[[\\\\",', b"[]," * 300, b'{"a":[{}]},' * 100, b'"\\\\\\"}",'])
def test_depth_is_counted_outside_of_strings(noise: bytes) -> None:
    """The limit is exact whatever brackets strings and neighbours have."""
    check_depth(b"[" + noise + _nested(MAX_DEPTH - 1) + b"]")
    with pytest.raises(InvalidRequest) as error:
        check_depth(b"[" + noise + _nested(MAX_DEPTH) + b"]")
    assert error.value.reason == "json_too_deep"


def test_depth_is_counted_across_parts_of_a_long_text() -> None:
    """Strings and nesting that reach over the parts looked at together are followed."""
    filler = b'"' + b"[" * 600_000 + b'",'
    check_depth(b"[" * 3 + filler + _nested(MAX_DEPTH - 3) + b"]" * 3)
    with pytest.raises(InvalidRequest, match="deeper"):
        check_depth(b"[" * 3 + filler + _nested(MAX_DEPTH - 2) + b"]" * 3)


_TEXT = st.recursive(
    st.integers() | st.text(alphabet='a"\\[]{}', max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=30,
)


@given(_TEXT, st.integers(0, 70))
@settings(deadline=None)
def test_depth_agrees_with_a_walk_over_the_values(value: object, extra: int) -> None:
    """For any JSON the answer is that of counting levels in the parsed values."""
    for _ in range(extra):
        value = [value, "[", {}]
    text = json.dumps(value).encode()
    if _depth(value) <= MAX_DEPTH:
        check_depth(text)
    else:
        with pytest.raises(InvalidRequest):
            check_depth(text)


@given(st.binary(max_size=200))
def test_depth_of_garbage_raises_nothing_else(text: bytes) -> None:
    """Bytes that are no JSON pass, whatever they are: 200 of them cannot be too deep but by brackets."""
    if max(text.count(b"["), text.count(b"{")) <= MAX_DEPTH // 2:
        check_depth(text)


@pytest.mark.parametrize("text", [b"", b" ", b"{", b"[1,]", b'{"a":NaN}', b'"\\ud800"', b'"\xff"', b"[1]x", b"1e999"])
def test_malformed_text_is_refused(text: bytes) -> None:
    """What is no JSON is refused with where and why."""
    with pytest.raises(InvalidRequest, match="not JSON") as error:
        load(text)
    assert error.value.reason == "malformed_json"


def test_malformed_text_over_the_second_look_is_refused_once() -> None:
    """A long broken text is refused by the first parser alone: the second would make objects of all of it."""
    text = b"[" + b"{}," * (3 << 20)
    with pytest.raises(InvalidRequest, match="not JSON"):
        load(text)


def test_integers_over_64_bits_are_floats() -> None:
    """JavaScript writes 1e20 as an integer; it is read as the float it is."""
    assert load(b"[100000000000000000000]") == [1e20]


def test_load_works_while_old_documents_are_held() -> None:
    """A part of an earlier document, held by anyone, neither blocks the parser nor changes."""
    held = load(b'{"a":[1,2]}')
    assert isinstance(held, simdjson.Object)
    other = load(b'{"a":[3,4,5]}')
    assert isinstance(other, simdjson.Object)
    assert (held["a"][1], other["a"][2]) == (2, 5)


@pytest.mark.parametrize(
    ("text", "array"),
    [
        (b'{"data":[1,2]}', b"[1,2]"),
        (b'{"data": [1,2], "x": [3]}', b"[1,2]"),
        (b'{"data":[[1],[2]],"x":[3]}', b"[[1],[2]]"),
        (b'{"data":[]}', b"[]"),
    ],
)
def test_cut_array_takes_the_data_out(text: bytes, array: bytes) -> None:
    """The array and the text round it come apart, and the rest is unchanged."""
    cut = cut_array(text)
    assert cut is not None
    assert cut[1] == array
    document = json.loads(text)
    document["data"] = CUT_OUT
    assert json.loads(cut[0]) == document


@pytest.mark.parametrize(
    "text",
    [
        b'{"x":"\\u0000array","data":[1]}',
        b'{"data":[1],"x":"\\u0000arra\\u0079"}',
        b"",
        b"{}",
        b'{"data":1}',
        b'{"data":"[1]"}',
        b'{"data":[',
        b'{"data":[[1]',
        b'{"data":',
    ],
)
def test_cut_array_leaves_other_texts_alone(text: bytes) -> None:
    """Nothing is cut where no plain array follows, or where the text itself may hold the place-holder."""
    assert cut_array(text) is None


@given(_TEXT, _TEXT, st.sampled_from([(",", ":"), (", ", ": ")]))
@settings(deadline=None)
def test_cut_array_never_changes_the_meaning(data: object, beside: object, separators: tuple[str, str]) -> None:
    """If both parts are valid JSON, putting the array back gives what the whole text says."""
    document = {"first": beside, "data": data, "last": beside}
    cut = cut_array(json.dumps(document, separators=separators).encode())
    if cut is None:
        return
    try:
        skeleton, array = json.loads(cut[0]), json.loads(cut[1])
    except ValueError:
        return
    if skeleton.get("data") == CUT_OUT:
        assert {**skeleton, "data": array} == document
