"""A worker that keeps sequences, played by a test: the answer is the sum of a sequence's steps."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from time import monotonic_ns
from typing import Any

import numpy as np

from changeover.sequences.declared import Layout, StateLayout
from changeover.sequences.mapping import MapStep
from changeover.sequences.saved import Flag, Saved, unpack
from changeover.sequences.slab import Geometry, Mark, Slab
from changeover.sequences.wire import POSITION, Ask, Status, Told, Verb, pack_told, unpack_asks
from changeover.tensors import Datatype, Tensor
from changeover.transport import channel
from changeover.transport.channel import Header, Message, Part
from changeover.transport.control import LoadingEntry
from changeover.transport.page import sealed_memfd
from tests.gateway.sequences.loadings import Loading, Step, total_of
from tests.gateway.stage import FakeWorker, Request, entry, question

GEOMETRY = Geometry(32, 1024)


def stateful(
    loading: int, version: str, way: str = "carry", back: tuple[MapStep, ...] | None = None, **more: Any
) -> LoadingEntry:
    """A loading of a model that keeps sequences; `back`: steps of its way back."""
    states = [StateLayout("h", "hn", "INT64", [1], 0, 1)]
    layout = Layout(states, [], 60.0, 16, way, 0, GEOMETRY.slots, GEOMETRY.saved_bytes, way, back)  # type: ignore[arg-type]
    return entry(loading, version, sequence=layout, **more)


def step(identity: int | str, value: float = 1, *, start: bool = False, end: bool = False, **more: Any) -> Request:
    """A step of a sequence."""
    parameters = {"sequence_id": identity, "sequence_start": start, "sequence_end": end}
    return question([value] * 4, parameters=parameters, **more)


class StatefulWorker:
    """Serves a channel from the records of its loading, which outlive it.

    Attributes:
        records: by key.
        fails: runs fail.
        asked: verbs, as they came.
        slab: what a gateway may read of it; written only by `save`.
    """

    def __init__(self, worker: FakeWorker, loading: int, before: StatefulWorker | None = None) -> None:
        self.worker = worker
        self.loading = loading
        self.records: dict[bytes, Loading] = before.records if before is not None else {}
        self.asked: list[Verb] = []
        self.batches: list[int] = []
        self.fails = False
        self.refuses = False

    async def serve(self) -> None:
        """Answer until the gateway closes the channel."""
        with contextlib.suppress(ConnectionError):
            while True:
                await self.serve_one()

    async def serve_one(self) -> None:
        """Answer the next batch."""
        header, parts = await self.worker.take()
        asks = self.read(header, parts[-1])
        values = [0.0] * len(asks)
        if header.kind == Message.STEP:
            values = self.worker.rows(header, parts[0])[:, 0].tolist()
            self.batches.append(len(asks))
        answers = [self.one(ask, int(value)) for ask, value in zip(asks, values, strict=True)]
        if any(told is None for told, _ in answers):
            self.worker.refuse(header)
            return
        self.give(header, answers)

    def read(self, header: Header, part: Part) -> list[Ask]:
        """The records of a batch."""
        assert part.position == POSITION
        asks = unpack_asks(bytes(self.worker.memory.inputs[header.slot][part.offset : part.offset + part.nbytes]))
        self.asked += [ask.verb for ask in asks]
        return asks

    def one(self, ask: Ask, value: int) -> tuple[Told | None, int]:
        """What becomes of one record, and the sum after it."""
        record = self.records.setdefault(ask.key, Loading(self.loading))
        record.fails, record.refuses = self.fails, self.refuses
        if ask.verb is Verb.RELEASE:
            return record.release(ask.to), 0
        if ask.verb is Verb.FORGET:
            return record.forget(ask.generation), 0
        before = record.saved, record.status, record.moved_to
        if ask.body and (told := record.put(ask.body, ask.generation, stays=bool(ask.flags & Flag.STAYS))) is not None:
            return told, 0
        if ask.verb is Verb.IMPORT:
            return Told(Status.OK), 0
        wanted = Step(ask.token, value, end=bool(ask.flags & Flag.END))
        told = record.run(wanted, start=bool(ask.flags & Flag.START))
        if told is None:
            record.saved, record.status, record.moved_to = before
        saved = record.saved
        if told is None or saved is None:
            return told, 0
        if told.status is Status.DUPLICATE:
            told = told._replace(body=answered(saved).pack())
        return told._replace(since=saved.since, steps=saved.steps), total_of(saved)

    def give(self, header: Header, answers: list[tuple[Told | None, int]]) -> None:
        """Outputs and records."""
        memory = self.worker.memory.outputs[header.slot]
        parts: list[Part] = []
        at = 0
        if header.kind == Message.STEP:
            rows = np.array([[total] * 4 for _, total in answers], np.float32)
            memory[: rows.nbytes] = rows.tobytes()
            parts.append(Part(0, Datatype.FP32, rows.shape, 0, rows.nbytes, channel.aligned(rows.nbytes)))
            at = channel.aligned(rows.nbytes)
        told = pack_told([told for told, _ in answers if told is not None])
        memory[at : at + len(told)] = told
        parts.append(Part(POSITION, Datatype.UINT8, (len(told),), at, len(told), channel.aligned(len(told))))
        reply = Header(Message.ANSWER, header.slot, header.batch, header.runs, 1000, 1000)
        self.worker.ring(channel.pack(reply, channel.pack_parts(parts), len(parts)))

    def slab(self) -> int:
        """A slab with what the records hold now."""
        fd = sealed_memfd("slab", GEOMETRY.total)
        memory = Slab(fd, GEOMETRY)
        for slot, (key, record) in enumerate(self.records.items()):
            if record.saved is not None:
                memory.claim(slot, key, b"\x01" + b"7")
                memory.commit(slot, record.saved.pack(), monotonic_ns())
                if record.status is Status.MOVED:
                    memory.mark(slot, Mark.RELEASED, record.moved_to)
        memory.count(sum(r.saved is not None and r.status is Status.OK for r in self.records.values()))
        return fd


def answered(saved: Saved) -> Saved:
    """With the answer of its step."""
    data = np.full((1, 4), total_of(saved), np.float32).tobytes()
    return unpack(replace(saved, answer=(Tensor("y", Datatype.FP32, (1, 4), data),)).pack())
