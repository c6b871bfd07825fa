"""A gateway without processes: real tables, channels and memory; the test plays supervisor, controller, worker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from changeover.gateway.admission import Room
from changeover.gateway.http_asker import HttpAsker
from changeover.gateway.models import Models
from changeover.gateway.pipeline import Pipeline
from changeover.gateway.repository import Repository
from changeover.tensors import Datatype
from changeover.transport import channel, page
from changeover.transport.channel import ChannelMemory, ChannelSize, Header, Message, Part
from changeover.transport.control import (
    Committed,
    LoadingEntry,
    Prepare,
    RoutingTable,
    Signature,
    TensorEntry,
    encode,
)
from changeover.transport.link import Frame, Kind, frame
from changeover.transport.page import RoutePage, TableRecord, TableStore

WORD = 1
SIZE = ChannelSize(3, 4096, 4096)
PATIENCE = 90.0


def entry(loading: int, version: str, **changes: Any) -> LoadingEntry:
    """A loading of the model `y = factor * x`, FP32, rows free, four columns."""
    signature = Signature([TensorEntry("x", "FP32", [-1, 4])], [TensorEntry("y", "FP32", [-1, 4])], True)
    values = {"signature": signature, "max_batch": 8, "run_timeout": 5.0} | changes
    return LoadingEntry(loading=loading, version=version, digest=f"{loading:064d}", **values)


@dataclass
class Request:
    """What the door hands to the application."""

    body: bytes
    headers: dict[bytes, bytes] = field(default_factory=dict)
    method: str = "POST"
    path: str = "/v2/models/m/infer"
    query: str = ""
    certified: bool = False
    received: float = field(default_factory=time.monotonic)
    abandoned: Callable[[], None] | None = None
    status: int = 0
    head: bytes = b""
    answer: bytes = b""
    held: int = 0
    most_held: int = 1 << 30

    def hold(self, size: int) -> bool:
        """Count what would be the budget's."""
        taken = self.held + size <= self.most_held
        self.held += size * taken
        return taken

    def respond(self, status: int, head: bytes, body: Sequence[bytes | memoryview], *, close: bool = False) -> None:
        """Keep the answer; the memory it came from is the worker's."""
        assert not self.status, "answered twice"
        self.status, self.head, self.answer = status, head, b"".join(body)

    def json(self) -> Any:
        """The answer's body."""
        return json.loads(self.answer)

    @property
    def values(self) -> list[float]:
        """The first output's values."""
        found: list[float] = self.json()["outputs"][0]["data"]
        return found


def question(values: Sequence[float] = (1, 2, 3, 4), *, rows: int = 1, **more: Any) -> Request:
    """An inference of `rows` equal rows."""
    tensor = {"name": "x", "shape": [rows, 4], "datatype": "FP32", "data": list(values) * rows}
    headers = more.pop("headers", {})
    return Request(json.dumps({"inputs": [tensor], **more}).encode(), headers)


class FakeWorker:
    """The worker's end of a channel, honest or not."""

    def __init__(self, sock: socket.socket, memory: int, member: int) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.member = member
        self.memory = ChannelMemory(memory, SIZE)

    async def take(self) -> tuple[Header, list[Part]]:
        """The next batch.

        Raises:
            ConnectionError: the gateway has closed the channel, as it may with answers unread when a test ends.
        """
        data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.sock, channel.MAX_MESSAGE), PATIENCE)
        if not data:
            raise ConnectionError("the gateway closed the channel")
        header, parts, count = channel.unpack(data)
        self.memory.hands[header.slot] = header.batch
        return header, channel.unpack_parts(parts, count)

    def rows(self, header: Header, part: Part) -> np.ndarray[Any, Any]:
        """The input as it lies in the slot."""
        raw = self.memory.inputs[header.slot][part.offset : part.offset + part.nbytes]
        return np.frombuffer(raw, np.float32).reshape(part.shape)

    def give(self, header: Header, values: np.ndarray[Any, Any], **changes: Any) -> None:
        """Answer a batch; `changes` falsify the header, `part` the descriptor."""
        raw = values.astype(np.float32).tobytes()
        self.memory.outputs[header.slot][: len(raw)] = raw
        part = Part(0, Datatype.FP32, values.shape, 0, len(raw), channel.aligned(len(raw)))
        part = part._replace(**changes.pop("part", {}))
        reply = Header(Message.ANSWER, header.slot, header.batch, header.runs, 1000, 1000)._replace(**changes)
        self.ring(channel.pack(reply, channel.pack_parts([part]), 1))

    def refuse(self, header: Header, reason: str = "run_failed") -> None:
        """Say that the session raised."""
        body = json.dumps({"reason": reason, "detail": "an operator failed"}).encode()
        self.ring(channel.pack(Header(Message.FAILED, header.slot, header.batch, header.runs), body, 0))

    def ring(self, message: bytes, fds: Sequence[int] = ()) -> None:
        """Send whatever it is."""
        socket.send_fds(self.sock, [message], list(fds))

    async def serve_one(self, factor: float) -> int:
        """Answer the next batch rightly; returns its rows."""
        header, (part,) = await self.take()
        rows = self.rows(header, part)
        self.give(header, rows * factor)
        return len(rows)

    async def serve(self, factor: float) -> None:
        """Answer until the gateway closes the channel."""
        with contextlib.suppress(ConnectionError):
            while True:
                await self.serve_one(factor)


