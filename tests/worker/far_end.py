"""The gateway's end of a channel to a real session, played by a test."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from changeover.runtime import session
from changeover.tensors import Datatype, flat_bytes, join_bytes, split_bytes
from changeover.transport import channel
from changeover.transport.channel import ChannelMemory, ChannelSize, Header, Message, Part
from changeover.transport.page import is_sealed
from changeover.worker.runner import Runner

SIZE = ChannelSize(2, 1024, 1024)


class Gateway:
    """The other end."""

    def __init__(self, loaded: session.Session) -> None:
        memory, self.sock, worker = channel.create(SIZE)
        self.memory = ChannelMemory(memory, SIZE)
        self.runner = Runner(loaded, worker, memory, SIZE)
        self.outputs = loaded.outputs
        self.batch = 0

    def send(
        self, parts: list[Part], *, runs: int = 1, slot: int = 0, fds: list[int] | None = None, quiet: bool = False
    ) -> None:
        """Ring for a batch whose bytes are in place."""
        self.batch += 1
        header = Header(Message.QUIET if quiet else Message.RUN, slot, self.batch, runs)
        message = channel.pack(header, channel.pack_parts(parts), len(parts))
        socket.send_fds(self.sock, [message], fds or [])

    def run(self, *arrays: np.ndarray[Any, Any], slot: int = 0) -> list[np.ndarray[Any, Any]]:
        """One batch of arrays through the slot; raises what the worker told of a failure."""
        parts, at = [], 0
        for position, array in enumerate(arrays):
            datatype = Datatype.from_numpy(array.dtype)
            raw = join_bytes(array.reshape(-1).tolist()) if datatype is Datatype.BYTES else bytes(flat_bytes(array))
            self.memory.inputs[slot][at : at + len(raw)] = raw
            parts.append(Part(position, datatype, array.shape, at, len(raw), channel.aligned(len(raw))))
            at += channel.aligned(len(raw))
        self.send(parts, slot=slot)
        assert self.runner.serve_one()
        return self.receive(slot)

    def receive(self, slot: int = 0, run: int = 0) -> list[np.ndarray[Any, Any]]:
        """The outputs of one run."""
        data, ancillary, _, _ = self.sock.recvmsg(channel.MAX_MESSAGE, channel.ANCILLARY)
        header, body, count = channel.unpack(data)
        assert (header.slot, header.batch) == (slot, self.batch)
        if header.kind == Message.FAILED:
            raise Failed(json.loads(body)["reason"])
        memory: Any = self.memory.outputs[slot]
        if ancillary:
            fd = int.from_bytes(ancillary[0][2][:4], "little")
            assert is_sealed(fd)
            memory = os.pread(fd, os.fstat(fd).st_size, 0)
            os.close(fd)
        found = []
        for part, spec in zip(channel.unpack_parts(body, count), self.outputs, strict=True):
            channel.check_part(part, header.runs, spec.datatype.itemsize, len(memory))
            start = part.offset + run * part.stride
            raw = bytes(memory[start : start + part.nbytes])
            if spec.datatype is Datatype.BYTES:
                items = split_bytes(raw, int(np.prod(part.shape)))
                found.append(np.array(items, object).reshape(part.shape))
            else:
                found.append(np.frombuffer(raw, spec.datatype.numpy).reshape(part.shape))
        return found


class Failed(Exception):
    """The worker answered with a failure."""


Open = Callable[[onnx.ModelProto], Gateway]
