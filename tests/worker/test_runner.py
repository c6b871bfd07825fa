"""The worker's end of a channel, with a real session behind it and the gateway played by the test."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from changeover.errors import Internal
from changeover.runtime.quiet import _may_renice
from changeover.tensors import Datatype, flat_bytes, join_bytes
from changeover.transport import channel
from changeover.transport.channel import Part
from changeover.worker.runner import ChannelClosed
from tests import onnx_models
from tests.worker.far_end import Failed, Open


def sample(datatype: Datatype) -> np.ndarray[Any, Any]:
    """Two rows of four."""
    if datatype is Datatype.BYTES:
        return np.array([["a", "ünï", "", "x" * 50], ["1", "2", "3", "4"]], object)
    return np.array([[0, 1, 1, 0], [1, 0, 0, 1]], datatype.numpy)


@pytest.mark.parametrize("datatype", [d for d in Datatype if d is not Datatype.BF16], ids=lambda d: d.name)
def test_every_datatype_through_the_slot(gateway: Open, datatype: Datatype) -> None:
    """Twice, because the second time the layout is known."""
    made = gateway(onnx_models.identity(datatype))
    for _ in range(2):
        (out,) = made.run(sample(datatype))
        texts = [v.decode() if isinstance(v, bytes) else v for v in out.reshape(-1).tolist()]
        assert texts == sample(datatype).reshape(-1).tolist()


def test_a_known_layout_shows_the_new_bytes(gateway: Open) -> None:
    """Each answer is that of its own input, in each slot."""
    made = gateway(onnx_models.scale(2))
    for number in range(6):
        (out,) = made.run(np.full((1, 4), number, np.float32), slot=number % 2)
        assert out.tolist() == [[2.0 * number] * 4]


def test_several_inputs_and_outputs(gateway: Open) -> None:
    """In the order of the signature."""
    made = gateway(onnx_models.add_sub())
    first, second = np.arange(16, dtype=np.int32).reshape(1, 16), np.full((1, 16), 3, np.int32)
    total, difference = made.run(first, second)
    assert np.array_equal(total, first + second)
    assert np.array_equal(difference, first - second)


@pytest.mark.parametrize("count", [0, 1, 100, 128, 129, 5000])
def test_outputs_whose_size_only_the_run_knows(gateway: Open, count: int) -> None:
    """Nothing, up to the whole slot, and beyond it in memory of its own; the small ones again afterwards."""
    made = gateway(onnx_models.repeat())
    for number in (count, 3, count):
        (out,) = made.run(np.array(number, np.int64))
        assert out.tolist() == list(range(number))


def test_an_input_larger_than_its_slot(gateway: Open) -> None:
    """It comes in memory of its own, and so does its answer."""
    made = gateway(onnx_models.scale(3))
    rows = np.arange(4000, dtype=np.float32).reshape(1000, 4)
    fd, view = channel.own_memory(rows.nbytes)
    view[: rows.nbytes] = bytes(flat_bytes(rows))
    made.send([Part(0, Datatype.FP32, rows.shape, 0, rows.nbytes, rows.nbytes)], fds=[fd])
    os.close(fd)
    assert made.runner.serve_one()
    assert np.array_equal(made.receive()[0], rows * 3)


def test_several_runs_a_doorbell(gateway: Open) -> None:
    """Each with its own input and output, at the distance of a stride."""
    made = gateway(onnx_models.scale(2))
    for run in range(3):
        made.memory.inputs[0][run * 64 : run * 64 + 16] = np.full(4, run, np.float32).tobytes()
    for _ in range(2):
        made.send([Part(0, Datatype.FP32, (1, 4), 0, 16, 64)], runs=3)
        assert made.runner.serve_one()
        data = made.sock.recv(channel.MAX_MESSAGE)
        header, body, count = channel.unpack(data)
        (part,) = channel.unpack_parts(body, count)
        outs = [made.memory.outputs[0][part.offset + r * part.stride :][:4] for r in range(3)]
        assert [np.frombuffer(o, np.float32)[0] for o in outs] == [0, 2, 4]
        assert header.runs == 3
        assert header.wall_ns > 0


def test_runs_of_different_output_shapes_are_a_failure(gateway: Open) -> None:
    """One descriptor cannot say both; nothing half right is sent."""
    made = gateway(onnx_models.repeat())
    made.memory.inputs[0][:8] = (2).to_bytes(8, "little")
    made.memory.inputs[0][64:72] = (3).to_bytes(8, "little")
    made.send([Part(0, Datatype.INT64, (), 0, 8, 64)], runs=2)
    assert made.runner.serve_one()
    with pytest.raises(Failed, match="output_undeclared"):
        made.receive()


def test_a_failing_run_is_told_and_the_next_one_works(gateway: Open) -> None:
    """The reason is a word, and the channel goes on."""
    made = gateway(onnx_models.gather())
    with pytest.raises(Failed, match="run_failed"):
        made.run(np.array([[99]]))
    assert made.run(np.array([[3]]))[0].tolist() == [[3.0]]


def test_texts_that_are_not_utf8_are_a_failure_of_the_run(gateway: Open) -> None:
    """The runtime takes no others."""
    made = gateway(onnx_models.identity(Datatype.BYTES))
    raw = join_bytes([b"\xff", b"", b"", b""])
    made.memory.inputs[0][: len(raw)] = raw
    made.send([Part(0, Datatype.BYTES, (1, 4), 0, len(raw), 64)])
    assert made.runner.serve_one()
    with pytest.raises(Failed, match="bytes_not_utf8"):
        made.receive()


@pytest.mark.parametrize("part", [Part(0, 11, (1, 4), 1020, 16, 16), Part(0, 11, (1, 4), 0, 12, 16)])
def test_a_batch_that_makes_no_sense_is_not_run(gateway: Open, part: Part) -> None:
    """The worker believes a gateway no more than the other way round."""
    made = gateway(onnx_models.scale(2))
    made.send([part])
    with pytest.raises(Internal):
        made.runner.serve_one()


def test_a_gateway_that_is_gone_is_told_from_one_that_is_silent(gateway: Open) -> None:
    """Nothing waits; then the end of file."""
    made = gateway(onnx_models.scale(2))
    assert not made.runner.serve_one()
    made.sock.close()
    with pytest.raises(ChannelClosed):
        made.runner.serve_one()


def test_a_large_batch_that_finds_no_room_is_a_failure_of_the_run(
    gateway: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a memory limit neither mapping the inputs nor making room for the outputs ends the worker."""

    def full(*_: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    here = gateway(onnx_models.identity(Datatype.FP32, [-1]))
    large = np.zeros(4096, np.float32)
    for place in ("changeover.worker.own.mmap.mmap", "changeover.transport.channel.own_memory"):
        fd, memory = channel.own_memory(large.nbytes)
        memory[: large.nbytes] = large.tobytes()
        with monkeypatch.context() as patched:
            patched.setattr(place, full)
            here.send([Part(0, Datatype.FP32, large.shape, 0, large.nbytes, large.nbytes)], fds=[fd])
            assert here.runner.serve_one()
        os.close(fd)
        with pytest.raises(Failed, match="out_of_memory"):
            here.receive()
    assert here.run(np.ones(4, np.float32))[0].tolist() == [1, 1, 1, 1]


def test_a_quiet_batch_is_run_at_idle_priority_and_the_next_one_is_not(
    gateway: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where this process may bring its threads back; the answer is the same."""
    here = gateway(onnx_models.scale(2))
    row = np.ones((1, 4), np.float32)
    part = Part(0, Datatype.FP32, (1, 4), 0, row.nbytes, 64)
    seen: list[int] = []
    real = here.runner._session.run_feeds
    monkeypatch.setattr(
        here.runner._session, "run_feeds", lambda feeds: seen.append(os.sched_getscheduler(0)) or real(feeds)
    )
    for quiet in (True, False):
        here.memory.inputs[0][: row.nbytes] = row.tobytes()
        here.send([part], quiet=quiet)
        assert here.runner.serve_one()
        assert here.receive()[0].tolist() == [[2.0] * 4]
    low = os.SCHED_IDLE if _may_renice() else os.SCHED_OTHER
    assert seen == [low, os.SCHED_OTHER]
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
