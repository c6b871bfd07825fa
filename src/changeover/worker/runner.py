"""Runs batches: reads a doorbell, feeds the session from the slot, writes the outputs beside, rings back."""

from __future__ import annotations

import array
import json
import os
import socket
import threading
import time
from collections import OrderedDict
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np

from changeover.errors import ModelError, ModelRunFailed
from changeover.runtime import quiet
from changeover.runtime.session import Array, Session
from changeover.sequences.wire import POSITION
from changeover.tensors import Datatype, flat_bytes, join_bytes, split_bytes
from changeover.transport import channel
from changeover.transport.channel import ChannelMemory, ChannelSize, Header, Message, Part
from changeover.worker.bound import Bindings
from changeover.worker.own import map_own, out_of_memory, room

_KEPT_LAYOUTS = 256
_AS_IT_IS = nullcontext()
_DATATYPES = {int(d): d for d in Datatype}


class ChannelClosed(Exception):
    """The gateway at the other end is gone."""


class Task(NamedTuple):
    """A batch as it came: header, descriptors and their number, and what came with it."""

    header: Header
    parts: bytes
    tensors: int
    ancillary: list[tuple[int, int, bytes]]


_Feeds = list[dict[str, Array]]
"""The input arrays of a batch by name, one dict a run; views of the slot, but for BYTES."""


