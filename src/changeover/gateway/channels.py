"""The gateway's end of a channel: batches go out in slots, answers are checked before a byte is believed.

A worker that rings with anything but the answer to a batch it was given (wrong length, wrong slot, wrong number,
a flood) breaks the channel; its batches are handed back for another worker.
"""

from __future__ import annotations

import array
import asyncio
import json
import mmap
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from time import monotonic
from typing import NamedTuple, Protocol

from changeover.errors import Internal, ModelRunFailed
from changeover.gateway.ticket import Ticket
from changeover.tensors import Datatype, Raw, Tensor, TensorSpec, bytes_offsets, split_rows
from changeover.transport import channel
from changeover.transport.channel import ChannelMemory, ChannelSize, Header, Message, Part
from changeover.transport.page import is_sealed

_KEPT_LAYOUTS = 512


@dataclass(slots=True)
class Batch:
    """What is in one slot: tickets in row order, or one ticket a run."""

    tickets: list[Ticket]
    rows: int
    runs: int
    number: int = 0
    sent: float = 0.0


class Owner(Protocol):
    """Who gets the answers: the batcher, or a test."""

    def on_answer(self, batch: Batch, outputs: list[list[Tensor]]) -> None:
        """One list of output tensors a ticket, views of the slot: to be used before this returns."""

    def on_refusal(self, batch: Batch, error: ModelRunFailed) -> None:
        """The session raised."""

    def on_loss(self, batches: list[Batch], why: str | None) -> None:
        """The channel is gone with these batches; `why` names a broken rule, None is a death."""


class _Layout(NamedTuple):
    """Where a batch's inputs go: descriptors as they travel, start and step (0: behind one another) a tensor."""

    packed: bytes
    starts: list[int]
    steps: list[int]
    need: int


