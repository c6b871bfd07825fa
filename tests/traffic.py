"""Open-loop traffic against a real server, over kept and fresh connections; every answer is checked."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

from changeover.testing import PATIENCE, wait_for

_ANSWER_SECONDS = 60.0
_CONNECT_SECONDS = 30.0
MOST_OPEN = 256
"""Requests without an answer after which the next one waits: what is due after a pause of the machine is no flood that
a server has to shed."""
_IDLE_SECONDS = 60.0
"""The door closes what was idle for 75 s: a client that goes on with it may meet that."""
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class Answer:
    """One good answer; times are `time.monotonic`."""

    sent: float
    received: float
    version: str
    epoch: int
    right: bool


@dataclass(slots=True)
class Report:
    """What became of the requests. `refused`: no connection, so nothing was sent."""

    answers: list[Answer] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    refused: int = 0

    @property
    def wrong(self) -> int:
        """Answers with another version's values."""
        return sum(not a.right for a in self.answers)

    def versions(self) -> set[str]:
        """All versions that answered."""
        return {a.version for a in self.answers}

    def stale(self, old: str, new: str) -> int:
        """Requests sent after the first answer of `new` was there, and answered by `old`."""
        first = min((a.received for a in self.answers if a.version == new), default=float("inf"))
        return sum(a.version == old and a.sent > first for a in self.answers)

    def longest_gap(self) -> float:
        """Seconds in which no answer came, at most."""
        times = sorted(a.received for a in self.answers)
        return max((b - a for a, b in pairwise(times)), default=0.0)


class Traffic:
    """`with Traffic(port, "m", {"1": 2.0}) as traffic:` sends until the block ends; then `traffic.report` is whole.

    Args:
        port: inference port of a server.
        model: a model `y = factor * x` with four columns.
        factors: by version; an answer is right when its values are those of the version that it names.
        rate: requests a second, sent when they are due whatever became of the others.
        fresh: share of requests on a connection of their own.
    """

    def __init__(
        self, port: int, model: str, factors: dict[str, float], *, rate: float = 150.0, fresh: float = 0.2
    ) -> None:
        self.report = Report()
        self._port = port
        self._model = model
        self._factors = factors
        self._rate = rate
        self._fresh = fresh
        self.connections = 0
        """Connections that are open now; `opened`: all there ever were."""
        self.opened = 0
        self._idle: list[tuple[float, Pair]] = []
        """And since when."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="traffic")

    def __enter__(self) -> Self:
        self._thread.start()
        self.wait_for_answers(20)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(_ANSWER_SECONDS * 2)
        assert not self._thread.is_alive(), "the traffic does not end"

    def wait_for_answers(self, more: int, patience: float = PATIENCE) -> None:
        """Wait until so many further requests were answered."""
        target = len(self.report.answers) + more
        wait_for(lambda: len(self.report.answers) >= target, f"{more} more answers", patience)

    def wait_for_version(self, version: str, patience: float = PATIENCE) -> None:
        """Wait until the newest answer is of a version."""
        wait_for(lambda: self.report.answers[-1].version == version, f"an answer of version {version}", patience)

    async def _run(self) -> None:
        tasks: set[asyncio.Task[None]] = set()
        number, due = 0, time.monotonic()
        while not self._stop.is_set():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            while len(tasks) >= MOST_OPEN:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            task = asyncio.create_task(self._one(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number += 1
            due += 1.0 / self._rate
        await asyncio.gather(*tasks)
        for _, (_, writer) in self._idle:
            writer.close()

    async def _one(self, number: int) -> None:
        fresh = (number * self._fresh) % 1.0 < self._fresh
        try:
            pair = self._kept() if not fresh else None
            pair = pair or await self._connect()
        except OSError:
            self.report.refused += 1
            return
        keep = False
        try:
            keep = await asyncio.wait_for(self._exchange(number, *pair), _ANSWER_SECONDS)
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            self.report.failed.append(f"request {number}: {error!r}")
        if keep and not fresh:
            self._idle.append((time.monotonic(), pair))
        else:
            pair[1].close()
            self.connections -= 1

    def _kept(self) -> Pair | None:
        """The connection that was used last, unless the server is about to close it for having been idle."""
        while self._idle:
            since, pair = self._idle.pop()
            if time.monotonic() - since < _IDLE_SECONDS:
                return pair
            pair[1].close()
            self.connections -= 1
        return None

    async def _connect(self) -> Pair:
        pair = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self._port), _CONNECT_SECONDS)
        self.connections += 1
        self.opened += 1
        return pair

    async def _exchange(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send one request and judge its answer; whether the connection can be used again."""
        values = [float(number % 1000 + i) for i in range(4)]
        tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": values}
        body = json.dumps({"inputs": [tensor]}).encode()
        head = f"POST /v2/models/{self._model}/infer HTTP/1.1\r\nhost: t\r\ncontent-length: {len(body)}\r\n\r\n"
        sent = time.monotonic()
        writer.write(head.encode() + body)
        top = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = {k.lower(): v for k, _, v in (line.partition(": ") for line in top[1:])}
        answer = await reader.readexactly(int(fields["content-length"]))
        received = time.monotonic()
        if " 200 " not in top[0]:
            self.report.failed.append(f"request {number}: {top[0]} {answer.decode()}")
        else:
            self._judge(values, json.loads(answer), int(fields["changeover-epoch"]), sent, received)
        return fields.get("connection", "keep-alive") != "close"

    def _judge(self, values: list[float], answer: dict[str, Any], epoch: int, sent: float, received: float) -> None:
        version = answer["model_version"]
        right = answer["outputs"][0]["data"] == [v * self._factors.get(version, float("nan")) for v in values]
        self.report.answers.append(Answer(sent, received, version, epoch, right))
