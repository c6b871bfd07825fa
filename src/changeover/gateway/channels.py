"""The gateway's end of a channel: batches go out in slots, answers are checked before a byte is believed.

A worker that rings with anything but the answer to a batch it was given (wrong length, wrong slot, wrong number,
a flood) breaks the channel; its batches are handed back for another worker.
"""

from __future__ import annotations

import array
import asyncio
import errno
import logging
import os
import socket
from collections.abc import Sequence
from time import monotonic
from typing import Protocol

from changeover.errors import Internal, ModelRunFailed
from changeover.gateway import replies
from changeover.gateway.hunger import Hunger
from changeover.gateway.replies import Replies
from changeover.gateway.sequences.records import EMPTY, Layout, packed_records, take_records
from changeover.gateway.ticket import Batch
from changeover.tensors import Tensor, TensorSpec
from changeover.transport import channel
from changeover.transport.channel import ChannelMemory, ChannelSize, Header, Message, Part
from changeover.transport.received import own_memory

_KEPT_LAYOUTS = 512
_LONG = 0.25
"""Of what a worker may be silent: from then on it is looked at."""
_HUNGRY = 0.8
"""Of a silence, at most, for want of a core: one that hangs is given up at five times its time."""
MAY_STARVE = 10.0
"""Seconds for which a copy at idle priority may get no turn, beside the time of its run."""
_NO_ROOM = frozenset({errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS, errno.EMFILE})
"""Of the machine or this process: the worker at the other end lives."""
log = logging.getLogger("changeover.gateway")


class Owner(Protocol):
    """Who gets the answers: the batcher, or a test."""

    def on_answer(self, batch: Batch, outputs: list[list[Tensor]]) -> None:
        """One list of output tensors a ticket, views of the slot: to be used before this returns."""

    def on_refusal(self, batch: Batch, error: ModelRunFailed) -> None:
        """The session raised."""

    def on_loss(self, in_hand: list[Batch], waiting: list[Batch], why: str | None) -> None:
        """The channel is gone with these batches; `why` names a broken rule, None is a death."""


