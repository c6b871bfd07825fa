"""The fleet: the gateways and workers of this machine, as the controller commands and hears them.

Everything the others said last is kept as plain state; a coroutine that waits for something names a condition on
that state (`until`). A gateway that stays silent for 500 ms where it owes an answer is killed: its replacement
joins with the tables in force (DESIGN §5.4).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic_ns
from typing import Any

import msgspec

from changeover.controller.observatory import Observatory
from changeover.errors import Internal
from changeover.records.certificate import Requests, Window
from changeover.rollout.fleet import Death, StoreTimes
from changeover.transport.control import (
    Acknowledged,
    Committed,
    Leases,
    Observations,
    Prepare,
    Prepared,
    Retire,
    Spawn,
    WorkerSpec,
    WorkerStatus,
)
from changeover.transport.link import SUPERVISOR, Frame, Kind
from changeover.transport.page import RoutePage, TableRecord, TableStore

_SILENCE = 0.5
_REPLACED = 5.0
log = logging.getLogger("changeover.controller")


@dataclass(slots=True)
class GatewayState:
    """What one gateway said last."""

    member: int
    pid: int | None
    ready: bool = False
    prepared: dict[tuple[int, int], str | None] = field(default_factory=dict)
    acknowledged: dict[int, tuple[Acknowledged, int]] = field(default_factory=dict)
    leases: dict[int, int] = field(default_factory=dict)


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


class Fleet:
    """Commands to and news from the other processes.

    Args:
        send: sends a frame to the supervisor.
        term: of this controller; every frame carries it.
    """

    def __init__(self, page: RoutePage, store: TableStore, send: Callable[[Frame], None], term: int) -> None:
        self.gateways: dict[int, GatewayState] = {}
        self.workers: dict[int, WorkerState] = {}
        self.observatory = Observatory()
        self.on_status: Callable[[WorkerStatus], None] = lambda _: None
        self.on_death: Callable[[Death], None] = lambda _: None
        self.page = page
        self._store = store
        self._send = send
        self._term = term
        self._changed = asyncio.Event()
        self._handlers: dict[Kind, Callable[[Frame], None]] = {
            Kind.UP: self._on_up,
            Kind.READY: self._on_ready,
            Kind.DIED: self._on_died,
            Kind.STATUS: self._on_status,
            Kind.PREPARED: self._on_prepared,
            Kind.ACKNOWLEDGED: self._on_acknowledged,
            Kind.LEASES: self._on_leases,
            Kind.OBSERVED: self._on_observed,
        }

    # -- commands ------------------------------------------------------------------------------------------

    def spawn(self, loading: int, spec: WorkerSpec) -> None:
        """Have a worker for this loading from now on."""
        self.workers[loading] = WorkerState(loading, spec.model)
        self._tell(Kind.SPAWN, Spawn(loading, spec))

    def retire(self, loading: int, grace: float) -> None:
        """Have none any more; SIGKILL after `grace` seconds."""
        self._tell(Kind.RETIRE, Retire(loading, grace))

    def kill(self, member: int, why: str) -> None:
        """SIGKILL for a gateway or worker."""
        self._tell(Kind.KILL, {"member": member, "why": why})

    def publish(self, record: TableRecord) -> None:
        """Put a table into the store, where joining gateways find it too."""
        self._store.append(record, self.page.words)

    async def prepare(self, word: int, epochs: list[int]) -> None:
        """Every gateway in service loads these tables and opens their channels.

        Raises:
            Internal: a gateway cannot (reason `prepare_failed`).
        """
        request = Prepare(word, epochs)
        for gateway in self.gateways.values():
            self._tell(Kind.PREPARE, request, gateway.member)
        keys = [(word, epoch) for epoch in epochs]
        await self._answered(lambda g: all(key in g.prepared for key in keys), "prepare")
        errors = [g.prepared.get(key) for g in self.gateways.values() if g.ready for key in keys]
        error = next((e for e in errors if e), None)
        if error:
            raise Internal(f"a gateway cannot serve epoch {epochs}: {error}", reason="prepare_failed")

    def store(self, word: int, epoch: int) -> StoreTimes:
        """The switch: one store, then the word to all gateways."""
        before = monotonic_ns()
        self.page.store(word, epoch)
        after = monotonic_ns()
        for gateway in self.gateways.values():
            self._tell(Kind.COMMITTED, Committed(word, epoch), gateway.member)
        return StoreTimes(before, after)

    async def acknowledged(self, word: int, epoch: int) -> list[tuple[Acknowledged, int]]:
        """Wait until no gateway can pick from an older table; each one's answer and when it came (monotonic ns)."""

        def has(gateway: GatewayState) -> bool:
            seen = gateway.acknowledged.get(word)
            return seen is not None and seen[0].epoch >= epoch

        await self._answered(has, "acknowledge")
        return [g.acknowledged[word] for g in self.gateways.values() if word in g.acknowledged]

    async def drained(self, loading: int, deadline: float) -> bool:
        """Wait until no gateway holds a lease on a loading; False when the deadline (seconds) passes first."""
        return await self.until(lambda: not any(g.leases.get(loading) for g in self.gateways.values()), deadline)

    async def loaded(self, loading: int, deadline: float) -> WorkerStatus | Death | None:
        """Wait for a new worker: its last status (ready or failed), its death, or None at the deadline."""
        worker = self.workers[loading]

        def ended() -> bool:
            return worker.death is not None or (
                worker.status is not None and worker.status.state in ("ready", "failed")
            )

        if not await self.until(ended, deadline):
            return None
        if worker.status is not None and worker.status.state in ("ready", "failed"):
            return worker.status
        return worker.death

    async def gone(self, loading: int, deadline: float) -> bool:
        """Wait until the worker of a retired loading was reaped."""
        return await self.until(
            lambda: loading not in self.workers or self.workers[loading].death is not None, deadline
        )

    def forget(self, loading: int) -> None:
        """Drop what is known of a released loading."""
        self.workers.pop(loading, None)
        self.observatory.forget(loading)

    # -- state ---------------------------------------------------------------------------------------------

    def take_over(self, snapshots: list[dict[str, Any]]) -> None:
        """The workers that live already, as the supervisor tells a new term."""
        for known in snapshots:
            status = msgspec.convert(known["status"], WorkerStatus) if known["status"] else None
            if not known["retiring"]:
                number = known["loading"]
                self.workers[number] = WorkerState(number, known["model"], known["pid"], known["member"], status)
        self.observatory.inherit(self.gateways, self.workers)

    def epoch(self, word: int) -> int:
        """The epoch in force, 0 for none."""
        return int(self.page.words[word])

    def tables(self) -> list[TableRecord]:
        """All tables in the store."""
        return self._store.read()

    def loadings_of(self, model: str) -> set[int]:
        """Loadings of a model that have a worker."""
        return {w.loading for w in self.workers.values() if w.model == model}

    def memory(self, loading: int) -> int | None:
        """Bytes that the worker of a loading has to itself (proportional set size), None without a worker."""
        worker = self.workers.get(loading)
        if worker is None or worker.pid is None:
            return None
        try:
            for line in Path(f"/proc/{worker.pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
        except OSError:
            pass
        return None

    def window(self, model: str, start_ns: int, end_ns: int) -> Window:
        """Latency of the requests answered between two times (CLOCK_MONOTONIC)."""
        return self.observatory.window(model, start_ns, end_ns)

    def requests(self, model: str, start_ns: int, end_ns: int) -> Requests:
        """Counts of the requests answered between two times."""
        return self.observatory.requests(model, start_ns, end_ns)

    # -- waiting -------------------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for a condition on what the others said; False when the seconds pass first."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return condition()
        return True

    async def _answered(self, has: Callable[[GatewayState], bool], what: str) -> None:
        """Wait for all gateways in service; the silent are killed, and their death ends the waiting."""

        def missing() -> list[GatewayState]:
            return [g for g in self.gateways.values() if g.ready and not has(g)]

        if await self.until(lambda: not missing(), _SILENCE):
            return
        for gateway in missing():
            self.kill(gateway.member, f"silent for {_SILENCE} s where it had to {what}")
        if not await self.until(lambda: not missing(), _REPLACED):
            raise Internal(f"gateways {[g.member for g in missing()]} do not {what}", reason="gateway_silent")

    # -- news ----------------------------------------------------------------------------------------------

    def hear(self, message: Frame) -> None:
        """Take in one frame."""
        handler = self._handlers.get(message.kind)
        if handler is None:
            return
        try:
            handler(message)
        except (msgspec.MsgspecError, KeyError) as error:
            self.kill(message.source, f"it sent a {message.kind.name} that cannot be read: {error}")
        self._changed.set()

    def _on_up(self, message: Frame) -> None:
        body = message.json()
        if body["role"] == "gateway":
            self.gateways[body["member"]] = GatewayState(body["member"], body["pid"])
        elif body["loading"] in self.workers:
            worker = self.workers[body["loading"]]
            worker.pid, worker.member, worker.death = body["pid"], body["member"], None
            worker.incarnations += 1

    def _on_ready(self, message: Frame) -> None:
        gateway = self.gateways.get(message.json()["member"])
        if gateway is not None:
            gateway.ready = True

    def _on_died(self, message: Frame) -> None:
        body = message.json()
        if body["role"] == "gateway":
            self.gateways.pop(body["member"], None)
            self.observatory.gateway_died(body["member"])
        elif body["role"] == "worker" and body["loading"] in self.workers:
            worker = self.workers[body["loading"]]
            death = Death(body["loading"], body["code"], restarts=body["restart"])
            worker.pid = None
            if not death.restarts:
                worker.death = death
            self.on_death(death)

    def _on_status(self, message: Frame) -> None:
        status = msgspec.json.decode(message.body, type=WorkerStatus)
        worker = self.workers.get(status.loading)
        if worker is not None:
            worker.status = status
            self.on_status(status)

    def _on_prepared(self, message: Frame) -> None:
        body = msgspec.json.decode(message.body, type=Prepared)
        gateway = self.gateways.get(message.source)
        if gateway is not None:
            gateway.prepared.update({(body.word, epoch): body.error for epoch in body.epochs})

    def _on_acknowledged(self, message: Frame) -> None:
        body = msgspec.json.decode(message.body, type=Acknowledged)
        gateway = self.gateways.get(message.source)
        if gateway is not None:
            gateway.acknowledged[body.word] = (body, monotonic_ns())
            gateway.leases.update(body.leases)
            gateway.prepared = {k: v for k, v in gateway.prepared.items() if k[0] != body.word or k[1] > body.epoch}

    def _on_leases(self, message: Frame) -> None:
        body = msgspec.json.decode(message.body, type=Leases)
        gateway = self.gateways.get(message.source)
        if gateway is not None:
            gateway.leases.pop(body.loading, None)

    def _on_observed(self, message: Frame) -> None:
        self.observatory.record(message.source, msgspec.json.decode(message.body, type=Observations))

    def _tell(self, kind: Kind, body: msgspec.Struct | dict[str, object], target: int = SUPERVISOR) -> None:
        self._send(Frame(kind, msgspec.json.encode(body), term=self._term, target=target))
