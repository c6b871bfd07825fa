"""A fleet in memory: scripted gateways and workers around a real route page and a real table store.

It behaves as the gateways do (a table can only be prepared when the store has it and every worker it names lives) and
notes in `broken` what must never happen: an epoch that does not grow, a table whose active version was never proven,
the end of a worker that the table in force names.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from time import monotonic_ns

import msgspec

from changeover.controller.faults import Faults
from changeover.controller.observatory import Observatory
from changeover.errors import ChangeoverError
from changeover.records.certificate import Requests, Window
from changeover.rollout.fleet import Death, Proof, StoreTimes
from changeover.telemetry import evidence
from changeover.transport import page
from changeover.transport.control import (
    Acknowledged,
    GateResult,
    Measured,
    RoutingTable,
    Signature,
    TensorEntry,
    WorkerSpec,
    WorkerStatus,
)
from changeover.transport.page import RoutePage, TableRecord, TableStore
from changeover.transport.proving import ProverSpec, ProverStatus

MEASURED = Measured("nice", "miss", verify_s=0.25, load_s=0.5, warmup_s=0.25, rss_bytes=900, peak_bytes=1000)


class Fate(Enum):
    """What becomes of a new worker."""

    READY = "ready"
    FAILS = "fails"
    DIES = "dies"
    SILENT = "silent"


def signature(columns: int = 3) -> Signature:
    """One input and one output, rows free."""
    return Signature([TensorEntry("x", "FP32", [-1, columns])], [TensorEntry("y", "FP32", [-1, columns])], True)


@dataclass
class MemoryFleet:
    """The processes of one machine; they outlive the controller, `new_term` tells what a new one would know.

    Attributes:
        fates: of the workers of a version, `READY` where nothing is said.
            signatures: that a version's worker tells.
        proofs: what comes of the provers of a version, one after the other; without any it passes.
        proving: what provers were told.
        prepare_error: raised by `prepare`, `acknowledge_error` after the store.
        leased: loadings that never drain; `stubborn` ones are not reaped in time.
        patience: seconds that a drain was waited for last, by loading.
        old_pick_ns: start of the last pick from the old table, as gateways tell it.
        alive: workers that run, `proven` those that said they are ready.
        looks: loadings and epoch of each look at the evidence.
        calls: what was asked, in order; `point` is called before and after each of them.
    """

    fates: dict[str, Fate] = field(default_factory=dict)
    signatures: dict[str, Signature] = field(default_factory=dict)
    prepare_error: ChangeoverError | None = None
    acknowledge_error: ChangeoverError | None = None
    proofs: dict[str, list[Proof]] = field(default_factory=dict)
    proving: list[ProverSpec] = field(default_factory=list)
    leased: set[int] = field(default_factory=set)
    patience: dict[int, float] = field(default_factory=dict)
    stubborn: set[int] = field(default_factory=set)
    old_pick_ns: int = 0
    gateways: int = 2
    faults: Faults = field(default_factory=Faults)
    alive: dict[int, WorkerSpec] = field(default_factory=dict)
    proven: set[int] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    windows: list[tuple[int, int]] = field(default_factory=list)
    looks: list[tuple[int, int, int]] = field(default_factory=list)
    point: Callable[[str], None] = lambda _: None
    on_status: Callable[[WorkerStatus], None] = lambda _: None
    workers: dict[int, object] = field(default_factory=dict)
    observatory: Observatory = field(default_factory=Observatory)

    def __post_init__(self) -> None:
        descriptors = page.create_page(), page.create_store()
        self.page = RoutePage(descriptors[0], writable=True)
        self._store = TableStore(descriptors[1], writable=True)
        for descriptor in descriptors:
            os.close(descriptor)
        self._known: dict[int, str] = {}

    def new_term(self) -> None:
        """Forget what only the last controller knew."""
        self._known = {number: spec.model for number, spec in self.alive.items()}
        self.on_status = lambda _: None
        self.point = lambda _: None

    def in_force(self, word: int) -> RoutingTable | None:
        """The table that gateways pick from."""
        return self._table(word, self.page.words[word])

    def _table(self, word: int, epoch: int) -> RoutingTable | None:
        found = [r for r in self._store.read() if (r.word, r.epoch) == (word, epoch)]
        return msgspec.json.decode(found[-1].data, type=RoutingTable) if found else None

    def _call(self, what: str) -> None:
        self.point(f"before {what}")
        self.calls.append(what)

    # -- workers -------------------------------------------------------------------------------------------

    async def prove(self, spec: ProverSpec, patience: float) -> Proof:
        """As `proofs` has it, else everything passes."""
        self._call(f"prove {spec.worker.loading}")
        self.proving.append(spec)
        await asyncio.sleep(0)
        number, version = spec.worker.loading, spec.worker.version
        if self.proofs.get(version):
            return self.proofs[version].pop(0)
        fate = self.fates.get(version, Fate.READY)
        begun = ProverStatus(number, "warmup", "validating", [GateResult("integrity", "passed", "sound")])
        self.on_status(WorkerStatus(number, begun.state))
        if fate is Fate.SILENT:
            await asyncio.sleep(patience)
            return Proof(begun, None)
        if fate is Fate.DIES:
            return Proof(begun, Death(number, -11, restarts=False))
        if fate is Fate.FAILS:
            reason, detail = "output_not_finite", "the output y holds NaN"
            gates = [*begun.gates, GateResult("warmup", "failed", detail, {"reason": reason})]
            return Proof(ProverStatus(number, "warmup", "failed", gates, reason, detail), None)
        gates = [GateResult("integrity", "passed", "sound")]
        told = self.signatures.get(version, signature())
        return Proof(ProverStatus(number, "performance", "ready", gates, signature=told, measured=MEASURED), None)

    def held(self) -> int:
        return sum(self.memory(number) or 0 for number in self.alive)

    def spawn(self, loading: int, spec: WorkerSpec) -> None:
        self._call(f"spawn {loading}")
        self.alive[loading] = spec
        self._known[loading] = spec.model
        self.point(f"after spawn {loading}")

    def retire(self, loading: int, grace: float) -> None:
        self._call(f"retire {loading}")
        for word in range(1, 4):
            table = self.in_force(word)
            if table is not None and loading in [entry.loading for entry in table.loadings]:
                self.broken.append(f"the worker of {loading} was ended while epoch {table.epoch} names it")
        self.alive.pop(loading, None)
        self.point(f"after retire {loading}")

    async def loaded(self, loading: int, deadline: float) -> WorkerStatus | Death | None:
        self._call(f"loaded {loading}")
        await asyncio.sleep(0)
        version = self.alive[loading].version
        fate = self.fates.get(version, Fate.READY)
        for state in ("verifying", "loading", "validating"):
            self.on_status(WorkerStatus(loading, state))
        if fate is Fate.SILENT:
            await asyncio.sleep(deadline)
            return None
        if fate is Fate.READY:
            self.proven.add(loading)
            told = self.signatures.get(version, signature())
            gates = [GateResult("warmup", "passed", "all outputs are finite", {"batches": [1, 32]})]
            self.point(f"after loaded {loading}")
            return WorkerStatus(loading, "ready", signature=told, measured=MEASURED, gates=gates)
        del self.alive[loading]
        if fate is Fate.DIES:
            return Death(loading, -11, restarts=False)
        return WorkerStatus(loading, "failed", "output_not_finite", "the output y holds NaN")

    async def gone(self, loading: int, deadline: float) -> bool:
        self._call(f"gone {loading}")
        await asyncio.sleep(0)
        return loading not in self.stubborn

    def forget(self, loading: int) -> None:
        self._call(f"forget {loading}")
        self._known.pop(loading, None)

    def loadings_of(self, model: str) -> set[int]:
        return {number for number, of in self._known.items() if of == model}

    def memory(self, loading: int) -> int | None:
        return 1000 + loading if loading in self.alive else None

    async def drained(self, loading: int, deadline: float) -> bool:
        self._call(f"drained {loading}")
        self.patience[loading] = deadline
        await asyncio.sleep(deadline if loading in self.leased else 0)
        return loading not in self.leased

    # -- tables --------------------------------------------------------------------------------------------

    def publish(self, record: TableRecord) -> None:
        self._call(f"publish {record.epoch}")
        self._store.append(record, self.page.words)
        self.point(f"after publish {record.epoch}")

    async def prepare(self, word: int, epochs: list[int]) -> None:
        self._call(f"prepare {epochs}")
        await asyncio.sleep(0)
        if self.prepare_error is not None:
            raise self.prepare_error
        tables = {r.epoch: r.data for r in self._store.read() if r.word == word}
        for epoch in epochs:
            if epoch not in tables:
                self.broken.append(f"epoch {epoch} is not in the store")
                continue
            table = msgspec.json.decode(tables[epoch], type=RoutingTable)
            dead = [e.loading for e in table.loadings if e.loading not in self.alive]
            if dead:
                self.broken.append(f"epoch {epoch} names {dead}, which have no worker")
        self.point(f"after prepare {epochs}")

    def store(self, word: int, epoch: int) -> StoreTimes:
        self._call(f"store {epoch}")
        if epoch <= self.page.words[word]:
            self.broken.append(f"epoch {epoch} was stored after {self.page.words[word]}")
        before = monotonic_ns()
        self.page.store(word, epoch)
        after = monotonic_ns()
        table = self.in_force(word)
        if table is None:
            self.broken.append(f"epoch {epoch} has no table")
        elif table.loadings and (table.active not in self.proven or table.active not in self.alive):
            self.broken.append(f"epoch {epoch} serves {table.active}, which is not proven or not alive")
        self.point(f"after store {epoch}")
        return StoreTimes(before, after)

    async def acknowledged(self, word: int, epoch: int) -> list[tuple[Acknowledged, int]]:
        self._call(f"acknowledged {epoch}")
        await asyncio.sleep(0)
        if self.acknowledge_error is not None:
            raise self.acknowledge_error
        answer = Acknowledged(word, epoch, {}, monotonic_ns(), self.old_pick_ns)
        return [(answer, monotonic_ns()) for _ in range(self.gateways)]

    def epoch(self, word: int) -> int:
        return int(self.page.words[word])

    def tables(self) -> list[TableRecord]:
        return self._store.read()

    # -- observations --------------------------------------------------------------------------------------

    def window(self, model: str, start_ns: int, end_ns: int) -> Window:
        self.windows.append((start_ns, end_ns))
        return Window(7, round((end_ns - start_ns) / 1e9, 3), 1.5, 2.5)

    def evidence(
        self, model: str, active: int, candidate: int, epoch: int, since_ns: int, *, row: bool = False
    ) -> evidence.Window:
        self.looks.append((active, candidate, epoch))
        table = self._table(1, epoch)
        weight = sum(count for count, loading in table.buckets if loading == candidate) if table else 0
        arms = [evidence.Arm(requests=100), evidence.Arm(requests=weight // 100)]
        return evidence.Window((epoch, candidate, active), since_ns, monotonic_ns(), weight, *arms)

    def machine_memory(self) -> int:
        return 1 << 40

    def traffic(self, loading: int, since_ns: int) -> evidence.Arm:
        return evidence.Arm(requests=60 + loading, failures=1)

    def requests(self, model: str, start_ns: int, end_ns: int) -> Requests:
        return Requests(total=70, failed=0, shielded=0, shed=1)
