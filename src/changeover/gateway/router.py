"""Routing: which loading a request goes to, decided by the table in force at that moment (DESIGN §4.3, §5.7).

`Model.pick` contains no await: it reads the page's word, takes the table of that epoch, chooses, and counts a
lease, in one go of the event loop. A lease ends when the answer no longer reads the worker's memory.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from itertools import accumulate
from math import isinf
from time import monotonic_ns
from typing import TYPE_CHECKING

from changeover.errors import ModelNotReady, NotFound
from changeover.gateway.admission import Room
from changeover.gateway.batcher import Batcher
from changeover.gateway.budget import Budget, Patience
from changeover.gateway.classification import Labels
from changeover.gateway.mirror import Mirror
from changeover.gateway.reservoir import Reservoir, Shelf
from changeover.gateway.strata import Strata, bucket_of
from changeover.sequences.slab import Slab
from changeover.telemetry.observations import Counter, bucket
from changeover.telemetry.tally import Ledger, Tally
from changeover.tensors import TensorSpec
from changeover.transport.control import LoadingEntry, RoutingTable

if TYPE_CHECKING:
    from changeover.gateway.sequences.errand import Errand

ROLES = ("active", "candidate")
"""Names of versions that are no numbers."""
_UNHEARD = 1024
"""Sequences that a loading has not been told to forget."""


class Target:
    """A loading as this gateway sees it; one object however many tables name it."""

    def __init__(self, entry: LoadingEntry, word: int, batcher: Batcher) -> None:
        self.entry = entry
        self.word = word
        self.loading = entry.loading
        self.version = entry.version
        self.batchable = entry.signature.batchable
        self.inputs: list[TensorSpec] = [e.spec() for e in entry.signature.inputs]
        self.outputs: list[TensorSpec] = [e.spec() for e in entry.signature.outputs]
        self.output_names = {spec.name: spec for spec in self.outputs}
        self.positions = {spec.name: i for i, spec in enumerate(self.inputs)}
        self.batcher = batcher
        self.counter = Counter()
        self.ledger = Ledger(entry.loading)
        self.leases = 0
        self.backing = 0
        """Leases of requests that are somewhere else and would be replayed here."""
        self.room: Room | None = None
        """Of its queue; set at the first request, for the server's limits are the pipeline's to know."""
        self.labels = Labels(entry)
        self.sequence = entry.sequence
        self.slab: Slab | None = None
        """Where its sequences are, to be read only; it comes with the channel."""
        self.unheard: deque[Errand] = deque(maxlen=_UNHEARD)
        """What no worker has taken, for the next one; the oldest go first."""
        self.most_rows = entry.max_batch if (entry.config or {}).get("max_batch_size", 0) > 0 else None
        """Of a request; as many as it has where its configuration names no batch size."""
        self.on_idle: Callable[[Target], None] | None = None
        """Set when no table in force names this loading any more; called at the last lease's end."""

    @property
    def may_have_sequences(self) -> bool:
        """Whether any may live there, as far as is seen."""
        return self.slab is None or self.slab.live > 0

    @property
    def held(self) -> int:
        """Leases of both kinds."""
        return self.leases + self.backing

    def release(self) -> None:
        """End one lease."""
        self.leases -= 1
        if self.on_idle is not None and not self.held:
            self.on_idle(self)

    def stand_down(self) -> None:
        """End one lease of a request that was not replayed here."""
        self.backing -= 1
        if self.on_idle is not None and not self.held:
            self.on_idle(self)

    def __repr__(self) -> str:
        return f"<Target {self.version} loading {self.loading} leases {self.leases}>"


class Table:
    """A routing table, ready to be picked from."""

    def __init__(self, record: RoutingTable, targets: dict[int, Target]) -> None:
        self.record = record
        self.epoch = record.epoch
        self.targets = targets
        self.candidate: Target | None = None
        self.shielded: Target | None = None
        self.stateful = any(target.sequence is not None for target in targets.values())
        self.carrying = {record.active, *(loading for count, loading in record.buckets if count)}
        if not targets:
            return  # the model is unloaded, and nobody picks from this
        self.active = targets[record.active]
        self._ends = list(accumulate(count for count, _ in record.buckets))
        self._choices = [targets[loading] for _, loading in record.buckets]
        self.only = self._choices[0] if len(self._choices) == 1 else None
        # The active one last: it wins where the standby has the same number with other bytes.
        self.by_version = {e.version: targets[e.loading] for e in reversed(record.loadings)}
        self.by_version["active"] = self.active
        if record.candidate is not None:
            self.candidate = self.by_version["candidate"] = targets[record.candidate]
        self.shielded = self.candidate if record.shield and self.candidate is not self.active else None

    def at(self, bucket: int) -> Target:
        """The target of a bucket."""
        return self._choices[bisect_right(self._ends, bucket)]


def _mirror(table: Table) -> Mirror | None:
    """From the active version to the candidate; from what is held back on the standby to the promoted version."""
    if not table.record.mirror or table.stateful:
        return None
    if table.candidate is not None:
        return Mirror(table, table.active, table.candidate)
    standby = table.record.standby
    return None if standby is None else Mirror(table, table.targets[standby], table.active)


Pick = tuple[Target, int, Target | None, Tally | None]
"""Who answers, the epoch that chose, who answers when that fails, and where it counts as evidence. Both targets are
leased."""


