"""The way of an inference request: route → room → decode → admit → batch → (worker) → encode (DESIGN §4).

All of it is synchronous and on the event loop; a request waits only in its loading's batcher. Errors of any
station become one answer through `fail`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic

from changeover.errors import ChangeoverError, DeadlineExceeded, Internal, Overloaded
from changeover.gateway.admission import Room, admit, check_time, deadline, require_rows
from changeover.gateway.asker import Asker
from changeover.gateway.catalogue import known
from changeover.gateway.delivery import delivered, require_outputs
from changeover.gateway.failures import FAILURES
from changeover.gateway.models import Models
from changeover.gateway.router import Target
from changeover.gateway.sequences.sequences import Sequences
from changeover.gateway.shared_memory import Regions, not_enabled
from changeover.gateway.shield import Shield, good
from changeover.gateway.ticket import Ticket, gone
from changeover.protocol.oip_raw import raw_input
from changeover.telemetry.observations import GONE, Counter, bucket
from changeover.tensors import Tensor

_TICK = 0.01


class Pipeline:
    """Takes inference requests in and gives answers out.

    Args:
        models: the models of this gateway.
        room: how long a model's queue may become, where its plan says nothing else.
        default_timeout: seconds a request has when its client names none.
        regions: of shared memory; None where there is none.
    """

    def __init__(self, models: Models, room: Room, default_timeout: float, regions: Regions | None = None) -> None:
        self._models = models
        self._room = room
        self._default_timeout = default_timeout
        self._regions = regions
        self.unrouted = Counter()
        """Errors of requests that came to no model: names that clients think up would be labels without end."""
        self._live: set[Ticket] = set()
        self._shield = Shield(self)
        self._sequences = Sequences(self, models)

    @property
    def in_flight(self) -> int:
        """Requests without an answer."""
        return len(self._live)

    def infer(self, asker: Asker, name: str, version: str | None) -> None:
        """Take a request; its answer goes out now or later."""
        ticket: Ticket | None = None
        try:
            ticket = self._ticket(asker, name, version)
            self._admit(ticket)
            self._enter(ticket)
        except Exception as error:
            if ticket is not None and ticket not in self._live:
                ticket.release()  # one that is in is answered at its deadline at the latest, and ends its lease there
            if not isinstance(error, ChangeoverError):
                raise  # a defect: the door logs and answers it
            counter = self.unrouted if ticket is None else ticket.target.counter
            counter.erred(asker.protocol, error.reason, error.fault)
            asker.fail(error)

    def _ticket(self, asker: Asker, name: str, version: str | None) -> Ticket:
        """A ticket with a target and a lease on it; nothing of the body was read."""
        model = known(self._models, name)
        headers = asker.headers
        if version is None and b"changeover-version" in headers:
            version = headers[b"changeover-version"].decode("latin-1")
        key = headers.get(b"changeover-key")
        target, epoch, fallback, tally = model.pick(version, key)
        ticket = Ticket(asker, model, target, epoch)
        ticket.fallback, ticket.tally = fallback, tally
        ticket.pinned, ticket.key = version, key
        return ticket

    def _admit(self, ticket: Ticket) -> None:
        """Room and time first: what is shed costs neither its decoding nor its place."""
        asker, target, model = ticket.asker, ticket.target, ticket.model
        header = asker.headers.get(b"changeover-timeout")
        ticket.deadline = self._deadline(asker, {}, header)
        interval = target.batcher.pace.interval
        wait, ahead = target.leases * interval, (target.leases - 1) * interval  # this one holds a lease too
        try:
            if target.room is None:
                target.room = self._room.own(target.entry.queue_limit, target.entry.max_queue_delay)
            room = target.room
            room.check(model.name, model.tickets, wait)
            room.check_bytes(model.name, model.held, asker.size)
            check_time(model.name, ahead, ticket.deadline - monotonic())
            size = asker.size
            ticket.asked = asked = asker.decode()
            if asker.size > size:
                room.check_bytes(model.name, model.held, asker.size)
            if asked.raw is not None:
                asked.inputs = [raw_input(asked.raw, target.inputs, batchable=target.batchable)]
            if header is None and "timeout" in asked.parameters:
                ticket.deadline = self._deadline(asker, asked.parameters, None)
                check_time(model.name, ahead, ticket.deadline - monotonic())
        except Overloaded as error:
            if ticket.fallback is None or error.reason != "queue_delay":
                target.counter.refused(asker.protocol)
                raise
            self._shield.step_aside(ticket)
            self._admit(ticket)

    def _deadline(self, asker: Asker, parameters: Mapping[str, object], header: bytes | None) -> float:
        """What the client says, but never later than its protocol ends the request."""
        ends = asker.timeout
        if ends is None:
            return deadline(asker.received, parameters, header, self._default_timeout)
        return min(deadline(asker.received, parameters, header, ends), asker.received + ends)

    def _enter(self, ticket: Ticket) -> None:
        target = ticket.target
        if ticket.asked.places:
            self._fetch(ticket)
        step = self._sequences.step(ticket) if ticket.model.stateful else None
        ticket.admitted = admit(ticket.asked, target.inputs, target.positions, batchable=target.batchable)
        require_rows(ticket.admitted.rows, target, ticket.fallback)
        if ticket.asked.outputs is not None:
            self.check_outputs(ticket, target)
        ticket.asker.watch(lambda: self._abandoned(ticket))
        ticket.model.tickets += 1
        ticket.model.held += ticket.asker.size
        self._live.add(ticket)
        if step is not None:
            self._sequences.enter(ticket, step)
            return
        if ticket.fallback is not None:
            self._shield.take(ticket)
            if target.batcher.channel is None and self._shield.fails(ticket, gone(ticket)):
                return
        target.batcher.put(ticket)

    def check_outputs(self, ticket: Ticket, target: Target) -> None:
        """Refuse an unknown output before any work is done for it."""
        asked = ticket.asked.outputs
        if asked is not None:
            require_outputs(asked, target, self._regions)

    def _fetch(self, ticket: Ticket) -> None:
        """Copy inputs out of shared memory; they count as a part of the body."""
        if self._regions is None:
            raise not_enabled()
        need, asker, model = self._regions.needed(ticket.asked), ticket.asker, ticket.model
        if ticket.target.room is not None:
            ticket.target.room.check_bytes(model.name, model.held, asker.size + need)
        self._regions.fetch(ticket.asked)
        asker.size += need

    # -- batcher.Desk --------------------------------------------------------------------------------------

    def answer(self, ticket: Ticket, outputs: list[Tensor]) -> None:
        """Encode straight from the worker's memory."""
        if ticket.guard is not None and ticket.guard.answers(ticket, outputs):
            return
        target, asked, mirror = ticket.target, ticket.asked, ticket.model.mirror
        whole = outputs
        try:
            if asked.outputs is not None:
                outputs = delivered(asked.outputs, target, outputs, self._regions)
            chunks = ticket.asker.encode(ticket.model.name, target.version, asked, outputs)
        except ChangeoverError as error:
            self.fail(ticket, error)
            return
        recent = ticket.model.recent
        if recent is not None:
            recent.skip -= 1
            if recent.skip < 0:
                recent.offer(ticket)
        self._done(ticket)
        ticket.asker.send(chunks, ticket.epoch)
        latency = target.counter.answered(monotonic() - ticket.asker.received, ticket.asker.protocol)
        if ticket.tally is not None and good(ticket, whole):
            ticket.tally.answered(latency, ticket.key)
        elif ticket.tally is not None:
            ticket.tally.failed(ticket.key, latency)
        if mirror is not None:
            mirror.copy(ticket, whole)

    def fail(self, ticket: Ticket, error: ChangeoverError) -> None:
        """Answer with an error, when nobody else can answer well."""
        if ticket.guard is not None and ticket.guard.fails(ticket, error):
            return
        self._done(ticket)
        ticket.target.counter.erred(ticket.asker.protocol, error.reason, error.fault)
        if error.fault != "caller":
            ticket.target.counter.failed += 1
            ticket.target.counter.failed_seconds += monotonic() - ticket.asker.received
            FAILURES.tell(ticket, error)
            if ticket.tally is not None and not isinstance(error, Overloaded):
                ticket.tally.failed(ticket.key)
        ticket.asker.fail(error, ticket.epoch)

    def reroute(self, ticket: Ticket) -> None:
        """The loading is gone for good: choose again, unless the client named it."""
        if ticket.guard is not None and ticket.guard.fails(ticket, gone(ticket)):
            return
        ticket.release()
        old = ticket.target
        ticket.tally = ticket.guard = None  # no evidence any more
        try:
            target, epoch, ticket.fallback, _ = ticket.model.pick(ticket.pinned, ticket.key)
            ticket.target, ticket.epoch, ticket.leased = target, epoch, True
            if target is old or target.batcher.gone:
                raise Internal("no worker can answer; the model's last one failed", reason="worker_lost")
            ticket.admitted = admit(ticket.asked, target.inputs, target.positions, batchable=target.batchable)
            self.check_outputs(ticket, target)
        except ChangeoverError as error:
            try:
                self.fail(ticket, error)
            finally:
                ticket.release()
            return
        if ticket.fallback is not None:
            self._shield.take(ticket)
        target.batcher.put(ticket)

    def lost(self, in_hand: list[Ticket], waiting: list[Ticket]) -> None:
        """A worker is gone: those it had in hand were failed by it; who has a fallback does not wait for the next."""
        for tickets in (in_hand, waiting):
            for ticket in [t for t in tickets if t.guard is not None and not t.answered]:
                if ticket.guard is not None:
                    ticket.guard.lost(ticket, in_hand=tickets is in_hand)
        for ticket in [t for t in in_hand if t.tally is not None and not t.answered]:
            if ticket.tally is not None:
                ticket.tally.failed(ticket.key)
                ticket.tally = None

    def replay(self, ticket: Ticket, target: Target) -> Ticket:
        """The request goes on with a ticket of its own on this target; what the first one brings is thrown away.

        Raises:
            ChangeoverError: it does not fit the target.
        """
        again = Ticket(ticket.asker, ticket.model, target, ticket.epoch)
        again.asked, again.key, again.deadline = ticket.asked, ticket.key, ticket.deadline
        again.admitted = admit(again.asked, target.inputs, target.positions, batchable=target.batchable)
        self.check_outputs(again, target)
        target.leases += 1
        ticket.drop_fallback()
        ticket.answered = True
        self._live.discard(ticket)
        self._live.add(again)
        again.asker.watch(lambda: self._abandoned(again))
        self._leave(ticket)
        return again

    # -- time ----------------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Answer what is past its deadline, and give up silent workers; runs as long as the gateway."""
        while True:
            await asyncio.sleep(_TICK)
            now = monotonic()
            for ticket in [t for t in self._live if t.deadline <= now]:
                if not ticket.answered:  # as one is whose turn came, in vain, when the step before it expired
                    self._expire(ticket)
            self._shield.check(now, self._models.by_name.values())
            for target in list(self._models.targets.values()):  # the last lease of one may end here
                target.batcher.check(now)
            self._sequences.check(now)

    def _expire(self, ticket: Ticket) -> None:
        waited = ticket.deadline - ticket.asker.received
        self.fail(ticket, DeadlineExceeded(f"no answer within {waited:.3f} s"))
        self._leave(ticket)

    def _abandoned(self, ticket: Ticket) -> None:
        """The client went away: its rows leave the queue; a running batch goes on without it."""
        self._done(ticket)
        ticket.target.counter.erred(ticket.asker.protocol, *GONE)
        if ticket.tally is not None:
            ticket.tally.left(bucket(monotonic() - ticket.asker.received), ticket.key)
        self._leave(ticket)

    def _leave(self, ticket: Ticket) -> None:
        """Nobody waits any more. A ticket in the queue goes at once, with the body that it holds."""
        self._sequences.left(ticket)
        if not ticket.running:
            ticket.target.batcher.withdraw(ticket)
            ticket.release()

    def _done(self, ticket: Ticket) -> None:
        ticket.answered = True
        ticket.asker.watch(None)  # it holds the ticket, which holds the asker: no work for the collector
        ticket.model.tickets -= 1
        ticket.model.held -= ticket.asker.size
        self._live.discard(ticket)