class Stage:
    """Models and pipeline of a gateway, and what they told the supervisor."""

    def __init__(self, *, queue_limit: int = 100, delay: float = 1.0, timeout: float = PATIENCE) -> None:
        self.page_fd, self.store_fd = page.create_page(), page.create_store()
        self.page = RoutePage(self.page_fd, writable=True)
        self.store = TableStore(self.store_fd, writable=True)
        self.told: list[Frame] = []
        self.models = Models(RoutePage(self.page_fd), TableStore(self.store_fd), self.told.append)
        self.pipeline = Pipeline(self.models, Room(queue_limit, delay), timeout)
        self.models.serve_with(self.pipeline)
        self.repository = Repository(self.told.append, explicit=True)
        self._next = 100

    def heard(self, kind: Kind) -> list[Any]:
        """Bodies of the messages of a kind, so far."""
        return [f.json() for f in self.told if f.kind is kind]

    @property
    def denounced(self) -> list[int]:
        """Workers that the gateway wants killed."""
        return [body["member"] for body in self.heard(Kind.KILL)]

    def connect(self, loading: int, **more: Any) -> FakeWorker:
        """A channel to the next incarnation of a loading's worker."""
        memory, gateway, worker = channel.create(SIZE)
        self._next += 1
        size = [SIZE.slots, SIZE.input_bytes, SIZE.output_bytes]
        made = FakeWorker(worker, memory, self._next)
        body = {"loading": loading, "worker": self._next, "gateway": 1, "size": size, **more}
        self.models.on_channel(frame(Kind.CHANNEL, body, fds=[memory, gateway.detach()]))
        return made

    def publish(self, epoch: int, *entries: LoadingEntry, weight: int = 0, **more: Any) -> RoutingTable:
        """A table that sends all traffic to the first entry, or `weight` buckets to the second, the candidate."""
        active = entries[0].loading
        buckets = [(10_000 - weight, active)]
        if weight:
            buckets.insert(0, (weight, entries[1].loading))
        table = RoutingTable("m", WORD, epoch, [b for b in buckets if b[0]], list(entries), active, **more)
        self.store.append(TableRecord(WORD, epoch, 1, encode(table)), self.page.words)
        return table

    def commit(self, epoch: int) -> None:
        """Store the epoch and tell the gateway."""
        self.page.store(WORD, epoch)
        self.models.on_committed(Committed(WORD, epoch))

    def serve(self, epoch: int, *entries: LoadingEntry, **more: Any) -> list[FakeWorker]:
        """Publish, prepare, connect what is new, and commit; returns the new workers."""
        self.publish(epoch, *entries, **more)
        asked = len(self.heard(Kind.OPEN))
        self.models.on_prepare(Prepare(WORD, [epoch]))
        workers = [self.connect(body["loading"]) for body in self.heard(Kind.OPEN)[asked:]]
        self.commit(epoch)
        return workers

    def ask(self, request: Request) -> Request:
        """Hand a request to the pipeline."""
        self.pipeline.infer(HttpAsker(request), "m", None)  # type: ignore[arg-type]
        return request

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition, with a bound."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come true"
            await asyncio.sleep(0.002)

    async def answered(self, *requests: Request) -> None:
        """Wait until all have an answer."""
        await self.until(lambda: all(r.status for r in requests), "an answer to each request")

    def close(self) -> None:
        """Close the channels and descriptors."""
        for target in self.models.targets.values():
            target.batcher.close()
        os.close(self.page_fd)
        os.close(self.store_fd)


@contextlib.asynccontextmanager
async def stage(**options: Any) -> AsyncIterator[Stage]:
    """A stage with its clock running."""
    made = Stage(**options)
    watch = asyncio.create_task(made.pipeline.watch())
    try:
        yield made
        assert not watch.done(), watch.exception()
    finally:
        watch.cancel()
        made.close()