class Model:
    """One model's tables in this gateway; `words` is the mapped route page."""

    def __init__(self, name: str, word: int, words: memoryview, shelf: Shelf | None = None) -> None:
        self.name = name
        self.word = word
        self.table: Table | None = None
        self.stateful = False
        """Whether a version that the table names keeps sequences."""
        self.prepared: dict[int, Table] = {}
        self.tickets = 0  # requests waiting or running, for the queue limit
        self.held = 0  # bytes of their bodies
        self.budget = Budget()
        self.patience = Patience()
        self.mirror: Mirror | None = None
        self.mirrors: list[Mirror] = []
        """The present one last, and the one before."""
        self.recent: Reservoir | None = None
        self.on_change: Callable[[Model], None] = lambda _: None
        self.on_missing: Callable[[int, int], None] = lambda _word, _epoch: None
        self.last_pick_ns = 0
        self.last_old_pick_ns = 0
        self._words = words
        self._shelf = shelf or Shelf()
        self._strata = Strata()

    @property
    def in_force(self) -> bool:
        """Whether any table is."""
        return bool(self._words[self.word])

    @property
    def unloaded(self) -> bool:
        """Whether the table seen last names no version."""
        return self.table is not None and not self.table.targets

    def refresh(self) -> Table:
        """The table in force, which names a version that serves.

        Raises:
            ModelNotReady: none is, or this gateway has not got it.
            NotFound: the model is unloaded.
        """
        epoch = self._words[self.word]
        table = self.table
        if table is not None and table.epoch == epoch and table.targets:
            return table
        table = self.current()
        if not table.targets:
            raise NotFound(
                f"model {self.name!r} is unloaded: no version of it serves until it is loaded again",
                reason="model_unloaded",
            )
        return table

    def current(self) -> Table:
        """The table in force, also one that names nothing.

        Raises:
            ModelNotReady: none is, or this gateway has not got it.
        """
        epoch = self._words[self.word]
        table = self.table
        if table is not None and table.epoch == epoch:
            return table
        table = self.prepared.get(epoch)
        if table is None and epoch:
            self.on_missing(self.word, epoch)  # committed while this gateway was joining: the store has it
            table = self.prepared.get(epoch)
        if table is None:
            raise ModelNotReady(f"model {self.name!r} has no version that serves yet; see `changeover status`")
        self._enter(table)
        self.last_old_pick_ns = self.last_pick_ns
        for old in [e for e in self.prepared if e < epoch]:
            del self.prepared[old]
        self.on_change(self)
        return table

    def _enter(self, table: Table) -> None:
        """From now on it is picked from; what is counted belongs to its epoch."""
        left = self.table.targets.values() if self.table is not None else ()
        self.table, self.stateful = table, table.stateful
        for target in left:
            target.ledger.step(0)
        compares = len(table.targets) > 1
        for target in table.targets.values():
            target.ledger.step(table.epoch if compares else 0)
        private = not table.targets or any(entry.private for entry in table.record.loadings)
        self._keep(private=private or table.stateful)  # a step without its state tells nothing
        self.mirror = _mirror(table)
        if self.mirror is not None:
            self.mirrors = [*self.mirrors[-1:], self.mirror]
        if table.shielded is not None:
            if isinf(self.patience.seconds):
                self.patience.read(table.active.counter.counts)
            self.look()

    def _keep(self, *, private: bool) -> None:
        """Keep a sample of the requests from now on, or nothing of any."""
        if private and self.recent is not None:
            self.recent.close()
            self.recent = None
        elif not private and self.recent is None:
            self.recent = Reservoir(self._shelf)

    def look(self) -> None:
        """Find out how long the candidate may take."""
        table = self.table
        if table is None or table.shielded is None:
            return
        tallies = [t for t in (table.active.ledger.current, table.shielded.ledger.current) if t is not None]
        if tallies:
            self.patience.read(tallies[0].latency)
        if not isinf(self.patience.seconds):
            for tally in tallies:
                tally.late = bucket(self.patience.seconds)

    def pick(self, version: str | None, key: bytes | None) -> Pick:
        """Choose a target and take a lease on it, and on its fallback.

        Raises:
            ModelNotReady: no table is in force.
            NotFound: the version or label asked for is not served.
        """
        now = monotonic_ns()  # before the word is read: a pick is never older than its time
        table = self.refresh()
        self.last_pick_ns = now
        if version is not None:
            target = self._named(table, version)
            target.leases += 1
            return target, table.epoch, None, None
        target = table.only or table.at(self._strata.bucket() if key is None else bucket_of(key))
        if table.shielded is not None:
            return self._shielded(table, target)
        target.leases += 1
        return target, table.epoch, None, target.ledger.current

    def _named(self, table: Table, version: str) -> Target:
        target = table.by_version.get(version)
        if target is None:
            served = ", ".join(sorted(t.version for t in table.targets.values()))
            raise NotFound(f"model {self.name!r} has no version {version!r} that serves; served: {served}",
                           reason="version_not_found")  # fmt: skip
        return target

    def _shielded(self, table: Table, target: Target) -> Pick:
        """A candidate gets a request only while there are replays left; instead the active version has it."""
        self.budget.earn()
        tally, fallback = target.ledger.current, None
        if target is table.shielded:
            if self.budget.empty:
                if tally is not None:
                    tally.spent += 1
                target, tally = table.active, None
            else:
                fallback = table.active
                fallback.backing += 1
        target.leases += 1
        return target, table.epoch, fallback, tally
