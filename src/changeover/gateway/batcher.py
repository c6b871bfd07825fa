"""Greedy batching for one loading: while no slot is free rows gather, when one frees up all that fit go together.

No delay is ever added on purpose. Rows of a batch have equal trailing shapes; a model with a fixed batch
dimension gets several runs a doorbell instead.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from time import monotonic

from changeover.errors import ChangeoverError, ModelNotReady, ModelRunFailed, Overloaded
from changeover.gateway.channels import WorkerChannel
from changeover.gateway.pace import Pace
from changeover.gateway.suspicion import MOST_ATTEMPTS, Suspicion
from changeover.gateway.ticket import Batch, Desk, Ticket
from changeover.telemetry.statistics import Runs
from changeover.tensors import Tensor
from changeover.transport.channel import Message
from changeover.transport.control import LoadingEntry

_MAX_RUNS = 16
_RUNS_NS = 2e6  # runs that share a doorbell wait for one another, so together they may take about 2 ms


class Batcher:
    """Queue and channel of one loading.

    Args:
        entry: the loading.
        desk: answers clients.
        reopen: asks the supervisor for a channel to the loading's worker, the next one after the one lost.
        denounce: tells the supervisor that a worker broke the rules.
    """

    def __init__(
        self,
        entry: LoadingEntry,
        desk: Desk,
        reopen: Callable[[int, int | None], None],
        denounce: Callable[[int, str], None],
    ) -> None:
        self.entry = entry
        self.channel: WorkerChannel | None = None
        self.gone = False
        self.connected = False
        """Whether there ever was a channel: if so, one that is missing now comes back by itself."""
        self.pace = Pace()
        self.busy_ns = 0
        """Time of all runs."""
        self.instances = 1
        self.runs = Runs()
        self._barred_until: float | None = None
        self._desk = desk
        self._reopen = reopen
        self._denounce = denounce
        self._queue: deque[Ticket] = deque()
        self._scheduled = False
        self._suspicion = Suspicion()
        self._batchable = entry.signature.batchable
        self._one_run = not self._batchable and any(e.datatype == "BYTES" for e in entry.signature.inputs)

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    # -- in ------------------------------------------------------------------------------------------------

    def put(self, ticket: Ticket) -> None:
        """Queue a ticket; it leaves with all others that arrive in the same turn of the event loop."""
        if self.gone:
            self._desk.reroute(ticket)
            return
        if self._barred_until is not None:
            self._turn_away(ticket, self._barred_until)
            return
        self._queue.append(ticket)
        if not self._scheduled and self.channel is not None and self.channel.free:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._pump)

    def withdraw(self, ticket: Ticket) -> None:
        """Take a ticket that nobody waits for out of the queue, if it is in it."""
        if ticket in self._queue:
            self._queue.remove(ticket)

    def _pump(self) -> None:
        """Send as long as there are rows and slots."""
        self._scheduled = False
        channel = self.channel
        suspicion = self._suspicion
        while channel is not None and channel.free and self._queue:
            if suspicion.holds(self._queue[0], bool(channel.batches)):
                break
            batch = self._gather(channel)
            if batch is None:
                continue
            if batch.tickets[0].attempts >= MOST_ATTEMPTS:
                suspicion.out = True
            try:
                channel.send(batch)
            except OSError as error:  # nothing was sent, and the slot is free still
                self._refuse(batch, Overloaded(f"no memory for a large batch: {error.strerror}", reason="no_memory"))

    def _refuse(self, batch: Batch, error: ChangeoverError) -> None:
        """Answer all of a batch that runs nowhere."""
        self._suspicion.out = False
        for ticket in batch.tickets:
            self._fail(ticket, error)

    def _fail(self, ticket: Ticket, error: ChangeoverError) -> None:
        """Answer with an error; whatever comes of that, the lease ends."""
        try:
            self._desk.fail(ticket, error)
        finally:
            ticket.release()

    def _gather(self, channel: WorkerChannel) -> Batch | None:
        """The first tickets of the queue that may go together; None when none of them has time left."""
        tickets: list[Ticket] = []
        rows = 0
        limit = self.entry.max_batch if self._batchable else self._max_runs(channel)
        now = monotonic()
        queue = self._queue
        while queue:
            ticket = queue[0]
            if ticket.deadline <= now:
                queue.popleft()  # the deadline's clock answers it
                continue
            if tickets:
                first = tickets[0]
                if ticket.admitted.key != first.admitted.key or rows + ticket.admitted.rows > limit:
                    break
                if ticket.alone or first.alone:
                    break
            queue.popleft()
            ticket.attempts += 1
            ticket.running = True
            tickets.append(ticket)
            rows += ticket.admitted.rows
        runs = len(tickets) if not self._batchable and tickets and tickets[0].kind is not Message.RECORDS else 1
        return Batch(tickets, rows, runs, crowded=bool(queue)) if tickets else None

    def _max_runs(self, channel: WorkerChannel) -> int:
        if self._one_run or not channel.run_ns:
            return 1
        return max(1, min(_MAX_RUNS, int(_RUNS_NS / channel.run_ns)))

    # -- back (channels.Owner) -----------------------------------------------------------------------------

    def on_answer(self, batch: Batch, outputs: list[list[Tensor]]) -> None:
        """Answer each client that still waits, then end the leases and let the next batch go."""
        self._suspicion.out, began = False, monotonic()
        if batch.ran:
            self.pace.answered(batch.sent, began, len(batch.tickets), crowded=batch.crowded)
        self.busy_ns += batch.wall_ns
        batch.weigh()
        for ticket, tensors in zip(batch.tickets, outputs, strict=True):
            try:
                if not ticket.answered:
                    self._desk.answer(ticket, tensors)
            finally:
                ticket.release()
        batch.count(self.runs, began, monotonic())
        self._schedule()

    def on_refusal(self, batch: Batch, error: ModelRunFailed) -> None:
        """The session raised: with company, each ticket gets a run of its own, so one's fault is its alone."""
        self._suspicion.out = False
        batch.count_failed(self.runs)
        together = len(batch.tickets) > 1
        for ticket in reversed(batch.tickets):
            if ticket.answered:
                ticket.release()
            elif together:
                ticket.alone = True
                ticket.running = False
                ticket.attempts -= 1
                self._queue.appendleft(ticket)
            else:
                self._fail(ticket, error)
        self._schedule()

    def on_loss(self, in_hand: list[Batch], waiting: list[Batch], why: str | None) -> None:
        """The worker died or was found out: what was in its slots runs again on the next one."""
        lost = self.channel.member if self.channel is not None else None
        if why is not None and lost is not None:
            self._denounce(lost, why)
        behind = [*[t for batch in waiting for t in batch.tickets], *self._queue]
        self._desk.lost([t for batch in in_hand for t in batch.tickets], behind)
        self._queue_again(in_hand, waiting)
        if not self.gone:
            self._reopen(self.entry.loading, lost)

    def _queue_again(self, in_hand: list[Batch], waiting: list[Batch]) -> None:
        """What a channel had goes back to the front of the queue, in its order."""
        self.channel = None
        self._suspicion.died(in_hand, waiting)
        batches = sorted([*in_hand, *waiting], key=lambda b: b.number)
        for ticket in reversed([t for batch in batches for t in batch.tickets]):
            if ticket.answered:
                ticket.release()
            else:
                ticket.running = False
                self._queue.appendleft(ticket)

    def _judge(self, *, blameless: bool) -> None:
        """Refuse who had a part in too many deaths."""
        for ticket in self._suspicion.judge(blameless=blameless):
            self.withdraw(ticket)
            died = f"{MOST_ATTEMPTS} workers died with this request in hand"
            self._fail(ticket, ModelRunFailed(died, reason="worker_crashed"))

    # -- channel -------------------------------------------------------------------------------------------

    def opened(self, channel: WorkerChannel, *, blameless: bool = False) -> None:
        """A channel to the loading's worker is here. `blameless`: the last one was killed from outside."""
        if self.channel is not None:
            self._queue_again(*self.channel.close())
        self._judge(blameless=blameless)
        self.channel = channel
        self.instances = channel.instances
        self.pace = Pace()  # the next worker's own: what the last one took may have been its dying
        self.connected = True
        self._barred_until = None
        channel.attach(self)
        self._schedule()

    def refused(self) -> None:
        """There will be no worker any more: whoever waits is routed again."""
        self.gone = True
        self._judge(blameless=False)
        waiting, self._queue = self._queue, deque()
        for ticket in waiting:
            self._desk.reroute(ticket)

    @property
    def barred(self) -> bool:
        """Whether requests are refused because the workers die again and again."""
        return self._barred_until is not None

    def bar(self, seconds: float) -> None:
        """The workers die again and again, and the next is tried in so many seconds: nobody waits for that."""
        if self.channel is not None:
            return  # to a worker that the supervisor has not heard of when it said so
        self._barred_until = monotonic() + seconds
        waiting, self._queue = self._queue, deque()
        for ticket in waiting:
            self._turn_away(ticket, self._barred_until)

    def _turn_away(self, ticket: Ticket, until: float) -> None:
        seconds = max(1, math.ceil(until - monotonic()))
        detail = f"the workers of version {self.entry.version} die again and again; the next one is tried in "
        detail += f"{seconds} s, see `changeover status`"
        self._fail(ticket, ModelNotReady(detail, reason="worker_crash_loop", retry_after=seconds))

    def close(self) -> None:
        """No lease is left: let the worker see the end of this channel."""
        self.gone = True
        if self.channel is not None:
            self.channel.close()
            self.channel = None

    def check(self, now: float) -> None:
        """Give up a worker that has been silent longer than the model's run timeout."""
        channel, most = self.channel, self.entry.run_timeout
        if channel is not None and channel.hangs(now, most):
            channel.readable()  # the answer may have come while this process was held up
            if self.channel is channel and (seconds := channel.hangs(now, most)):
                self.give_up(f"silent for {seconds:.1f} s with a batch in hand (runtime.run_timeout)")

    def give_up(self, why: str) -> None:
        """Have the worker replaced."""
        if self.channel is not None:
            self.on_loss(*self.channel.close(), why)

    def _schedule(self) -> None:
        if not self._scheduled and self._queue and self.channel is not None:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._pump)
