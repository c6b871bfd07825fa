"""The models of this gateway: tables prepared, joined, committed and acknowledged (DESIGN §5)."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic_ns

import msgspec

from changeover.errors import ChangeoverError
from changeover.gateway.batcher import Batcher
from changeover.gateway.channels import WorkerChannel
from changeover.gateway.hunger import Hunger
from changeover.gateway.reservoir import Shelf
from changeover.gateway.router import Model, Table, Target
from changeover.gateway.sequences.errand import forget_again
from changeover.gateway.sequences.words import slab_of
from changeover.gateway.ticket import Desk
from changeover.telemetry.statistics import Runs
from changeover.telemetry.tally import ONLY
from changeover.transport.channel import ChannelSize
from changeover.transport.control import (
    Acknowledged,
    Committed,
    Leases,
    LoadingEntry,
    Prepare,
    Prepared,
    RoutingTable,
    WorkerHealth,
    encode,
)
from changeover.transport.link import CONTROLLER, Frame, Kind, frame
from changeover.transport.page import SERVER_WORD, RoutePage, TableRecord, TableStore

_PREPARE_PATIENCE = 0.3
_AGAIN = 0.1
log = logging.getLogger("changeover.gateway")


@dataclass(slots=True, eq=False)
class _Preparation:
    """A PREPARE that waits for channels to these loadings."""

    request: Prepare
    waiting: set[int]
    error: str | None = None


class Models:
    """All models and loadings this gateway knows.

    Args:
        page, store: the mapped route page and table store.
        send: sends a frame to the supervisor.
    """

    counting: type[Runs] = Runs
    """What counts the runs of a loading."""

    def __init__(self, page: RoutePage, store: TableStore, send: Callable[[Frame], None]) -> None:
        self.by_name: dict[str, Model] = {}
        self.targets: dict[int, Target] = {}
        self.place = ONLY
        self._by_word: dict[int, Model] = {}
        self._shelf = Shelf()
        self._page = page
        self._store = store
        self._send = send
        self._desk: Desk
        self.on_report: Callable[[int], None] = lambda _: None
        self.on_unnamed: Callable[[Target], None] = lambda _: None
        """Told of a loading that no table names any more; whoever needs it still takes a lease on it."""
        self.departed: list[Target] = []
        """Loadings forgotten since the last report, whose last counts it still owes."""
        self._pending: list[_Preparation] = []

    def serve_with(self, desk: Desk) -> None:
        """Set who answers the clients (the pipeline, which itself needs the models)."""
        self._desk = desk

    @property
    def ready(self) -> bool:
        """Whether the server finished its first load."""
        return bool(self._page.words[SERVER_WORD])

    # -- join and prepare ----------------------------------------------------------------------------------

    def join(self) -> set[int]:
        """Load the tables in force and all later ones; returns the loadings whose channels must open first."""
        epochs = list(self._page.words)  # before the store is read: what is stored was published before
        tables = self._take([r for r in self._store.read() if r.epoch >= epochs[r.word]])
        named = set(self.targets)
        for table in tables:
            if table.targets and table.epoch == epochs[table.record.word]:
                self._know_draining(table.record)
        return named

    def _know_draining(self, routing: RoutingTable) -> None:
        """Sequences may live in loadings that this gateway has never seen named: who is older holds them."""
        for entry in routing.draining:
            if entry.sequence is not None:
                self._target(entry, routing.word)

    def _reload(self, word: int, epoch: int) -> None:
        """The table of an epoch that was in force, and all later ones."""
        self._take([r for r in self._store.read() if r.word == word and r.epoch >= epoch])

    def unopened(self, loadings: set[int]) -> set[int]:
        """Those of `loadings` that still wait for their channel."""
        targets = [self.targets[n] for n in loadings if n in self.targets]
        return {t.loading for t in targets if t.batcher.channel is None and not t.batcher.gone and not t.batcher.barred}

    def name_of(self, word: int) -> str:
        """The model a word belongs to."""
        return self._by_word[word].name

    def on_prepare(self, message: Prepare) -> None:
        """Load tables and open channels; PREPARED follows when all are open, or one is refused."""
        records = [r for r in self._store.read() if r.word == message.word and r.epoch in message.epochs]
        tables = self._take(records)
        missing = set(message.epochs) - {table.epoch for table in tables}
        if missing:
            unread = missing & {r.epoch for r in records}
            what = f"epochs {sorted(missing)} " + ("make no table" if unread else "are not in the store")
            self._tell(Kind.PREPARED, Prepared(message.word, message.epochs, what))
            return
        targets = [t for table in tables for t in table.targets.values()]
        waiting = {t.loading for t in targets if not t.batcher.connected and not t.batcher.barred}
        preparation = _Preparation(message, waiting)
        self._pending.append(preparation)
        asyncio.get_running_loop().call_later(_PREPARE_PATIENCE, self._give_up, preparation)
        self._settle(preparation)

    def _take(self, records: Iterable[TableRecord]) -> list[Table]:
        """The tables of these records; one that makes no table is left out, for the others serve on."""
        tables: list[Table] = []
        for record in sorted(records, key=lambda r: r.epoch):
            try:
                tables.append(self._table(record))
            except (KeyError, ValueError, TypeError, msgspec.MsgspecError) as error:
                log.error("epoch %d of word %d makes no table: %r", record.epoch, record.word, error)  # noqa: TRY400
        return tables

    def _table(self, record: TableRecord) -> Table:
        routing = msgspec.json.decode(record.data, type=RoutingTable)
        model = self._model(routing)
        table = Table(routing, {e.loading: self._target(e, routing.word) for e in routing.loadings})
        model.prepared[routing.epoch] = table
        return table

    def _model(self, routing: RoutingTable) -> Model:
        model = self._by_word.get(routing.word)
        if model is None:
            model = Model(routing.model, routing.word, self._page.words, self._shelf)
            model.on_change = self._find_unnamed
            model.on_missing = self._reload
            self._by_word[routing.word] = self.by_name[routing.model] = model
        return model

    def _target(self, entry: LoadingEntry, word: int) -> Target:
        target = self.targets.get(entry.loading)
        if target is None:
            batcher = Batcher(entry, self._desk, self._open, self._denounce)
            batcher.runs = self.counting()
            target = self.targets[entry.loading] = Target(entry, word, batcher)
            target.ledger.place = self.place
            self._open(entry.loading)
        target.on_idle = None  # named again, perhaps after a table that did not
        return target

    # -- channels ------------------------------------------------------------------------------------------

    def on_channel(self, message: Frame) -> None:
        """A channel to a worker arrived."""
        body = message.json()
        memory, doorbell, *slab = message.fds
        target = self.targets.get(body["loading"])
        if target is not None and slab:
            target.slab = target.slab or slab_of(slab[0], target.loading, target.sequence)
        for fd in slab:
            os.close(fd)
        if target is None or target.batcher.gone:
            os.close(memory)
            os.close(doorbell)
            return
        size = ChannelSize(*body["size"])
        sock = socket.socket(fileno=doorbell)
        try:
            opened = WorkerChannel(sock, memory, size, body["worker"], target.inputs, target.outputs)
        except OSError as error:
            log.error("no room for a channel to %r, asking again: %s", target, error.strerror)  # noqa: TRY400
            os.close(memory)
            sock.close()
            asyncio.get_running_loop().call_later(_AGAIN, self._open, target.loading)
            return
        opened.hunger = Hunger(body.get("pid") or 0)
        target.ledger.incarnate(body["worker"])
        target.batcher.opened(opened, blameless=body.get("blameless", False))
        forget_again(target)
        self._arrived(target.loading, None)

    def on_refused(self, message: Frame) -> None:
        """The loading has no worker and gets none."""
        loading = message.json()["loading"]
        target = self.targets.get(loading)
        if target is not None:
            target.batcher.refused()
            self._arrived(loading, f"loading {loading} has no worker")

    def on_health(self, message: Frame) -> None:
        """The workers of a loading die again and again: requests are refused until one is ready."""
        told = msgspec.json.decode(message.body, type=WorkerHealth)
        target = self.targets.get(told.loading)
        if target is not None and told.circuit == "open":
            target.batcher.bar(told.wait)
            if target.batcher.barred:
                self._arrived(told.loading, None)

    def _arrived(self, loading: int, error: str | None) -> None:
        for preparation in list(self._pending):
            if loading in preparation.waiting:
                preparation.waiting.discard(loading)
                preparation.error = preparation.error or error
                self._settle(preparation)

    def _settle(self, preparation: _Preparation) -> None:
        if preparation.waiting and preparation.error is None:
            return
        self._pending.remove(preparation)
        request = preparation.request
        self._tell(Kind.PREPARED, Prepared(request.word, request.epochs, preparation.error))

    def _give_up(self, preparation: _Preparation) -> None:
        """Say what is missing before the controller takes this gateway for dead (500 ms)."""
        if preparation in self._pending:
            preparation.error = f"no channel yet to loadings {sorted(preparation.waiting)}"
            self._settle(preparation)

    def _open(self, loading: int, lost: int | None = None) -> None:
        self._send(frame(Kind.OPEN, {"loading": loading, "lost": lost}))

    def _denounce(self, member: int, why: str) -> None:
        self._send(frame(Kind.KILL, {"member": member, "why": why}))

    # -- commit and drain ----------------------------------------------------------------------------------

    def on_committed(self, message: Committed) -> None:
        """Acknowledge from the loop: no pick is under way, and the next one sees this epoch or a later."""
        if message.word not in self._by_word:  # published while this gateway was joining
            self._reload(message.word, message.epoch)
        model = self._by_word.get(message.word)
        if model is None:
            return
        try:
            epoch = model.current().epoch
        except ChangeoverError as error:
            log.error("epoch %d of word %d: %s", message.epoch, message.word, error.message)  # noqa: TRY400
            return
        self.on_report(message.word)  # what was counted until now belongs to the table before
        leases = {t.loading: t.held for t in self.targets.values() if t.word == message.word}
        acknowledged = Acknowledged(message.word, epoch, leases, monotonic_ns(), model.last_old_pick_ns)
        self._tell(Kind.ACKNOWLEDGED, acknowledged)

    def _find_unnamed(self, model: Model) -> None:
        """After a change of table: loadings that no table names any more end with their last lease."""
        named = {loading for table in model.prepared.values() for loading in table.targets}
        for target in [t for t in self.targets.values() if t.word == model.word and t.loading not in named]:
            target.on_idle = self._forget
            if not model.unloaded:
                self.on_unnamed(target)
            if not target.held:
                self._forget(target)

    def _forget(self, target: Target) -> None:
        """The last lease has ended: the worker may see the end of its channel, and the controller hears of it."""
        target.on_idle = None
        target.batcher.close()
        del self.targets[target.loading]
        self.departed.append(target)
        self._tell(Kind.LEASES, Leases(target.word, target.loading))

    def _tell(self, kind: Kind, body: msgspec.Struct) -> None:
        self._send(Frame(kind, encode(body), target=CONTROLLER))