class Runner:
    """The worker's end of one channel.

    Tasks of one channel may run in several threads: each has a slot of its own, and what is kept is kept by slot.

    Attributes:
        patience: seconds for which a quiet batch stays at low priority.
    """

    def __init__(self, session: Session, sock: socket.socket, memory_fd: int, size: ChannelSize) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.patience = 1.0
        self._session = session
        self._memory = ChannelMemory(memory_fd, size)
        os.close(memory_fd)
        self._copies = any(not s.datatype.itemsize for s in session.inputs)  # BYTES are decoded, not viewed
        self._layouts: OrderedDict[tuple[int, int, bytes], _Feeds] = OrderedDict()
        self._bound = Bindings(session)
        self._answers: OrderedDict[tuple[Any, ...], tuple[list[Array], bytes]] = OrderedDict()
        self._holders = 1
        self._lock = threading.Lock()

    def hold(self) -> None:
        """Keep the channel open for a task that is on its way to another thread."""
        with self._lock:
            self._holders += 1

    def let_go(self) -> None:
        """One holder less; the last one closes the channel."""
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self.sock.close()

    def break_off(self) -> None:
        """End the channel from any thread: both ends read its end of file."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def strike(self) -> None:
        """Tell the gateway that the worker lives, although it has another one's batch in hand."""
        self._memory.strike()

    def serve_one(self) -> bool:
        """Answer one batch; False when none waits.

        Raises:
            ChannelClosed: the gateway is gone.
            Internal: it sent what makes no sense.
        """
        task = self.receive()
        if task is None:
            return False
        self.handle(task)
        return True

    def receive(self) -> Task | None:
        """The next batch; None when none waits.

        Raises:
            ChannelClosed: the gateway is gone.
            Internal: it sent what makes no sense.
        """
        try:
            data, ancillary, _, _ = self.sock.recvmsg(channel.MAX_MESSAGE, channel.ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ChannelClosed from error
        if not data:
            raise ChannelClosed
        return Task(*channel.unpack(data), ancillary)

    def handle(self, task: Task) -> None:
        """Run a batch and answer it.

        Raises:
            ChannelClosed: the gateway is gone.
            Internal: it sent what makes no sense.
        """
        header, parts, count, ancillary = task
        self._memory.hands[header.slot] = header.batch
        try:
            with quiet.lowered(self.patience) if header.kind == Message.QUIET else _AS_IT_IS:
                self._answer(header, parts, count, map_own(ancillary))
        except ModelError as error:
            self._fail(header, error)
        except MemoryError:
            self._fail(header, out_of_memory("a batch"))
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ChannelClosed from error

    def _answer(self, header: Header, parts: bytes, count: int, own: memoryview | None) -> None:
        batch = (header.slot, header.runs, parts)
        bound = self._bound.of(batch) if own is None else None
        wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
        if bound is not None and bound.run():
            wall, cpu = time.perf_counter_ns() - wall, time.thread_time_ns() - cpu
            reply = Header(Message.ANSWER, header.slot, header.batch, header.runs, wall, cpu)
            self.sock.send(channel.pack(reply, bound.parts, bound.outputs))
            return
        runs = self._feeds(header, parts, count, own)
        wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
        results = [self._session.run_feeds(feeds) for feeds in runs]
        wall, cpu = time.perf_counter_ns() - wall, time.thread_time_ns() - cpu
        reply = Header(Message.ANSWER, header.slot, header.batch, header.runs, wall, cpu)
        known = self._answers.get(_shapes(header.slot, results))
        if own is None and known is not None and self._bound.wants(batch, wall):
            self._bound.take(batch, runs, results, known)
        self._reply(reply, results)

    # -- inputs --------------------------------------------------------------------------------------------

    def _feeds(self, header: Header, parts: bytes, count: int, own: memoryview | None) -> _Feeds:
        """The feeds of a batch; a layout seen before costs one look-up, its arrays show the new bytes."""
        key = (header.slot, header.runs, parts)
        feeds = self._layouts.get(key) if own is None else None
        if feeds is None:
            memory = self._memory.inputs[header.slot] if own is None else own
            feeds = self._build(channel.unpack_parts(parts, count), header.runs, memory)
            if own is None and not self._copies:
                _keep(self._layouts, key, feeds)
        return feeds

    def _build(self, parts: list[Part], runs: int, memory: memoryview) -> _Feeds:
        feeds: _Feeds = [{} for _ in range(runs)]
        for part in parts:
            spec = self._session.inputs[part.position]
            channel.check_part(part, runs, spec.datatype.itemsize, len(memory))
            for run in range(runs):
                feeds[run][spec.name] = _input(part, run, memory)
        return feeds

    # -- outputs -------------------------------------------------------------------------------------------

    def _reply(self, header: Header, results: list[list[Array]]) -> None:
        """Outputs into the slot, or into memory of their own when they do not fit."""
        key = _shapes(header.slot, results)
        known = self._answers.get(key)
        if known is None:
            self._reply_slowly(header, results, key)
            return
        views, parts = known
        for at, arrays in enumerate(results):
            for position, value in enumerate(arrays):
                views[at * len(arrays) + position][...] = value
        self.sock.send(channel.pack(header, parts, len(results[0])))

    def _reply_slowly(
        self, header: Header, results: list[list[Array]], key: tuple[Any, ...] | None = None, records: bytes = b""
    ) -> None:
        """Work out the layout of the outputs, and keep it under `key` if it can come again; records go behind them."""
        blobs = [[_raw(a, s.datatype) for a, s in zip(r, self._session.outputs, strict=True)] for r in results]
        parts = self._parts(results, blobs, header.runs) if results else []
        need = max((p.offset + (header.runs - 1) * p.stride + p.nbytes for p in parts), default=0)
        described = parts
        if records:
            at, size = channel.aligned(need), len(records)
            described = [*parts, Part(POSITION, Datatype.UINT8, (size,), at, size, channel.aligned(size))]
            need = at + size
        memory, fd = room(self._memory.outputs[header.slot], need)
        for run, row in enumerate(blobs):
            for part, blob in zip(parts, row, strict=True):
                start = part.offset + run * part.stride
                memory[start : start + part.nbytes] = blob
        if records:
            memory[need - len(records) : need] = records
        packed = channel.pack_parts(described)
        self._ring(channel.pack(header, packed, len(described)), fd)
        if fd is None and key is not None and all(s.datatype.itemsize for s in self._session.outputs):
            views = [_view(part, run, memory) for run in range(header.runs) for part in parts]
            _keep(self._answers, key, (views, packed))

    def _ring(self, message: bytes, fd: int | None) -> None:
        if fd is None:
            self.sock.send(message)
            return
        try:
            self.sock.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
        finally:
            os.close(fd)

    def _parts(self, results: list[list[Array]], blobs: list[list[memoryview]], runs: int) -> list[Part]:
        parts: list[Part] = []
        at = 0
        for position, (value, spec) in enumerate(zip(results[0], self._session.outputs, strict=True)):
            sizes = {len(row[position]) for row in blobs}
            if len(sizes) != 1 or any(r[position].shape != value.shape for r in results):
                raise ModelRunFailed(f"output {spec.name} differs in shape between runs", reason="output_undeclared")
            if spec.shape and not spec.fits(value.shape):
                raise ModelRunFailed(
                    f"output {spec.name} is declared {list(spec.shape)} but came as {list(value.shape)}",
                    reason="output_undeclared",
                )
            nbytes = sizes.pop()
            stride = channel.aligned(nbytes)
            parts.append(Part(position, spec.datatype, value.shape, at, nbytes, stride))
            at += runs * stride
        return parts

    def _fail(self, header: Header, error: ModelError) -> None:
        body = json.dumps({"reason": error.reason, "detail": error.message[: channel.MAX_DETAIL]}).encode()
        self.sock.send(channel.pack(Header(Message.FAILED, header.slot, header.batch, header.runs), body, 0))


def _shapes(slot: int, results: list[list[Array]]) -> tuple[Any, ...]:
    """By what the layout of outputs is kept."""
    return (slot, *[array.shape for arrays in results for array in arrays])


def _keep(store: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    store[key] = value
    if len(store) > _KEPT_LAYOUTS:
        store.popitem(last=False)


def _input(part: Part, run: int, memory: memoryview) -> Array:
    """One run's tensor as a view of shared memory (BYTES: decoded)."""
    start = part.offset + run * part.stride
    datatype = _DATATYPES[part.datatype]
    data = memory[start : start + part.nbytes]
    if datatype is not Datatype.BYTES:
        return np.frombuffer(data, datatype.numpy).reshape(part.shape)
    flat = np.empty(int(np.prod(part.shape, dtype=np.int64)), dtype=object)
    try:
        flat[:] = [bytes(item).decode() for item in split_bytes(data, flat.size)]
    except UnicodeDecodeError:
        raise ModelRunFailed(
            "a BYTES element is not UTF-8, and onnxruntime takes nothing else", reason="bytes_not_utf8"
        ) from None
    return flat.reshape(part.shape)


def _view(part: Part, run: int, memory: memoryview) -> Array:
    start = part.offset + run * part.stride
    return np.frombuffer(memory[start : start + part.nbytes], _DATATYPES[part.datatype].numpy).reshape(part.shape)


def _raw(value: Array, datatype: Datatype) -> memoryview:
    if datatype is Datatype.BYTES:
        return memoryview(join_bytes([str(v).encode() for v in value.reshape(-1)]))
    return flat_bytes(value)
