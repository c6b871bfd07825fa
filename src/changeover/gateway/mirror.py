"""The mirror: copies of routed requests go to the candidate after their answers went out (DESIGN §4).

In the undo window what is held back on the previous version is copied to the promoted one, which still has to prove
itself.

One copy at a time is under way, and only when nobody waits: in front of the active version, of the candidate, or for a
slot. Whatever does not fit is dropped, so clients never feel it. Copies take a fifth of the candidate's time at most,
and where it has no traffic of its own they run at idle priority. Both answers are compared here (docs/adr/0010).
"""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from changeover.errors import Overloaded
from changeover.gateway.ticket import Batch, Ticket, gone
from changeover.telemetry.pairing import Excerpt, PairCount, alike, excerpt
from changeover.telemetry.tally import Tally
from changeover.tensors import Datatype, Tensor
from changeover.transport.control import BUCKETS

if TYPE_CHECKING:
    from changeover.errors import ChangeoverError
    from changeover.gateway.router import Table, Target

_MOST_BYTES = 32 << 20
"""Of a request that is copied, on the event loop and into the candidate's memory."""
_MOST_TEXT = 1 << 19
"""Of an answer's texts, either version's: unlike numbers they are all read, whatever part is compared."""
_PAUSE = 0.005
"""Seconds between two copies: 200 a second are evidence enough."""
_NO_MEMORY = 5.0
"""Seconds after a copy for which this machine had no memory."""
_REST = 4.0
"""Times of a run after which the candidate may have the next copy."""
_SPARE = 100.0
"""Times of what a copy took here: taking the part that is compared, writing the rows to the candidate, comparing. So
about a hundredth of the gateway's time is theirs."""


@dataclass(slots=True)
class _Copy:
    """A request that is out once more, and what is compared of its answer.

    Attributes:
        outputs: in memory of their own; seconds: that taking them took.
        batch: in which it went to the candidate; None before.
    """

    ticket: Ticket
    outputs: list[Excerpt]
    seconds: float
    batch: Batch | None = None

    @property
    def took(self) -> float:
        """Seconds of the event loop, so far."""
        return self.seconds + (self.batch.sent - self.batch.begun if self.batch is not None else 0.0)


class Mirror:
    """Of one table.

    Args:
        table: to whose step it belongs.
        source: whose requests are copied: the version that everything can go back to.
        candidate: who gets the copies.

    Attributes:
        pairs: what was compared.
        quiet: the candidate has no traffic of its own, so copies run at idle priority.
    """

    def __init__(self, table: Table, source: Target, candidate: Target) -> None:
        self.copies = True
        self.pairs = PairCount(candidate.loading, table.epoch)
        self.quiet = candidate.loading not in {loading for _, loading in table.record.buckets}
        self._share = table.record.mirror / BUCKETS
        self._source = source
        self._candidate = candidate
        self._out: _Copy | None = None
        self._next = 0.0

    def copy(self, ticket: Ticket, outputs: list[Tensor]) -> None:
        """Send a request that was answered once more, if it is drawn and there is room.

        Its inputs are read where they are: a body owns its memory, which the copy keeps.
        """
        if ticket.target is not self._source or not isinstance(ticket.tally, Tally):
            return
        if self._share < 1 and random.random() >= self._share:  # noqa: S311 - no secret
            return
        if not self._has_room() or _is_large(ticket, outputs):
            self.pairs.dropped += 1
            return
        copy = Ticket(ticket.asker, ticket.model, self._candidate, ticket.epoch)
        copy.admitted = ticket.admitted
        copy.guard = self
        copy.alone = True  # no client's request shares a batch with it
        copy.deadline = math.inf  # a hang is found out by the run timeout
        began = monotonic()
        excerpts = self._excerpts(outputs)
        self._out = _Copy(copy, excerpts, monotonic() - began)
        self._candidate.leases += 1
        self._candidate.batcher.put(copy)
        asyncio.get_running_loop().call_soon(self._find)  # it leaves in the same turn of the loop, and before this

    def _find(self) -> None:
        """Look in which batch the copy is, and so how long it took to write it there."""
        out, channel = self._out, self._candidate.batcher.channel
        if out is not None and channel is not None:
            out.batch = next((b for b in channel.batches.values() if b.tickets[0] is out.ticket), None)

    def _has_room(self) -> bool:
        """Nothing else of this mirror is out, and nobody waits."""
        if self._out is not None or monotonic() < self._next:
            return False
        batcher = self._candidate.batcher
        if self._source.batcher.waiting or batcher.waiting:
            return False
        return batcher.channel is not None and bool(batcher.channel.free)

    # -- ticket.guard --------------------------------------------------------------------------------------

    def answers(self, ticket: Ticket, outputs: list[Tensor]) -> bool:
        """The candidate has answered: compare."""
        began = monotonic()
        if self._out is not None:
            self._compare(self._out.outputs, outputs)
        channel = self._candidate.batcher.channel
        run = channel.run_ns * 1e-9 if channel is not None else 0.0
        self._rest(_REST * run, monotonic() - began)
        self._end(ticket)
        return True

    def fails(self, ticket: Ticket, error: ChangeoverError) -> bool:
        """The candidate failed where the active version answered; that there is no room for a copy is not its fault."""
        if isinstance(error, Overloaded):
            self.pairs.dropped += 1
            self._rest(_NO_MEMORY)
        else:
            self.pairs.failures += 1
            self._rest()
        self._end(ticket)
        return True

    def lost(self, ticket: Ticket, *, in_hand: bool) -> None:
        """A copy does not wait for the next worker."""
        del in_hand
        self.fails(ticket, gone(ticket))

    def _compare(self, active: list[Excerpt], outputs: list[Tensor]) -> None:
        """Count the pair. What cannot be laid beside the active version's answer is not even read."""
        if not alike(active, outputs):
            self.pairs.add(active, ())
        elif _texts(outputs) > _MOST_TEXT:
            self.pairs.dropped += 1
        else:
            self.pairs.add(active, self._excerpts(outputs))

    def _excerpts(self, outputs: list[Tensor]) -> list[Excerpt]:
        """Of one answer; of both answers to a request they are of the same elements."""
        return [excerpt(tensor, self.pairs.compared) for tensor in outputs]

    def _rest(self, least: float = 0.0, comparing: float = 0.0) -> None:
        """No copy for at least so long, nor for what this one asks for by what it took."""
        took = self._out.took if self._out is not None else 0.0
        self._next = monotonic() + max(_PAUSE, least, _SPARE * (took + comparing))

    def _end(self, ticket: Ticket) -> None:
        self._out = None
        ticket.answered = True
        if not ticket.running:
            ticket.target.batcher.withdraw(ticket)
            ticket.release()


def _is_large(ticket: Ticket, outputs: list[Tensor]) -> bool:
    """Whether handing it on or reading it would hold up the event loop for too long."""
    return sum(map(len, ticket.admitted.data)) > _MOST_BYTES or _texts(outputs) > _MOST_TEXT


def _texts(outputs: list[Tensor]) -> int:
    """Bytes of all texts."""
    return sum(len(t.data) for t in outputs if t.datatype is Datatype.BYTES)