def _is_quiet(batch: Batch) -> bool:
    """Whether the worker runs it at idle priority."""
    guard = batch.tickets[0].guard
    return guard is not None and guard.quiet


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
        self.instances = max(size.slots - channel.SPARE_SLOTS, 1)
        self.batches: dict[int, Batch] = {}
        self.run_ns = 0.0  # smoothed time of one run
        self._sock = sock
        self._memory = ChannelMemory(memory_fd, size)
        os.close(memory_fd)
        self._datatypes = [s.datatype for s in inputs]
        self._fixed = all(d.itemsize for d in self._datatypes)
        self._replies = Replies(outputs)
        self._next = 1
        self._answered = 0.0
        self._beat = 0
        self._layouts: dict[tuple[object, int, int], Layout] = {}
        self._owner: Owner | None = None
        self.hunger = Hunger(0)

    def attach(self, owner: Owner) -> None:
        """Start listening for answers."""
        self._owner = owner
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self.readable)

    def close(self) -> tuple[list[Batch], list[Batch]]:
        """Stop; returns the batches without an answer: those that the worker had begun, and those that waited."""
        if self._owner is not None:
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
        self._owner = None
        self._sock.close()
        left, self.batches = self.batches, {}
        in_hand = [batch for slot, batch in left.items() if self._memory.hands[slot] == batch.number]
        return in_hand, [batch for batch in left.values() if batch not in in_hand]

    def busy_since(self, now: float) -> float | None:
        """Since when the worker has been silent on the batch that waits longest (monotonic seconds).

        A batch in hand counts from when it was seen there; one that waits behind others (also another gateway's),
        from the last sign of life; a copy at idle priority some seconds later, which it may starve on a busy machine.
        None when no batch is out.
        """
        oldest: float | None = None
        if self._memory.beat != self._beat:
            self._beat, self._answered = self._memory.beat, now
        for slot, batch in self.batches.items():
            if not batch.taken and self._memory.hands[slot] == batch.number:
                batch.taken = now
            since = (batch.taken or max(batch.sent, self._answered)) + (MAY_STARVE if _is_quiet(batch) else 0.0)
            oldest = since if oldest is None else min(oldest, since)
        return oldest

    def hangs(self, now: float, most: float) -> float:
        """Seconds of a silence that is longer than `most`, 0 while there is none.

        That the worker lacked a core is not held against it, up to four fifths of the silence.
        """
        since = self.busy_since(now)
        if since is None or now - since < most * _LONG:
            return 0.0
        silent = now - since
        hungry = min(self.hunger.look(since, now), silent * _HUNGRY)
        return silent if silent - hungry >= most else 0.0

    # -- out -----------------------------------------------------------------------------------------------

    def send(self, batch: Batch) -> None:
        """Write the rows into a free slot and ring. A dead worker shows itself at the next read.

        Raises:
            OSError: there is no memory or descriptor for a batch, or for its doorbell; nothing was sent.
        """
        slot = self.free[-1]
        kind, records = batch.tickets[0].kind, b""
        if kind is Message.RUN:
            layout = self._layout(batch)
        else:
            layout, records = packed_records(batch, self._layout(batch) if kind is Message.STEP else EMPTY)
        memory, fd = self._memory.inputs[slot], None
        if layout.need > len(memory):
            fd, memory = channel.own_memory(layout.need)
        self.free.pop()
        batch.begun = monotonic()
        for position, at in enumerate(layout.starts):
            step = layout.steps[position]
            for ticket in batch.tickets:
                data = ticket.admitted.data[position]
                size = len(data)
                memory[at : at + size] = data
                at += step or size  # noqa: PLW2901 - a cursor
        if records:
            memory[layout.need - len(records) : layout.need] = records
        batch.number, batch.sent = self._next, monotonic()
        self._next += 1
        self.batches[slot] = batch
        header = Header(Message.QUIET if _is_quiet(batch) else kind, slot, batch.number, batch.runs)
        try:
            self._ring(channel.pack(header, layout.packed, len(layout.starts) + bool(records)), fd)
        except OSError:
            self._returned(slot)
            raise

    def _layout(self, batch: Batch) -> Layout:
        """The same shapes and rows lie the same way each time, so that the worker knows the layout too."""
        key = (batch.tickets[0].admitted.key, batch.rows, batch.runs)
        layout = self._layouts.get(key)
        if layout is None:
            layout = self._make_layout(batch)
            if self._fixed and len(self._layouts) < _KEPT_LAYOUTS:
                self._layouts[key] = layout
        return layout

    def _make_layout(self, batch: Batch) -> Layout:
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
        return Layout(channel.pack_parts(parts), [p.offset for p in parts], steps, at)

    def _ring(self, message: bytes, fd: int | None) -> None:
        try:
            if fd is None:
                self._sock.send(message)
            else:
                self._sock.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise
            # Dead: end of file is on its way.
        finally:
            if fd is not None:
                os.close(fd)

    # -- back ----------------------------------------------------------------------------------------------

    def readable(self) -> None:
        """Answers, at most as many as batches are out: what comes beyond has no batch and breaks the channel."""
        try:
            while self._owner is not None and self._receive() and self.batches:
                pass  # what comes when no batch is out is read when the loop calls again
        except Internal as error:
            self._lose(error.message)
        except Exception:
            log.exception("an answer of worker %d cannot be handled", self.member)
            self._lose("its answer cannot be handled")

    def _receive(self) -> bool:
        try:
            data, ancillary, _, _ = self._sock.recvmsg(channel.MAX_MESSAGE, channel.ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return False
        except OSError:
            data, ancillary = b"", []
        own = own_memory(ancillary)
        if not data:
            self._lose(None)
            return False
        header, body, count = channel.unpack(data)
        batch = self.batches.get(header.slot)
        if batch is None or batch.number != header.batch or batch.runs != header.runs or self._owner is None:
            raise Internal("an answer to no batch that is out", reason="channel_malformed")
        self._answered = monotonic()
        if header.kind == Message.FAILED:
            failure = replies.failure(body)
            self._owner.on_refusal(self._returned(header.slot), failure)
            return True
        if header.kind != Message.ANSWER:
            raise Internal("a worker sent a request", reason="channel_malformed")
        memory = self._memory.outputs[header.slot] if own is None else own
        if batch.tickets[0].kind is not Message.RUN:
            body, count = take_records(batch, body, count, memory)
        try:
            outputs = self._replies.outputs(batch, body, count, memory)
        except ModelRunFailed as error:
            self._owner.on_refusal(self._returned(header.slot), error)
            return True
        batch.wall_ns, batch.cpu_ns = header.wall_ns, header.cpu_ns
        run_ns = header.wall_ns / header.runs
        if run_ns:
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
        in_hand, waiting = self.close()
        if owner is not None:
            owner.on_loss(in_hand, waiting, why)
