"""Does a request fit its model, and how long has it time."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.errors import InvalidRequest, Overloaded
from changeover.gateway.admission import Room, admit, check_time, deadline, require_rows
from changeover.protocol.oip import InferRequest
from changeover.tensors import Datatype, Tensor, TensorSpec, from_numpy, join_bytes

SPECS = [TensorSpec("a", Datatype.FP32, (-1, 3)), TensorSpec("b", Datatype.INT64, (-1,))]
POSITIONS = {"a": 0, "b": 1}


def asked(*tensors: Tensor) -> InferRequest:
    """A request with these inputs."""
    return InferRequest("", list(tensors), None, {}, False)


def a(rows: int = 2) -> Tensor:
    """The first input."""
    return from_numpy("a", np.zeros((rows, 3), np.float32))


def b(rows: int = 2) -> Tensor:
    """The second input."""
    return from_numpy("b", np.zeros(rows, np.int64))


def test_inputs_come_in_the_models_order() -> None:
    """Whatever order the client sends them in; the key leaves out the rows."""
    admitted = admit(asked(b(), a()), SPECS, POSITIONS, batchable=True)
    assert [len(d) for d in admitted.data] == [24, 16]
    assert (admitted.rows, admitted.shapes, admitted.key) == (2, ((2, 3), (2,)), ((3,), ()))


def test_a_model_that_does_not_batch_counts_one_row() -> None:
    """Its key is the whole shape, so only equal shapes share a doorbell."""
    admitted = admit(asked(a(), b()), SPECS, POSITIONS, batchable=False)
    assert (admitted.rows, admitted.key) == (1, ((2, 3), (2,)))


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ([a()], "missing_input"),
        ([a(), b(), from_numpy("c", np.zeros(1))], "unknown_input"),
        ([a(), from_numpy("c", np.zeros(2, np.int64))], "unknown_input"),
        ([a(), from_numpy("b", np.zeros(2, np.int32))], "datatype_mismatch"),
        ([from_numpy("a", np.zeros((2, 4), np.float32)), b()], "shape_mismatch"),
        ([from_numpy("a", np.zeros((2, 3, 1), np.float32)), b()], "shape_mismatch"),
        ([a(2), b(3)], "rows_mismatch"),
        ([a(0), b(0)], "rows_mismatch"),
    ],
)
def test_what_does_not_fit_is_refused(tensors: list[Tensor], reason: str) -> None:
    """Each kind with its own word."""
    with pytest.raises(InvalidRequest) as refused:
        admit(asked(*tensors), SPECS, POSITIONS, batchable=True)
    assert refused.value.reason == reason


@pytest.mark.parametrize("bad", [[b"ok", b"\xff"], [b"\xc3", b"\xbc"], [b"\xbc", b""], [b"x" * 200, b"\xe2\x82"]])
def test_texts_that_are_not_utf8_are_refused_before_they_can_spoil_a_batch(bad: list[bytes]) -> None:
    """One bad element would fail everybody's run; also one that would be whole with the next one."""
    spec = [TensorSpec("t", Datatype.BYTES, (-1,))]
    for texts in (["ünï", ""], ["a", "b"], ["ü" * 200, "€" * 70_000], ["", ""], ["a\0b", "\0"]):
        good = Tensor("t", Datatype.BYTES, (2,), join_bytes(texts))
        assert admit(asked(good), spec, {"t": 0}, batchable=True).rows == 2
        assert good.data == join_bytes(texts)
    with pytest.raises(InvalidRequest) as refused:
        admit(asked(Tensor("t", Datatype.BYTES, (2,), join_bytes(bad))), spec, {"t": 0}, batchable=True)
    assert refused.value.reason == "bytes_not_utf8"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(b"2", 2.0), (b"0.5", 0.5), (b"500ms", 0.5), (b"250us", 0.00025), (b" 3s ", 3.0), (b"9e9", 3600.0)],
)
def test_the_header_counts_seconds(header: bytes, seconds: float) -> None:
    """With a unit or without, never more than an hour, and before the parameter."""
    assert deadline(100.0, {"timeout": 7}, header, 30.0) == pytest.approx(100.0 + seconds)


