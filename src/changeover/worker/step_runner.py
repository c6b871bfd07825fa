"""The worker's end of a channel whose batches are steps of sequences."""

from __future__ import annotations

import socket

from changeover.errors import Internal
from changeover.runtime.stateless import Stateless
from changeover.sequences.wire import POSITION, Ask, pack_told, unpack_asks
from changeover.tensors import Datatype
from changeover.transport import channel
from changeover.transport.channel import ChannelSize, Header, Message
from changeover.worker.runner import Runner
from changeover.worker.steps import Steps


class StepRunner(Runner):
    """Runs batches as `Runner` does, and those of kind STEP and RECORDS by the records behind their inputs."""

    def __init__(
        self, session: Stateless, sock: socket.socket, memory_fd: int, size: ChannelSize, steps: Steps
    ) -> None:
        super().__init__(session, sock, memory_fd, size)
        self._steps = steps

    def _answer(self, header: Header, parts: bytes, count: int, own: memoryview | None) -> None:
        if header.kind not in (Message.STEP, Message.RECORDS):
            super()._answer(header, parts, count, own)
            return
        memory = self._memory.inputs[header.slot] if own is None else own
        asks, inputs = _asks(parts, count, memory)
        if header.kind == Message.RECORDS:
            told = [self._steps.records.answer(ask) for ask in asks]
            self._reply_slowly(header._replace(kind=Message.ANSWER), [], records=pack_told(told))
            return
        ran = self._steps.run(self._feeds(header, inputs, count - 1, own), asks)
        reply = Header(Message.ANSWER, header.slot, header.batch, header.runs, ran.wall_ns, ran.cpu_ns)
        self._reply_slowly(reply, ran.results, records=pack_told(ran.told))


def _asks(parts: bytes, count: int, memory: memoryview) -> tuple[list[Ask], bytes]:
    """The records of a message, and the descriptors of its inputs.

    Raises:
        Internal: there are none, or they make no sense (reason `channel_malformed`).
    """
    described = channel.unpack_parts(parts, count)
    part = described[-1] if described else None
    if part is None or part.position != POSITION or part.datatype != Datatype.UINT8:
        raise Internal("steps without their records", reason="channel_malformed")
    channel.check_part(part, 1, 1, len(memory))
    asks = unpack_asks(bytes(memory[part.offset : part.offset + part.nbytes]))
    return asks, parts[: len(parts) - len(channel.pack_parts([part]))]
