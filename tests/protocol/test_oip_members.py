"""The rules for inputs and outputs that hold whatever form a request came in."""

from __future__ import annotations

from typing import Any

import pytest

from changeover.errors import CallerError
from changeover.protocol.oip import MAX_BYTES_ELEMENTS, MAX_PARAMETERS, MAX_RANK, MAX_TENSORS, RequestedOutput
from changeover.protocol.oip_members import (
    add_output,
    check_bytes_elements,
    check_content,
    check_input_once,
    check_parameter_count,
    check_tensor_count,
    datatype_of,
    integer,
    shape_of,
    text_of,
)
from changeover.tensors import Datatype

Y = RequestedOutput("y", False)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (None, "missing_field"),
        ("3", "invalid_shape"),
        ([1] * (MAX_RANK + 1), "invalid_shape"),
        ([1, -1], "invalid_shape"),
        ([True], "invalid_shape"),
        ([1.5], "invalid_shape"),
        ([1 << 48, 2], "invalid_shape"),
        ([0, 1 << 48, 2], "invalid_shape"),
    ],
)
def test_shapes_that_no_tensor_has(shape: Any, reason: str) -> None:
    """A shape is a short list of sizes whose product is bounded, zeros left out of it."""
    with pytest.raises(CallerError) as error:
        shape_of({"shape": shape}, "x")
    assert error.value.reason == reason


def test_shapes_are_taken() -> None:
    """Lists and tuples, with integral floats, none of them for a scalar, and the limit itself."""
    assert shape_of({"shape": [2, 3.0]}, "x") == (2, 3)
    assert shape_of({"shape": ()}, "x") == ()
    assert shape_of({"shape": [1] * MAX_RANK}, "x") == (1,) * MAX_RANK
    assert shape_of({"shape": [0, 1 << 48]}, "x") == (0, 1 << 48)


def test_integers() -> None:
    """An integral float is an integer, a truth value is none."""
    assert [integer(value) for value in (3, 3.0, 3.5, True, "3", float("inf"))] == [3, 3, None, None, None, None]


@pytest.mark.parametrize(
    ("members", "reason"),
    [({}, "missing_field"), ({"datatype": 1}, "wrong_type"), ({"datatype": "FP8"}, "unknown_datatype")],
)
def test_datatypes_that_are_none(members: dict[str, Any], reason: str) -> None:
    """A datatype is one of the protocol's, by its name."""
    with pytest.raises(CallerError) as error:
        datatype_of(members, "x")
    assert error.value.reason == reason


def test_names_are_read() -> None:
    """Texts and datatypes come by their members' names."""
    assert text_of({"name": ""}, "name", "x") == ""
    assert datatype_of({"datatype": "BF16"}, "x") is Datatype.BF16


@pytest.mark.parametrize(
    ("check", "good", "bad", "reason"),
    [
        (check_tensor_count, (MAX_TENSORS, "x"), (MAX_TENSORS + 1, "x"), "too_many_tensors"),
        (check_parameter_count, (MAX_PARAMETERS, "x"), (MAX_PARAMETERS + 1, "x"), "too_many_parameters"),
        (check_bytes_elements, (Datatype.BYTES, 5, "x", 5), (Datatype.BYTES, 6, "x", 5), "too_many_elements"),
        (
            check_bytes_elements,
            (Datatype.INT8, MAX_BYTES_ELEMENTS, "x", 0),
            (Datatype.BYTES, 1, "x", 0),
            "too_many_elements",
        ),
        (check_input_once, ("a", {"b"}, "x"), ("a", {"a"}, "x"), "duplicate_input"),
        (add_output, ({"y": Y}, Y, "x"), ({"y": Y}, RequestedOutput("y", True), "x"), "duplicate_output"),
        (check_content, ("x", Datatype.BOOL, (2,), b"\0\1"), ("x", Datatype.BOOL, (2,), b"\0\2"), "value_out_of_range"),
        (
            check_content,
            ("x", Datatype.BYTES, (1,), bytes(4)),
            ("x", Datatype.BYTES, (1,), b"\1\0\0\0"),
            "malformed_bytes",
        ),
    ],
)
def test_rules(check: Any, good: tuple[Any, ...], bad: tuple[Any, ...], reason: str) -> None:
    """Each rule lets pass what is just within it, and refuses what is just outside."""
    check(*good)
    with pytest.raises(CallerError) as error:
        check(*bad)
    assert error.value.reason == reason