class WorkerChannel:
    """One open channel to the worker incarnation `member`."""

    def __init__(
        self,
        sock: socket.socket,
        memory_fd: int,
        size: ChannelSize,
        member: int,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
    ) -> None:
        sock.setblocking(False)
        self.member = member
        self.free = list(range(size.slots))
        self.batches: dict[int, Batch] = {}
        self.run_ns = 0.0  # smoothed time of one run
        self._sock = sock
        self._memory = ChannelMemory(memory_fd, size)
        os.close(memory_fd)
        self._datatypes = [s.datatype for s in inputs]
        self._fixed = all(d.itemsize for d in self._datatypes)
        self._outputs = outputs
        self._next = 1
        self._answered = 0.0
        self._layouts: dict[tuple[object, int, int], _Layout] = {}
        self._checked: dict[tuple[bytes, int, int], list[Part]] = {}
        self._owner: Owner | None = None

    def attach(self, owner: Owner) -> None:
        """Start listening for answers."""
        self._owner = owner
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._readable)

    def close(self) -> list[Batch]:
        """Stop; returns the batches that were never answered."""
        if self._owner is not None:
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
        self._owner = None
        self._sock.close()
        batches, self.batches = list(self.batches.values()), {}
        return batches

    @property
    def busy_since(self) -> float | None:
        """When the worker took the batch that it has in hand (monotonic seconds), None when it has none."""
        sent = min((b.sent for b in self.batches.values()), default=None)
        return None if sent is None else max(sent, self._answered)

    # -- out -----------------------------------------------------------------------------------------------

    def send(self, batch: Batch) -> None:
        """Write the rows into a free slot and ring. A dead worker shows itself at the next read.

        Raises:
            OSError: there is no memory or descriptor for a batch that does not fit its slot; nothing was sent.
        """
        slot = self.free[-1]
        layout = self._layout(batch)
        memory, fd = self._memory.inputs[slot], None
        if layout.need > len(memory):
            fd, memory = channel.own_memory(layout.need)
        self.free.pop()
        for position, at in enumerate(layout.starts):
            step = layout.steps[position]
            for ticket in batch.tickets:
                data = ticket.admitted.data[position]
                size = len(data)
                memory[at : at + size] = data
                at += step or size  # noqa: PLW2901 - a cursor
        batch.number, batch.sent = self._next, monotonic()
        self._next += 1
        self.batches[slot] = batch
        header = Header(Message.RUN, slot, batch.number, batch.runs)
        self._ring(channel.pack(header, layout.packed, len(layout.starts)), fd)

    def _layout(self, batch: Batch) -> _Layout:
        """The same shapes and rows lie the same way each time, so that the worker knows the layout too."""
        key = (batch.tickets[0].admitted.key, batch.rows, batch.runs)
        layout = self._layouts.get(key)
        if layout is None:
            layout = self._make_layout(batch)
            if self._fixed and len(self._layouts) < _KEPT_LAYOUTS:
                self._layouts[key] = layout
        return layout

    def _make_layout(self, batch: Batch) -> _Layout:
        parts: list[Part] = []
        at = 0
        for position, datatype in enumerate(self._datatypes):
            first = batch.tickets[0].admitted
            shape, size = first.shapes[position], len(first.data[position])
            stride = channel.aligned(size)
            if batch.runs == 1 and len(batch.tickets) > 1:
                shape = (batch.rows, *shape[1:])
                size = sum(len(t.admitted.data[position]) for t in batch.tickets)
            parts.append(Part(position, datatype, shape, at, size, stride))
            at += batch.runs * channel.aligned(size)
        steps = [p.stride if batch.runs > 1 else 0 for p in parts]
        return _Layout(channel.pack_parts(parts), [p.offset for p in parts], steps, at)

    def _ring(self, message: bytes, fd: int | None) -> None:
        try:
            if fd is None:
                self._sock.send(message)
            else:
                self._sock.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
        except OSError:
            pass  # dead: end of file is on its way
        finally:
            if fd is not None:
                os.close(fd)

    # -- back ----------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        """Answers, at most as many as batches are out: what comes beyond has no batch and breaks the channel."""
        try:
            while self._owner is not None and self._receive():
                pass
        except Internal as error:
            self._lose(error.message)

    def _receive(self) -> bool:
        try:
            data, ancillary, _, _ = self._sock.recvmsg(channel.MAX_MESSAGE, channel.ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return False
        except OSError:
            data, ancillary = b"", []
        own = _own_memory(ancillary)
        if not data:
            self._lose(None)
            return False
        header, body, count = channel.unpack(data)
        batch = self.batches.get(header.slot)
        if batch is None or batch.number != header.batch or batch.runs != header.runs or self._owner is None:
            raise Internal("an answer to no batch that is out", reason="channel_malformed")
        if header.kind == Message.FAILED:
            failure = _failure(body)
            self._owner.on_refusal(self._returned(header.slot), failure)
            return True
        if header.kind != Message.ANSWER:
            raise Internal("a worker sent a request", reason="channel_malformed")
        memory = self._memory.outputs[header.slot] if own is None else own
        parts = self._parts(body, count, batch.runs, len(memory))
        self._answered = monotonic()
        try:
            outputs = self._cut(batch, parts, memory)
        except ModelRunFailed as error:
            self._owner.on_refusal(self._returned(header.slot), error)
            return True
        run_ns = header.wall_ns / header.runs
        self.run_ns = 0.9 * self.run_ns + 0.1 * run_ns if self.run_ns else run_ns
        self._owner.on_answer(batch, outputs)
        if self._owner is not None:
            self._returned(header.slot)
        return True

    def _returned(self, slot: int) -> Batch:
        self.free.append(slot)
        return self.batches.pop(slot)

    def _lose(self, why: str | None) -> None:
        owner = self._owner
        batches = self.close()
        if owner is not None:
            owner.on_loss(batches, why)

    def _parts(self, body: bytes, count: int, runs: int, limit: int) -> list[Part]:
        """The descriptors, checked against declaration and memory; a layout seen before is not checked again."""
        key = (body, runs, limit)
        parts = self._checked.get(key)
        if parts is None:
            parts = channel.unpack_parts(body, count)
            if len(parts) != len(self._outputs):
                raise Internal(f"{len(parts)} outputs for {len(self._outputs)}", reason="channel_malformed")
            for position, (part, spec) in enumerate(zip(parts, self._outputs, strict=True)):
                if part.position != position or part.datatype != spec.datatype:
                    raise Internal("an output of another type than declared", reason="channel_malformed")
                channel.check_part(part, runs, spec.datatype.itemsize, limit)
                if spec.shape and not spec.fits(part.shape):
                    raise Internal("an output of another shape than declared", reason="channel_malformed")
            if len(self._checked) < _KEPT_LAYOUTS:
                self._checked[key] = parts
        return parts

    def _cut(self, batch: Batch, parts: list[Part], memory: memoryview) -> list[list[Tensor]]:
        """Each ticket's outputs, as views."""
        if len(batch.tickets) == 1:
            return [[self._tensor(p, memory, 0) for p in parts]]
        if batch.runs > 1:
            return [[self._tensor(p, memory, run) for p in parts] for run in range(batch.runs)]
        counts = [t.admitted.rows for t in batch.tickets]
        columns = [self._rows(part, memory, batch.rows, counts) for part in parts]
        return [list(row) for row in zip(*columns, strict=True)]

    def _tensor(self, part: Part, memory: memoryview, run: int) -> Tensor:
        spec = self._outputs[part.position]
        start = part.offset + run * part.stride
        data: Raw = memory[start : start + part.nbytes]
        if spec.datatype is Datatype.BYTES:
            data = _elements(bytes(data), prod(part.shape))  # a copy: checked lengths must not change afterwards
        return Tensor(spec.name, spec.datatype, part.shape, data)

    def _rows(self, part: Part, memory: memoryview, rows: int, counts: list[int]) -> list[Tensor]:
        """One output of a batch, cut where the tickets' rows end.

        Raises:
            ModelRunFailed: the model made more or fewer rows of these inputs than they have (`output_undeclared`);
                each ticket gets a run of its own then.
        """
        if not part.shape or part.shape[0] != rows:
            raise ModelRunFailed(
                f"output {part.position} has shape {list(part.shape)} for {rows} rows", reason="output_undeclared"
            )
        whole = self._tensor(part, memory, 0)
        if whole.datatype is Datatype.BYTES:
            return split_rows(whole, counts)
        rest = part.shape[1:]
        row_bytes = prod(rest) * whole.datatype.itemsize
        name, datatype = whole.name, whole.datatype
        tensors: list[Tensor] = []
        at = part.offset
        for count in counts:
            end = at + count * row_bytes
            tensors.append(Tensor(name, datatype, (count, *rest), memory[at:end]))
            at = end
        return tensors


def _failure(body: bytes) -> ModelRunFailed:
    try:
        told = json.loads(body)
        return ModelRunFailed(str(told["detail"]), reason=str(told["reason"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Internal("a failure that tells nothing", reason="channel_malformed") from None


def _elements(data: bytes, count: int) -> bytes:
    """The same bytes, when they are `count` elements of a BYTES tensor."""
    try:
        bytes_offsets(data, count)
    except ValueError as error:
        raise Internal(str(error), reason="channel_malformed") from None
    return data


def _own_memory(ancillary: list[tuple[int, int, bytes]]) -> memoryview | None:
    """Memory that came with an answer; its size must be sealed, or reading it could kill this process."""
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    try:
        if not fds:
            return None
        if not is_sealed(fds[0]):
            raise Internal("memory whose size is not sealed", reason="channel_malformed")
        return memoryview(mmap.mmap(fds[0], os.fstat(fds[0]).st_size, access=mmap.ACCESS_READ))
    except (OSError, ValueError):
        raise Internal("memory that cannot be mapped", reason="channel_malformed") from None
    finally:
        for fd in fds:
            os.close(fd)
