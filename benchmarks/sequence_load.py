"""Clients of sequences: so many live at once, each step checked against what an unswitched run answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
At = Sequence[tuple[float, Callable[[], Awaitable[None]]]]
"""What is to be done when this share of the steps is answered."""


@dataclass(slots=True)
class Outcome:
    """What came of all steps.

    Attributes:
        answers: [sequences, steps], NaN where none came.
        versions: who gave them, 0 where nobody did.
        latency: seconds, the same shape.
        errors: reasons and how often.
        seconds: of the whole run.
    """

    answers: Array
    versions: Array
    latency: Array
    errors: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def against(self, expected: Array) -> dict[str, Any]:
        """Steps without an answer, steps with a wrong one, and the largest error."""
        there = np.isfinite(self.answers)
        apart = np.abs(np.where(there, self.answers - expected, 0.0))
        return {
            "steps": self.answers.size, "lost": int((~there).sum()), "wrong": int((apart > 1e-6).sum()),
            "largest_error": float(f"{apart.max():.3g}"), "errors": self.errors,
            "by_version": {str(v): int((self.versions == v).sum()) for v in np.unique(self.versions)},
            "steps_per_second": round(self.answers.size / self.seconds),
        }  # fmt: skip

    def moved(self) -> Array:
        """Seconds of each step that was the first of its sequence in another version than the step before."""
        changed = (self.versions[:, 1:] != self.versions[:, :-1]) & (self.versions[:, 1:] > 0)
        return np.asarray(self.latency[:, 1:][changed])


class Load:
    """So many connections, the sequences dealt to them; a connection sends one step at a time.

    Args:
        port: of the server.
        model: its name.
        signals: [sequences, steps], what is sent.
        connections: at once.
        rate: steps a second in all; 0 for as many as there can be.
        doors: sockets of each connection, one after the other, and one more after each time of being `still`: later
            steps may come to a gateway that saw none before, or that knows only where a sequence was earlier.
    """

    def __init__(
        self, port: int, model: str, signals: Array, connections: int, rate: float = 0.0, doors: int = 1
    ) -> None:
        self._port = port
        self._path = f"/v2/models/{model}/infer"
        self._signals = signals
        self._connections = min(connections, len(signals))
        self._rate = rate
        self._doors = doors
        self._changes = 0
        self._under_way = 0
        self._may_send, self._nobody_sends = asyncio.Event(), asyncio.Event()
        self._may_send.set()
        self._nobody_sends.set()
        self._done = 0
        self._marks: list[tuple[float, asyncio.Event]] = []
        shape = signals.shape
        self.outcome = Outcome(np.full(shape, np.nan), np.zeros(shape, np.int64), np.zeros(shape))

    @asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """No step is under way in the block; after it each connection takes another socket."""
        self._may_send.clear()
        await self._nobody_sends.wait()
        try:
            yield
        finally:
            self._changes += 1
            self._may_send.set()

    def run(self, at: At = ()) -> Outcome:
        """All steps of all sequences."""
        asyncio.run(self._run(at))
        return self.outcome

    async def _run(self, at: At) -> None:
        started = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for share, act in at:
                tasks.create_task(self._when(share, act))
            for number in range(self._connections):
                tasks.create_task(self._connection(range(number, len(self._signals), self._connections), started))
        self.outcome.seconds = time.perf_counter() - started

    async def more(self, steps: int) -> None:
        """Wait until so many steps more are answered, or all."""
        await self._reached(min(self._done + steps, self._signals.size))

    async def _when(self, share: float, act: Callable[[], Awaitable[None]]) -> None:
        await self._reached(share * self._signals.size)
        await act()

    async def _reached(self, done: float) -> None:
        reached = asyncio.Event()
        if self._done < done:
            self._marks.append((done, reached))
            await reached.wait()

    async def _connection(self, mine: range, started: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        steps = self._signals.shape[1]
        sent, door = 0, self._door(0)
        for step in range(steps):
            for sequence in mine:
                if self._rate:
                    due = started + sent * self._connections / self._rate
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))
                sent += 1
                await self._may_send.wait()
                self._count(1)
                if door != self._door(step):
                    door = self._door(step)
                    writer.close()
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                await self._step(reader, writer, sequence, step)
                self._count(-1)
        writer.close()

    def _count(self, more: int) -> None:
        self._under_way += more
        (self._nobody_sends.clear if self._under_way else self._nobody_sends.set)()

    def _door(self, step: int) -> tuple[int, int]:
        """Which socket a step goes through."""
        return step * self._doors // self._signals.shape[1], self._changes

    async def _step(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sequence: int, step: int) -> None:
        flags = {"sequence_id": sequence + 1}
        if step == 0:
            flags["sequence_start"] = True
        if step == self._signals.shape[1] - 1:
            flags["sequence_end"] = True
        x = float(self._signals[sequence, step])
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [x]}
        body = json.dumps({"inputs": [tensor], "parameters": flags}).encode()
        head = f"POST {self._path} HTTP/1.1\r\nhost: bench\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        began = time.perf_counter()
        writer.write(head + body)
        status, answer = await _answer(reader)
        found = self.outcome
        found.latency[sequence, step] = time.perf_counter() - began
        self._done += 1
        for share, reached in self._marks:
            if self._done >= share:
                reached.set()
        if status == 200:
            told = json.loads(answer)
            found.answers[sequence, step] = told["outputs"][0]["data"][0]
            found.versions[sequence, step] = int(told["model_version"])
        else:
            reason = str(json.loads(answer).get("reason") or json.loads(answer).get("error"))[:80]
            found.errors[reason] = found.errors.get(reason, 0) + 1


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
    return int(lines[0].split()[1]), await reader.readexactly(length)
