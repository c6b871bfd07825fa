"""What a rollout needs of the processes it moves: today the gateways and workers of one machine.

`Fleet` is a Protocol because the driver is tested against a fleet in memory too; both must behave alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from changeover.records.certificate import Requests, Window
from changeover.telemetry.evidence import Arm
from changeover.telemetry.evidence import Window as StepWindow
from changeover.transport.control import Acknowledged, WorkerSpec, WorkerStatus
from changeover.transport.page import TableRecord
from changeover.transport.proving import ProverSpec, ProverStatus


@dataclass(frozen=True, slots=True)
class Death:
    """A worker was reaped: `code` is its exit code, negative for a signal; `restarts`: the supervisor replaces it.

    `cause` is the supervisor's word for it (`crashed`, `killed`, `memory_limit`, `stopped`, …).
    """

    loading: int
    code: int
    restarts: bool
    cause: str = "crashed"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a prover said last, and its death when it died before its end; neither: it fell silent."""

    status: ProverStatus | None
    death: Death | None


@dataclass(frozen=True, slots=True)
class StoreTimes:
    """CLOCK_MONOTONIC nanoseconds just before and after the store."""

    before_ns: int
    after_ns: int


class Fleet(Protocol):
    """Commands to gateways and workers; times are seconds."""

    async def prove(self, spec: ProverSpec, patience: float) -> Proof:
        """Have a loading proven by a prover that may be silent for so many seconds."""

    def spawn(self, loading: int, spec: WorkerSpec) -> None:
        """Have a worker for this loading from now on."""

    def retire(self, loading: int, grace: float) -> None:
        """Have none any more; SIGKILL after `grace`."""

    def publish(self, record: TableRecord) -> None:
        """Put a table into the store."""

    async def prepare(self, word: int, epochs: list[int]) -> None:
        """Every gateway can pick from these tables when this returns."""

    def store(self, word: int, epoch: int) -> StoreTimes:
        """The switch."""

    async def acknowledged(self, word: int, epoch: int) -> list[tuple[Acknowledged, int]]:
        """Wait until no gateway can pick from an older table; answers with the time each came (monotonic ns)."""

    async def drained(self, loading: int, deadline: float) -> bool:
        """Wait until no gateway holds a lease on a loading."""

    async def loaded(self, loading: int, deadline: float) -> WorkerStatus | Death | None:
        """Wait for a new worker to be ready, to fail or to die."""

    async def gone(self, loading: int, deadline: float) -> bool:
        """Wait until a retired worker was reaped."""

    def forget(self, loading: int) -> None:
        """Drop what is known of a released loading."""

    def epoch(self, word: int) -> int:
        """The epoch in force, 0 for none."""

    def tables(self) -> list[TableRecord]:
        """All tables in the store."""

    def loadings_of(self, model: str) -> set[int]:
        """Loadings of a model that have a worker."""

    def memory(self, loading: int) -> int | None:
        """Bytes that the worker of a loading has to itself, None without a worker."""

    def held(self) -> int:
        """Bytes that all workers have to themselves."""

    def machine_memory(self) -> int:
        """Bytes that all processes of this machine, or of its control group, may take."""

    def traffic(self, loading: int, since_ns: int) -> Arm:
        """What a loading has answered since a time (CLOCK_MONOTONIC, of the last three minutes)."""

    def window(self, model: str, start_ns: int, end_ns: int) -> Window:
        """Latency of the requests answered between two times (CLOCK_MONOTONIC)."""

    def requests(self, model: str, start_ns: int, end_ns: int) -> Requests:
        """Counts of the requests answered between two times."""

    def evidence(
        self, model: str, active: int, candidate: int, epoch: int, since_ns: int, *, row: bool = False
    ) -> StepWindow:
        """Both loadings under one epoch, from a time (CLOCK_MONOTONIC; 0: the epoch's begin) until now.

        With `row`, and the last such window's `end_ns` as the next one's `since_ns`, everything counts once: that is
        for the judge alone.
        """
