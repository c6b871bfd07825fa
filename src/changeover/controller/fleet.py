"""The fleet: the gateways and workers of this machine, as the controller commands and hears them.

What the others said last is kept as plain state; a coroutine that waits names a condition on it (`until`). Who must
answer a question to all gateways is told by `question`.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns
from typing import Any

import msgspec

from changeover.controller import question
from changeover.controller.faults import Faults
from changeover.controller.gateways import Gateways
from changeover.controller.members import GatewayState, WorkerState
from changeover.controller.news import News
from changeover.controller.observatory import Observatory
from changeover.controller.proving import Provings
from changeover.controller.question import Question
from changeover.controller.recent import RecentRequests
from changeover.controller.visits import Visits
from changeover.errors import Internal
from changeover.records.certificate import Requests, Window
from changeover.rollout.fleet import Death, Proof, StoreTimes
from changeover.runtime import machine
from changeover.telemetry.evidence import Arm
from changeover.telemetry.evidence import Window as StepWindow
from changeover.transport import control
from changeover.transport.control import Acknowledged, RoutingTable, WorkerHealth, WorkerSpec, WorkerStatus
from changeover.transport.link import SUPERVISOR, Frame, Kind
from changeover.transport.page import RoutePage, TableRecord, TableStore
from changeover.transport.proving import ProverSpec
from changeover.transport.reports import Observations


class Fleet:
    """Commands to and news from the other processes.

    Args:
        send: sends a frame to the supervisor.
        term: of this controller; every frame carries it.
    """

    def __init__(self, page: RoutePage, store: TableStore, send: Callable[[Frame], None], term: int) -> None:
        self.news = News()
        self.workers: dict[int, WorkerState] = {}
        self.observatory = Observatory()
        self.on_status: Callable[[WorkerStatus], None] = lambda _: None
        self.on_death: Callable[[Death], None] = lambda _: None
        self.on_health: Callable[[WorkerHealth], None] = lambda _: None
        self.faults = Faults()
        self.visits, self.recent = Visits(send, term), RecentRequests(send, term)
        self.page = page
        self._store = store
        self._send = send
        self._term = term
        self._gateways = Gateways(self._tell, self.kill, self.news)
        self._provings = Provings(self._tell, lambda told: self.on_status(told), self.news)  # noqa: PLW0108 - it is set later
        self._stored: dict[int, Question] = {}  # COMMITTED of the last store, by word
        self._words: dict[int, int] = {}  # of every loading that a table named
        self._handlers: dict[Kind, Callable[[Frame], None]] = {
            Kind.UP: self._on_up,
            Kind.DIED: self._on_died,
            Kind.STATUS: self._on_status,
            Kind.PROVED: self._provings.on_proved,
            Kind.HEALTH: self._on_health,
            Kind.OBSERVED: self._on_observed,
            Kind.READY: self._gateways.on_ready,
            Kind.PREPARED: self._gateways.on_prepared,
            Kind.ACKNOWLEDGED: self._gateways.on_acknowledged,
            Kind.LEASES: self._gateways.on_leases,
            **dict.fromkeys((Kind.CHANNEL, Kind.REFUSED, Kind.SLAB), self.visits.take),
        }

    @property
    def gateways(self) -> dict[int, GatewayState]:
        """All that live, by member."""
        return self._gateways.alive

    # -- commands ------------------------------------------------------------------------------------------

    async def prove(self, spec: ProverSpec, patience: float) -> Proof:
        """Have a loading proven by a prover that may be silent for so many seconds."""
        spec = msgspec.structs.replace(spec, worker=self.faults.into(spec.worker))
        return await self._provings.prove(spec, patience)

    def spawn(self, loading: int, spec: WorkerSpec) -> None:
        """Have a worker for this loading from now on."""
        self.workers[loading] = WorkerState(loading, spec.model)
        self._tell(Kind.SPAWN, control.Spawn(loading, self.faults.into(spec)))

    def retire(self, loading: int, grace: float) -> None:
        """Have none any more; SIGKILL after `grace` seconds."""
        self._tell(Kind.RETIRE, control.Retire(loading, grace))

    def kill(self, member: int, why: str) -> None:
        """SIGKILL for a gateway or worker."""
        self._tell(Kind.KILL, {"member": member, "why": why})

    def publish(self, record: TableRecord) -> None:
        """Put a table into the store, where joining gateways find it too."""
        self._store.append(record, self.page.words)
        self._know(record)

    async def prepare(self, word: int, epochs: list[int]) -> None:
        """Every gateway that lives loads these tables and opens their channels.

        Raises:
            Internal: a gateway cannot (reason `prepare_failed`), or neither answers nor dies (`gateway_silent`).
        """
        await self._gateways.answered(question.prepare(word, epochs))
        errors = [g.prepared.get((word, epoch)) for g in self.gateways.values() for epoch in epochs]
        for error in filter(None, errors):
            raise Internal(f"a gateway cannot serve epoch {epochs}: {error}", reason="prepare_failed")

    def store(self, word: int, epoch: int) -> StoreTimes:
        """The switch: one store, then the word to all gateways."""
        before = monotonic_ns()
        self.page.store(word, epoch)
        after = monotonic_ns()
        self._stored[word] = question.committed(word, epoch, joining=False)
        self._gateways.ask(self._stored[word])
        return StoreTimes(before, after)

    async def acknowledged(self, word: int, epoch: int) -> list[tuple[Acknowledged, int]]:
        """Wait until no gateway in service can pick from an older table.

        One that is still joining reads the word at its first pick as at any other, so it is not waited for.

        Returns:
            Each one's answer and when it came (monotonic ns).

        Raises:
            Internal: a gateway neither answers nor dies (`gateway_silent`).
        """
        asked = self._stored.pop(word, None) or question.committed(word, epoch, joining=False)
        await self._gateways.answered(asked)
        return [g.acknowledged[word] for g in self.gateways.values() if g.has_acknowledged(word, epoch)]

    async def drained(self, loading: int, deadline: float) -> bool:
        """Wait until no gateway holds a lease on a loading that the table in force does not name.

        Every gateway that lives has to have acknowledged that table: one that was joining at the store may have
        picked from an older one before. So has a dead one's successor: it finds what was on its way with the dead one.

        Returns:
            False when the deadline (seconds) passes first.
        """
        word = self._words.get(loading)
        if word is None or not self.epoch(word):  # no table ever named it, or none that was in force
            return True
        asked = question.committed(word, self.epoch(word), joining=True)

        def empty() -> bool:
            there, vacant = self.gateways.values(), self._gateways.vacant
            told = bool(there) and not vacant and not self._gateways.owing(asked)
            return told and not any(g.leases.get(loading) for g in there)

        with self._gateways.posed(asked):
            return await self.news.until(empty, deadline)

    async def loaded(self, loading: int, deadline: float) -> WorkerStatus | Death | None:
        """Wait for a new worker: its last status (ready or failed), its death, or None at the deadline."""
        worker = self.workers[loading]
        await self.news.until(lambda: worker.answer is not None, deadline)
        return worker.answer

    async def gone(self, loading: int, deadline: float) -> bool:
        """Wait until the worker of a retired loading was reaped."""
        return await self.news.until(
            lambda: loading not in self.workers or self.workers[loading].death is not None, deadline
        )

    def forget(self, loading: int) -> None:
        """Drop what is known of a released loading."""
        self.workers.pop(loading, None)
        self._words.pop(loading, None)
        self.observatory.forget(loading)
        self.visits.forget(loading)

    # -- state ---------------------------------------------------------------------------------------------

    def take_over(self, snapshots: list[dict[str, Any]], gateways: list[dict[str, Any]], places: int) -> None:
        """The workers and gateways that live already, as the supervisor tells a new term.

        Args:
            snapshots: of the loadings.
            gateways: those that live.
            places: how many gateways there are to be; a place without one awaits its successor.
        """
        self.workers.update({known["loading"]: WorkerState.of(known) for known in snapshots if not known["retiring"]})
        self._gateways.take_over([GatewayState(g["member"], g["pid"], ready=g["ready"]) for g in gateways], places)
        for record in self._store.read():
            self._know(record)
        ready = [m for m, gateway in self.gateways.items() if gateway.ready]
        self.observatory.inherit(ready, {n: self.epoch(self._words.get(n, 0)) for n in self.workers})

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
        """Bytes that the worker of a loading has to itself, None without a worker."""
        return self.workers[loading].memory() if loading in self.workers else None

    def held(self) -> int:
        """Bytes that all workers have to themselves."""
        return sum(worker.memory() or 0 for worker in self.workers.values())

    def machine_memory(self) -> int:
        """Bytes that all processes here may take."""
        return machine.memory().total

    def traffic(self, loading: int, since_ns: int) -> Arm:
        """What a loading has answered since a time."""
        return self.observatory.traffic(loading, since_ns, monotonic_ns())

    def window(self, model: str, start_ns: int, end_ns: int) -> Window:
        """Latency of the requests answered between two times (CLOCK_MONOTONIC)."""
        return self.observatory.window(model, start_ns, end_ns)

    def requests(self, model: str, start_ns: int, end_ns: int) -> Requests:
        """Counts of the requests answered between two times."""
        return self.observatory.requests(model, start_ns, end_ns)

    def evidence(
        self, model: str, active: int, candidate: int, epoch: int, since_ns: int, *, row: bool = False
    ) -> StepWindow:
        """Both arms of a step since a time (CLOCK_MONOTONIC; 0: since the step began) until now."""
        del model  # loadings have numbers of their own
        span = since_ns, monotonic_ns()
        arms = [(n, self.workers[n].member or 0 if n in self.workers else 0) for n in (active, candidate)]
        busy = max(self.observatory.busy(n, *span) for n in (active, candidate))
        return self.observatory.evidence.window(epoch, arms[0], arms[1], span, busy, row=row)

    # -- news ----------------------------------------------------------------------------------------------

    def hear(self, message: Frame) -> None:
        """Take in one frame."""
        if (handler := self._handlers.get(message.kind)) is None:
            return
        try:
            handler(message)
        except (msgspec.MsgspecError, KeyError) as error:
            self.kill(message.source, f"it sent a {message.kind.name} that cannot be read: {error}")
        self.news.tell()

    def _on_up(self, message: Frame) -> None:
        body = message.json()
        if body["role"] == "gateway":
            self._gateways.on_up(body["member"], body["pid"])
        elif body["loading"] in self.workers:
            worker = self.workers[body["loading"]]
            worker.pid, worker.member, worker.death = body["pid"], body["member"], None
            worker.incarnations += 1

    def _on_died(self, message: Frame) -> None:
        body = message.json()
        if body["role"] == "gateway":
            self._gateways.on_died(body["member"])
            self.observatory.gateway_died(body["member"])
            return
        if "loading" not in body:
            return
        death = Death(body["loading"], body["code"], restarts=body["restart"], cause=body.get("cause") or "crashed")
        if body["role"] == "prover":
            self._provings.died(death)
        elif body["loading"] in self.workers:
            worker = self.workers[body["loading"]]
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

    def _on_health(self, message: Frame) -> None:
        told = msgspec.json.decode(message.body, type=WorkerHealth)
        worker = self.workers.get(told.loading)
        if worker is not None:
            worker.health = told, monotonic_ns()
            self.on_health(told)

    def _on_observed(self, message: Frame) -> None:
        self.observatory.record(message.source, msgspec.json.decode(message.body, type=Observations))

    def _know(self, record: TableRecord) -> None:
        table = msgspec.json.decode(record.data, type=RoutingTable)
        self._words.update({entry.loading: record.word for entry in (*table.loadings, *table.draining)})
        self.observatory.evidence.drawn(table)

    def _tell(self, kind: Kind, body: msgspec.Struct | dict[str, object], target: int = SUPERVISOR) -> None:
        self._send(Frame(kind, msgspec.json.encode(body), term=self._term, target=target))