@pytest.mark.parametrize(("value", "seconds"), [(None, 30.0), (0, 30.0), (1_500_000, 1.5), (2.5e6, 2.5), (1e30, 3600)])
def test_the_parameter_counts_microseconds(value: float | None, seconds: float) -> None:
    """Nothing and 0 stand for the default, as in Triton's schedule policy."""
    parameters = {} if value is None else {"timeout": value}
    assert deadline(100.0, parameters, None, 30.0) == pytest.approx(100.0 + seconds)


@pytest.mark.parametrize("value", [-1, True, "5", [], float("nan")])
def test_a_parameter_that_is_no_time_is_refused(value: object) -> None:
    """With the word `invalid_timeout`."""
    with pytest.raises(InvalidRequest) as refused:
        deadline(0.0, {"timeout": value}, None, 30.0)
    assert refused.value.reason == "invalid_timeout"


@given(st.binary(max_size=20))
def test_any_header_is_a_time_or_refused(header: bytes) -> None:
    """Nothing that a client can write raises another error or gives a time in the past."""
    with contextlib.suppress(InvalidRequest):
        assert 0.0 < deadline(0.0, {}, header, 30.0) <= 3600.0


@pytest.mark.parametrize(
    ("requests", "wait", "reason", "retry_after"),
    [
        (1023, 0.0, None, 0),
        (1024, 0.0, "queue_full", 1),
        (1024, 15.3, "queue_full", 16),
        (1024, 5000.0, "queue_full", 60),
        (63, 20.0, None, 0),
        (64, 0.9, None, 0),
        (64, 1.1, "queue_delay", 2),
    ],
)
def test_a_queue_is_bounded_by_count_and_by_time(
    requests: int, wait: float, reason: str | None, retry_after: int
) -> None:
    """A short one never by its time; who is shed hears when to come again."""
    room = Room(1024, 1.0)
    if reason is None:
        room.check("m", requests, wait)
        return
    with pytest.raises(Overloaded) as shed:
        room.check("m", requests, wait)
    assert (shed.value.reason, shed.value.retry_after) == (reason, retry_after)


def test_the_bodies_of_a_queue_are_bounded_too() -> None:
    """So that they leave room for other models' bodies; a single one of any size is taken."""
    room = Room(1024, 1.0, body_bytes=1000)
    room.check_bytes("m", 0, 5000)
    room.check_bytes("m", 600, 400)
    with pytest.raises(Overloaded) as shed:
        room.check_bytes("m", 600, 401)
    assert shed.value.reason == "queue_full"


def test_a_model_may_have_limits_of_its_own() -> None:
    """One, both or none; what is not said stays the server's."""
    room = Room(1024, 1.0)
    assert room.own(None, None) is room
    assert room.own(8, None) == Room(8, 1.0)
    assert room.own(None, 0.05) == Room(1024, 0.05)


def test_what_would_come_too_late_is_not_begun() -> None:
    """With a margin, since the wait is an estimate; while nothing was measured everybody may try."""
    check_time("m", 0.0, -1.0)
    check_time("m", 0.7, 1.0)
    with pytest.raises(Overloaded) as shed:
        check_time("m", 0.9, 1.0)
    assert shed.value.reason == "queue_delay"


@pytest.mark.parametrize(
    ("most", "other", "rows"),
    [(None, None, 9), (8, None, 8), (8, (None,), 9), (4, (8,), 8), (8, (4,), 8)],
)
def test_as_many_rows_as_a_configuration_allows(most: int | None, other: tuple[int | None] | None, rows: int) -> None:
    """Its own, or that of the version which answers in a candidate's place: what was allowed stays allowed."""
    target: Any = SimpleNamespace(most_rows=most, version="1")
    fallback: Any = None if other is None else SimpleNamespace(most_rows=other[0])
    require_rows(rows, target, fallback)
    if most is not None and (other is None or other[0] is not None):
        with pytest.raises(InvalidRequest, match="max_batch_size") as refused:
            require_rows(9, target, fallback)
        assert refused.value.reason == "batch_too_large"
