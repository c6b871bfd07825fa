"""Several runner threads on one real session; the test plays the gateway."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from changeover.runtime import session
from changeover.tensors import Datatype
from changeover.testing import wait_for
from changeover.transport import channel
from changeover.transport.channel import ChannelMemory, ChannelSize, Header, Message, Part
from changeover.transport.control import WorkerSpec
from changeover.worker.crew import Crew
from changeover.worker.runner import Runner
from tests import onnx_models

SIZE = ChannelSize(4, 1024, 1024)
ROW = Part(0, Datatype.FP32, (1, 4), 0, 16, 64)


class Bench:
    """A crew with one channel."""

    def __init__(self, folder: Path, instances: int, rounds: int) -> None:
        path = folder / "model.onnx"
        path.write_bytes(onnx_models.slow(rounds, factor=2.0).SerializeToString())
        spec = WorkerSpec(1, "m", "1", digest="", path=str(path), cache="", empty="", optimization="off")
        memory, self.sock, worker = channel.create(SIZE)
        self.sock.setblocking(False)
        self.memory = ChannelMemory(memory, SIZE)
        self.runner = Runner(session.load(spec).session, worker, memory, SIZE)
        self.crew = Crew(instances, self.runner.strike)

    def send(self, slot: int, batch: int, part: Part = ROW) -> None:
        """Ring for one row of the batch's number, and hand it to the crew as the worker's loop does."""
        self.memory.inputs[slot][:16] = np.full(4, batch, np.float32).tobytes()
        self.sock.send(channel.pack(Header(Message.RUN, slot, batch, 1), channel.pack_parts([part]), 1))
        task = self.runner.receive()
        assert task is not None
        self.crew.give(self.runner, task)

    def answers(self, count: int) -> list[tuple[int, float]]:
        """Batch and first value of the next answers, in the order in which they come."""
        found = []
        for _ in range(count):
            data = wait_for(self._receive, "an answer")
            header, body, parts = channel.unpack(data)
            assert header.kind == Message.ANSWER
            (part,) = channel.unpack_parts(body, parts)
            (value,) = np.frombuffer(self.memory.outputs[header.slot][part.offset : part.offset + 4], np.float32)
            found.append((header.batch, float(value)))
        return found

    def _receive(self) -> bytes | None:
        try:
            return self.sock.recv(channel.MAX_MESSAGE)
        except BlockingIOError:
            return None

    def begun(self) -> list[int]:
        """The batches that were begun, by slot."""
        return [int(n) for n in self.memory.hands[: SIZE.slots]]

    def close(self) -> None:
        """End the crew and the channel."""
        self.crew.finish()
        self.runner.let_go()
        self.sock.close()


def test_two_long_runs_overlap(tmp_path: Path) -> None:
    """Both are in hand while neither is answered; the third waits for the first of them."""
    bench = Bench(tmp_path, instances=2, rounds=300)
    for slot in range(3):
        bench.send(slot, slot + 1)
    wait_for(lambda: bench.begun()[:2] == [1, 2], "two batches in hand")
    assert bench.begun()[2] == 0
    assert bench._receive() is None, "nothing is answered yet"
    assert sorted(bench.answers(3)) == [(1, 2.0), (2, 4.0), (3, 6.0)]
    wait_for(lambda: bench.memory.beat == 3, "three beats")
    bench.close()


def test_what_was_given_is_answered_before_the_end(tmp_path: Path) -> None:
    """`finish` waits for batches in hand and for those behind them; then no runner is left."""
    others = set(threading.enumerate())
    bench = Bench(tmp_path, instances=2, rounds=20)
    for slot in range(4):
        bench.send(slot, slot + 1)
    bench.crew.finish()
    assert sorted(bench.answers(4)) == [(n, 2.0 * n) for n in (1, 2, 3, 4)]
    assert not [t for t in set(threading.enumerate()) - others if t.name.startswith("runner-")]
    bench.runner.let_go()
    assert bench.runner.sock.fileno() == -1
    bench.sock.close()


def test_a_gateway_that_breaks_the_rules_is_cut_off_and_no_runner_is_lost(tmp_path: Path) -> None:
    """Its channel ends, seen from both sides, while the descriptor stays this channel's until all let go."""
    others = set(threading.enumerate())
    bench = Bench(tmp_path, instances=2, rounds=1)
    bench.send(0, 1, ROW._replace(offset=4096))
    assert wait_for(lambda: bench._receive() == b"", "the end of file")
    assert bench.runner.sock.fileno() != -1
    assert sum(t.name.startswith("runner-") and t.is_alive() for t in set(threading.enumerate()) - others) == 2
    bench.close()


def test_a_channel_stays_open_for_its_tasks(tmp_path: Path) -> None:
    """The loop lets go at a gateway's end; the number of the descriptor is nobody else's until the last task ended."""
    bench = Bench(tmp_path, instances=2, rounds=200)
    bench.send(0, 1)
    bench.sock.close()
    bench.runner.let_go()
    assert bench.runner.sock.fileno() != -1
    wait_for(lambda: bench.runner.sock.fileno() == -1, "the channel's end")
    bench.crew.finish()
