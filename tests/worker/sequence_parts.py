"""A model that counts, its worker's end of a channel, and a gateway that asks for steps: for tests of sequences."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from changeover.runtime import faults
from changeover.runtime.stateless import Stateless
from changeover.sequences import wire
from changeover.sequences.declared import Controls, Declared, StateDeclared
from changeover.sequences.geometry import Geometry
from changeover.sequences.saved import Flag, Token
from changeover.sequences.slab import Slab
from changeover.sequences.wire import POSITION, Ask, Told, Verb
from changeover.tensors import Datatype, flat_bytes
from changeover.transport import channel
from changeover.transport.channel import ChannelMemory, ChannelSize, Header, Message, Part
from changeover.transport.control import WorkerSpec
from changeover.transport.page import sealed_memfd
from changeover.worker.records import Records
from changeover.worker.step_runner import StepRunner
from changeover.worker.steps import Steps
from tests import onnx_models

Array = npt.NDArray[Any]
NONE = Flag(0)
SIZE = ChannelSize(2, 1 << 17, 1 << 17)
SUM = Declared((StateDeclared("h", "hn"),), Controls(start="START", end="END", corrid="ID"), max=4)


def running_sum() -> onnx.ModelProto:
    """`y = x + all x before`, the state once more behind another axis; `told` has START, END and the id of each row."""
    node, value = onnx_models._node, onnx_models._value
    switch, state = ("N", 1), (2, "N", 4)
    return onnx_models._model(
        [
            node("Unsqueeze", "x", "zero", "x1"),
            node("Add", "h", "x1", "hn"),
            node("Gather", "hn", "first", "y", axis=0),
            node("Cast", "ID", "IDF", to=1),
            node("Concat", "START", "END", "IDF", "told", axis=1),
        ],
        [
            value("x", Datatype.FP32, ("N", 4)),
            value("h", Datatype.FP32, state),
            value("START", Datatype.FP32, switch),
            value("END", Datatype.FP32, switch),
            value("ID", Datatype.UINT64, switch),
        ],
        [
            value("y", Datatype.FP32, ("N", 4)),
            value("told", Datatype.FP32, ("N", 3)),
            value("hn", Datatype.FP32, state),
        ],
        zero=np.array([0], np.int64),
        first=np.array(0, np.int64),
    )


def remembering() -> onnx.ModelProto:
    """`y` = the sum of all rows that the sequence has sent; its state grows by one row a step."""
    node, value = onnx_models._node, onnx_models._value
    grown = ("N", "past", 4)
    return onnx_models._model(
        [
            node("Unsqueeze", "x", "one", "x1"),
            node("Concat", "h", "x1", "hn", axis=1),
            node("ReduceSum", "hn", "one", "y", keepdims=0),
        ],
        [value("x", Datatype.FP32, ("N", 4)), value("h", Datatype.FP32, grown)],
        [value("y", Datatype.FP32, ("N", 4)), value("hn", Datatype.FP32, ("N", "present", 4))],
        one=np.array([1], np.int64),
    )


def load(folder: Path, model: onnx.ModelProto, declared: Declared) -> Stateless:
    """The session of a sequence model."""
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    spec = WorkerSpec(1, "m", "1", "", str(path), "", "", optimization="off", sequence=declared)
    session = faults.load(spec).session
    assert isinstance(session, Stateless)
    return session


def memory(geometry: Geometry) -> int:
    """An empty slab, as the supervisor makes it."""
    fd = sealed_memfd("test-slab", geometry.total)
    geometry.lay_out(fd)
    return fd


def ask(identity: int | str, number: int, flags: Flag = NONE, **fields: Any) -> Ask:
    """A step of a sequence."""
    tag = wire.sequence_tag(identity)
    return Ask(Verb.STEP, Token(1, number), wire.sequence_key(tag), tag, flags)._replace(**fields)


class Failed(Exception):
    """The worker answered with a failure."""


class Died(Exception):
    """The worker is dead."""


class Gateway:
    """The other end of a channel to a worker that keeps its sequences in `slab`."""

    def __init__(
        self, session: Stateless, slab: int, kind: type[Slab] = Slab, *, finite: bool = True, forked: bool = False
    ) -> None:
        fd, self.sock, worker = channel.create(SIZE)
        self.memory = ChannelMemory(os.dup(fd), SIZE)
        self.slab = kind(slab, session.layout.geometry)
        self.records = Records(self.slab, session.layout)
        self.runner = StepRunner(session, worker, fd, SIZE, Steps(session, self.records, finite=finite))
        self.outputs = session.outputs
        self.batch = 0
        self.pid = self._fork() if forked else 0
        self.on_sent: Callable[[], None] = lambda: None

    def step(self, asks: Sequence[Ask], *inputs: Array, runs: int = 1) -> tuple[list[Array], list[Told]]:
        """Steps of several sequences in one message; the outputs of each run put together."""
        parts, at = [], 0
        for position, array in enumerate(inputs):
            each = np.split(array, runs)
            stride = channel.aligned(each[0].nbytes)
            for run, rows in enumerate(each):
                self._put(at + run * stride, bytes(flat_bytes(rows)))
            datatype = Datatype.from_numpy(array.dtype)
            parts.append(Part(position, datatype, each[0].shape, at, each[0].nbytes, stride))
            at += runs * stride
        return self._exchange(Message.STEP, asks, parts, at, runs)

    def tell(self, *asks: Ask) -> list[Told]:
        """Records alone."""
        return self._exchange(Message.RECORDS, asks, [], 0, 1)[1]

    def one(self, one: Ask, value: float = 1.0) -> tuple[float, Told]:
        """One step with x full of `value`: the first element of y, and what was told."""
        (y, *_), (told,) = self.step([one], np.full((1, 4), value, np.float32))
        return float(y[0, 0]), told

    def close(self) -> None:
        """Both ends."""
        self.sock.close()
        self.runner.sock.close()
        if self.pid:
            self.kill()

    def kill(self) -> None:
        """End the process that runs the steps, wherever it is."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.pid = 0

    def _fork(self) -> int:
        """Have the steps run by a process of their own, which can be killed."""
        pid = os.fork()
        if pid:
            self.runner.sock.close()
            return pid
        try:
            self.sock.close()
            self.runner.sock.setblocking(True)
            while self.runner.serve_one():
                pass
        finally:
            os._exit(0)

    def _put(self, at: int, data: bytes) -> None:
        self.memory.inputs[0][at : at + len(data)] = data

    def _exchange(
        self, kind: Message, asks: Sequence[Ask], parts: list[Part], at: int, runs: int
    ) -> tuple[list[Array], list[Told]]:
        data, self.asked = wire.pack_asks(asks), len(asks)
        self._put(at, data)
        parts = [*parts, Part(POSITION, Datatype.UINT8, (len(data),), at, len(data), channel.aligned(len(data)))]
        self.batch += 1
        self.sock.send(channel.pack(Header(kind, 0, self.batch, runs), channel.pack_parts(parts), len(parts)))
        self.on_sent()
        assert self.pid or self.runner.serve_one()
        return self._receive(runs)

    def _receive(self, runs: int) -> tuple[list[Array], list[Told]]:
        try:
            data, fds, _, _ = self.sock.recvmsg(channel.MAX_MESSAGE, channel.ANCILLARY)
        except ConnectionResetError:
            raise Died from None
        if not data:
            raise Died
        header, body, count = channel.unpack(data)
        if header.kind == Message.FAILED:
            raise Failed(json.loads(body)["reason"])
        area: Any = self.memory.outputs[0]
        if fds:
            fd = int.from_bytes(fds[0][2][:4], "little")
            area = os.pread(fd, os.fstat(fd).st_size, 0)
            os.close(fd)
        *parts, records = channel.unpack_parts(body, count)
        found = []
        for part, spec in zip(parts, self.outputs if parts else [], strict=True):
            starts = [part.offset + run * part.stride for run in range(runs)]
            rows = [np.frombuffer(bytes(area[s : s + part.nbytes]), spec.datatype.numpy) for s in starts]
            found.append(np.concatenate([row.reshape(part.shape) for row in rows]))
        return found, wire.unpack_told(area[records.offset : records.offset + records.nbytes], self.asked)
