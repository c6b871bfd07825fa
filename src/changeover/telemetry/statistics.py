"""What the runs of a loading took, in the terms of Triton's statistics extension; counts only grow. Pure.

A request's time has four parts: `queue` (until it has been written down for the worker, and until the worker takes it
in hand), `compute_input` (writing its batch into the worker's memory), `compute_infer` (the run of its batch, as the
worker measures it) and `compute_output` (reading and writing its answer).
"""

from __future__ import annotations

from collections.abc import Sized
from typing import Any, Protocol

import msgspec

_EXACT = 1024
"""Rows up to which each batch size is told apart; clients choose the size of theirs, so memory must not follow it."""


class Counted(Protocol):
    """A batch as it is counted; see `gateway.ticket.Batch`."""

    rows: int
    runs: int
    wall_ns: int
    begun: float
    sent: float

    @property
    def tickets(self) -> Sized:
        """Its requests."""


class Size(msgspec.Struct, array_like=True):
    """Executions of one batch size."""

    count: int = 0
    input_ns: int = 0
    infer_ns: int = 0
    output_ns: int = 0


class Statistics(msgspec.Struct, array_like=True):
    """Of one loading in one gateway, or of several together.

    Attributes:
        inferences: rows of the requests that were run.
        executions: runs.
        runs: requests that were run, which `queue_ns` to `output_ns` are of.
        success, fail: requests answered well, and those that were not by no fault of the caller; with their time from
            the first byte to the answer.
        last_ms: when the last request was run, milliseconds since 1970.
        sizes: by rows of a run.
    """

    loading: int = 0
    inferences: int = 0
    executions: int = 0
    runs: int = 0
    success: int = 0
    success_ns: int = 0
    fail: int = 0
    fail_ns: int = 0
    queue_ns: int = 0
    input_ns: int = 0
    infer_ns: int = 0
    output_ns: int = 0
    last_ms: int = 0
    sizes: dict[int, Size] = {}

    def at(self, rows: int) -> Size:
        """The entry of a batch size."""
        size = self.sizes.get(rows)
        if size is None:
            size = self.sizes[rows] = Size()
        return size

    def add(self, other: Statistics) -> None:
        """Count what another gateway has counted too."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.last_ms = max(self.last_ms, other.last_ms)
        for rows, more in other.sizes.items():
            size = self.at(rows)
            size.count += more.count
            size.input_ns += more.input_ns
            size.infer_ns += more.infer_ns
            size.output_ns += more.output_ns

    def as_triton(self, model: str, version: str) -> dict[str, Any]:
        """One element of `model_stats`."""
        none = _duration(0, 0)
        return {
            "name": model,
            "version": version,
            "last_inference": self.last_ms,
            "inference_count": self.inferences,
            "execution_count": self.executions,
            "inference_stats": {
                "success": _duration(self.success, self.success_ns),
                "fail": _duration(self.fail, self.fail_ns),
                "queue": _duration(self.runs, self.queue_ns),
                "compute_input": _duration(self.runs, self.input_ns),
                "compute_infer": _duration(self.runs, self.infer_ns),
                "compute_output": _duration(self.runs, self.output_ns),
                "cache_hit": none,
                "cache_miss": none,
            },
            "batch_stats": [
                {
                    "batch_size": rows,
                    "compute_input": _duration(size.count, size.input_ns),
                    "compute_infer": _duration(size.count, size.infer_ns),
                    "compute_output": _duration(size.count, size.output_ns),
                }
                for rows, size in sorted(self.sizes.items())
            ],
            "memory_usage": [],
            "response_stats": {},
        }


class Ran(msgspec.Struct, frozen=True, array_like=True):
    """The same without each batch size, in seconds, for the gateway's reports.

    Attributes:
        executions, inferences, requests: as in `Statistics` (there `runs` are the last).
        queue to output: seconds of these requests together.
        sizes: executions by rows, rounded up to a power of two.
    """

    executions: int = 0
    inferences: int = 0
    requests: int = 0
    queue: float = 0.0
    input: float = 0.0
    infer: float = 0.0
    output: float = 0.0
    sizes: dict[int, int] = {}


class Runs:
    """Counts the runs of one loading in one gateway: a few sums a batch; the statistics are made when asked for.

    Attributes:
        last: when the last answer of a run had gone out, on the clock that `count` is given.
    """

    __slots__ = ("_sums", "last")

    def __init__(self) -> None:
        self.last = 0.0
        self._sums: dict[int, list[float]] = {}

    def count(self, batch: Counted, waited: float, answered: float, ended: float) -> None:
        """Count a batch: its requests waited so long together, its answer came at `answered` and was out at `ended`."""
        runs, rows, wall, number = batch.runs, batch.rows, batch.wall_ns, len(batch.tickets)
        sums = self._at(batch)
        filling = batch.sent - batch.begun
        sums[0] += runs
        sums[1] += rows
        sums[2] += number
        sums[3] += waited
        sums[4] += filling
        sums[5] += filling * number
        sums[6] += wall
        sums[7] += wall * number if runs == 1 else wall  # each waits for the whole run of its batch
        sums[8] += ended - answered
        self.last = ended

    def count_failed(self, batch: Counted) -> None:
        """Count a batch whose run failed: an execution as any other, and nobody's inference."""
        sums = self._at(batch)
        sums[0] += batch.runs
        sums[4] += batch.sent - batch.begun

    def _at(self, batch: Counted) -> list[float]:
        """The sums of a batch's size."""
        key = batch.rows if batch.runs == 1 else 1
        if key > _EXACT:
            key = 1 << (key - 1).bit_length()
        sums = self._sums.get(key)
        if sums is None:
            sums = self._sums[key] = [0] * 9
        return sums

    def statistics(self, loading: int, now: float, now_ms: int) -> Statistics:
        """What was counted; `now` and `now_ms` are the same moment on the clock of `count` and in Triton's terms."""
        total = Statistics(loading, last_ms=now_ms - int((now - self.last) * 1e3) if self.last else 0)
        for key, (runs, rows, number, waited, filled, each_filled, wall, each_wall, wrote) in self._sums.items():
            total.executions += int(runs)
            total.inferences += int(rows)
            total.runs += int(number)
            total.queue_ns += max(int(waited * 1e9 - each_wall - each_filled * 1e9), 0)
            total.input_ns += int(each_filled * 1e9)
            total.infer_ns += int(each_wall)
            total.output_ns += int(wrote * 1e9)
            total.sizes[key] = Size(int(runs), int(filled * 1e9), int(wall), int(wrote * 1e9))
        return total

    def ran(self) -> Ran:
        """What was counted, in short."""
        sizes: dict[int, int] = {}
        for key, sums in self._sums.items():
            size = 1 << (key - 1).bit_length()
            sizes[size] = sizes.get(size, 0) + int(sums[0])
        columns = [*map(sum, zip(*self._sums.values(), strict=True))] or [0] * 9
        runs, rows, number, waited, _, filled, _, wall, wrote = columns
        queue = max(waited - wall * 1e-9 - filled, 0.0)
        return Ran(int(runs), int(rows), int(number), queue, filled, wall * 1e-9, wrote, sizes)


_SUMS = tuple(f for f in Statistics.__struct_fields__ if f not in ("loading", "last_ms", "sizes"))


def _duration(count: int, ns: int) -> dict[str, int]:
    return {"count": count, "ns": ns}
