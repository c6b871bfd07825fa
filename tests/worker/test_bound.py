"""Batches bound to their slots, behind a real session."""

from __future__ import annotations

import numpy as np
import pytest

from changeover.tensors import Datatype
from changeover.transport import channel
from changeover.transport.channel import Part
from changeover.worker.bound import Bindings
from tests import onnx_models
from tests.worker.far_end import Failed, Gateway, Open


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rest after a batch was bound; the test of the rest sets its own."""
    monkeypatch.setattr("changeover.worker.bound._REST", 0)


def bindings(made: Gateway) -> Bindings:
    """Those of its channel."""
    return made.runner._bound


def batch_of(part: Part, slot: int = 0, runs: int = 1) -> tuple[int, int, bytes]:
    """What a batch is bound by."""
    return slot, runs, channel.pack_parts([part])


ROW = Part(0, Datatype.FP32, (1, 4), 0, 16, 64)


def test_what_comes_again_is_bound(gateway: Open) -> None:
    """By slot and layout; each answer is still that of its own input, and says how long it took."""
    made = gateway(onnx_models.scale(2))
    for number in range(6):
        (out,) = made.run(np.full((1, 4), number, np.float32))
        assert out.tolist() == [[2.0 * number] * 4]
    assert bindings(made).of(batch_of(ROW)) is not None
    assert bindings(made).of(batch_of(ROW, slot=1)) is None
    (out,) = made.run(np.full((2, 4), 9, np.float32), slot=1)
    assert out.tolist() == [[18.0] * 4] * 2


def test_several_runs_are_bound_together(gateway: Open) -> None:
    """Each to its own input and output."""
    made = gateway(onnx_models.scale(2))
    for number in range(5):
        for run in range(3):
            made.memory.inputs[0][run * 64 : run * 64 + 16] = np.full(4, number + run, np.float32).tobytes()
        made.send([ROW], runs=3)
        assert made.runner.serve_one()
        data = made.sock.recv(channel.MAX_MESSAGE)
        header, _, _ = channel.unpack(data)
        assert (header.runs, header.wall_ns > 0, header.cpu_ns > 0) == (3, True, True)
        found = [np.frombuffer(made.memory.outputs[0][run * 64 : run * 64 + 16], np.float32)[0] for run in range(3)]
        assert found == [2.0 * (number + run) for run in range(3)]
    bound = bindings(made).of(batch_of(ROW, runs=3))
    assert bound is not None
    assert len(bound.runs) == 3


def test_what_a_bound_run_cannot_answer_is_run_as_ever(gateway: Open) -> None:
    """A size that only the run knows, and an error with its reason; afterwards the bound ones go on."""
    made = gateway(onnx_models.repeat())
    for count in (3, 3, 3, 5, 0, 3, 200, 3):
        (out,) = made.run(np.array(count, np.int64))
        assert out.tolist() == list(range(count))
    other = gateway(onnx_models.gather())
    for row in (1, 2, 3, 99, 4):
        if row == 99:
            with pytest.raises(Failed, match="run_failed"):
                other.run(np.array([[row]], np.int64))
        else:
            assert other.run(np.array([[row]], np.int64))[0].tolist() == [[float(row)]]
    assert bindings(other).of(batch_of(Part(0, Datatype.INT64, (1, 1), 0, 8, 64))) is not None


def test_long_runs_and_too_many_are_not_bound(gateway: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of a millisecond does not feel it; and memory does not follow what clients send."""
    made = gateway(onnx_models.scale(2))
    known = bindings(made)
    assert known.wants(batch_of(ROW), 999_999)
    assert not known.wants(batch_of(ROW), 1_000_000)
    assert known.wants(batch_of(ROW, runs=4), 3_000_000)
    monkeypatch.setattr("changeover.worker.bound._MOST", 2)
    for rows in (1, 2, 3, 4):
        for _ in range(3):
            assert made.run(np.ones((rows, 4), np.float32))[0].tolist() == [[2.0] * 4] * rows
    assert sum(known.of(batch_of(Part(0, Datatype.FP32, (n, 4), 0, n * 16, 64))) is not None for n in range(1, 5)) == 2


def test_between_two_that_are_bound_there_is_a_rest(gateway: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new worker meets all sizes in its first moments, and binding each costs several runs; they are answered."""
    now = [0]
    monkeypatch.setattr("changeover.worker.bound._REST", 20)
    monkeypatch.setattr("changeover.worker.bound.perf_counter_ns", lambda: now.__setitem__(0, now[0] + 100) or now[0])
    made = gateway(onnx_models.scale(2))

    def asked(times: int) -> list[int]:
        for rows in (1, 2, 3, 4) * times:
            assert made.run(np.full((rows, 4), rows, np.float32))[0].tolist() == [[2.0 * rows] * 4] * rows
        known = bindings(made)
        return [n for n in range(1, 5) if known.of(batch_of(Part(0, Datatype.FP32, (n, 4), 0, n * 16, 64))) is not None]

    assert asked(3) == [1]  # binding took 100 ns of this clock, which each look moves by as much: 20 looks of rest
    assert asked(60) == [1, 2, 3, 4]
