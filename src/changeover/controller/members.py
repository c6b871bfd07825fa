"""What the controller knows of the gateways and workers: the last that each of them said."""

from __future__ import annotations

import resource
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, monotonic_ns
from typing import Any

import msgspec

from changeover.rollout.fleet import Death
from changeover.transport.control import Acknowledged, Measured, WorkerHealth, WorkerStatus

_PAGE = resource.getpagesize()


@dataclass(slots=True)
class GatewayState:
    """What one gateway said last.

    Attributes:
        ready: it is in service; before that it is joining.
        since: when this controller first heard of it, or of its being in service (monotonic seconds).
        killed: when it was asked to be killed.
        prepared: error or None by word and epoch.
        acknowledged: by word, with the time it came (monotonic ns).
        leases: on loadings that no table in force names any more.
    """

    member: int
    pid: int | None
    ready: bool = False
    since: float = field(default_factory=monotonic)
    killed: float | None = None
    prepared: dict[tuple[int, int], str | None] = field(default_factory=dict)
    acknowledged: dict[int, tuple[Acknowledged, int]] = field(default_factory=dict)
    leases: dict[int, int] = field(default_factory=dict)

    def in_service(self) -> None:
        """It accepts connections; what it could not do while it was joining it may be able to do now."""
        self.ready, self.since = True, monotonic()
        self.prepared = {key: error for key, error in self.prepared.items() if error is None}

    def has_prepared(self, word: int, epochs: list[int]) -> bool:
        """Whether it answered for all of these epochs; one that is joining may still wait for channels."""
        keys = [(word, epoch) for epoch in epochs]
        return all(key in self.prepared and (self.ready or self.prepared[key] is None) for key in keys)

    def has_acknowledged(self, word: int, epoch: int) -> bool:
        """Whether it can pick from no table older than `epoch`."""
        seen = self.acknowledged.get(word)
        return seen is not None and seen[0].epoch >= epoch

    def acknowledge(self, answer: Acknowledged, at_ns: int) -> None:
        """Take in its answer; what it prepared up to that epoch is of no more use."""
        self.acknowledged[answer.word] = answer, at_ns
        self.leases.update(answer.leases)
        self.prepared = {k: v for k, v in self.prepared.items() if k[0] != answer.word or k[1] > answer.epoch}


@dataclass(slots=True)
class WorkerState:
    """What is known of the worker of one loading."""

    loading: int
    model: str
    pid: int | None = None
    member: int | None = None
    status: WorkerStatus | None = None
    death: Death | None = None
    incarnations: int = 0
    health: tuple[WorkerHealth, int] | None = None
    """The last word on how its workers fare, and when it came (monotonic ns)."""

    @classmethod
    def of(cls, known: dict[str, Any]) -> WorkerState:
        """What the supervisor tells a new term; it keeps a worker's words unread, and they may make no sense."""
        try:
            status = msgspec.convert(known["status"], WorkerStatus) if known["status"] else None
        except msgspec.ValidationError:
            status = None
        made = cls(known["loading"], known["model"], known["pid"], known["member"], status)
        made.incarnations = 1
        if "health" in known:
            made.health = msgspec.convert(known["health"], WorkerHealth), monotonic_ns()
        return made

    @property
    def answer(self) -> WorkerStatus | Death | None:
        """What came of its start: its last report (`ready`, `failed`), else its death; None while it is under way."""
        if self.status is not None and self.status.state in ("ready", "failed"):
            return self.status
        return self.death

    def memory(self) -> int | None:
        """Bytes that it has to itself, and weights that others may map too; None when there is no process.

        From counters that the kernel keeps: its sums over a process (`smaps_rollup`) take a millisecond, and the
        worker's memory map with them.
        """
        if self.pid is None:
            return None
        try:
            resident, shared = Path(f"/proc/{self.pid}/statm").read_text().split()[1:3]
        except OSError:
            return None
        measured = self.status.measured if self.status else Measured()
        mapped = min(measured.mapped_bytes, int(shared) * _PAGE)
        return max((int(resident) - int(shared)) * _PAGE - measured.inherited_bytes, 0) + mapped
