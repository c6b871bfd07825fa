"""The mirror: copies of routed requests go to the candidate after their answers went out (DESIGN §4).

In the undo window what is held back on the previous version is copied to the promoted one, which still has to prove
itself.

One copy at a time is under way, and only when nobody waits: in front of the active version, of the candidate, or for a
slot. Whatever does not fit is dropped, so clients never feel it. Copies take a fifth of the candidate's time at most,
and where it has no traffic of its own they run at idle priority. Both answers are compared here (docs/adr/0010).
"""

from __future__ import annotations

import math
import random
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from changeover.gateway.admission import Admitted
from changeover.gateway.ticket import Ticket, gone
from changeover.telemetry.pairing import Excerpt, PairCount, excerpt
from changeover.telemetry.tally import Tally
from changeover.tensors import Datatype, Tensor
from changeover.transport.control import BUCKETS

if TYPE_CHECKING:
    from changeover.errors import ChangeoverError
    from changeover.gateway.router import Table, Target

_MOST_BYTES = 32 << 20
"""Of a request that is copied, on the event loop and into memory of its own."""
_MOST_TEXT = 1 << 19
"""Of an output's texts: unlike numbers they are all read, whatever part is compared."""
_PAUSE = 0.005
"""Seconds between two copies: 200 a second are evidence enough."""
_REST = 4.0
"""Times of a run after which the candidate may have the next copy."""
_SPARE = 100.0
"""Times of what a copy and its comparison took: a hundredth of the gateway's time is theirs."""


class _Copy(NamedTuple):
    """A request and what is compared of its answer, in memory of their own.

    Attributes:
        seconds: that the copying took.
    """

    ticket: Ticket
    outputs: list[Excerpt]
    seconds: float


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

    def copy(self, ticket: Ticket, outputs: list[Tensor]) -> _Copy | None:
        """Take a copy of a request that is being answered, if it is drawn and there is room; `send` comes next."""
        if ticket.target is not self._source or not isinstance(ticket.tally, Tally):
            return None
        if self._share < 1 and random.random() >= self._share:  # noqa: S311 - no secret
            return None
        if not self._has_room() or _is_large(ticket, outputs):
            self.pairs.dropped += 1
            return None
        began, admitted = monotonic(), ticket.admitted
        copy = Ticket(ticket.asker, ticket.model, self._candidate, ticket.epoch)
        copy.admitted = Admitted([bytes(d) for d in admitted.data], admitted.shapes, admitted.rows, admitted.key)
        copy.guard = self
        copy.alone = True  # no client's request shares a batch with it
        copy.deadline = math.inf  # a hang is found out by the run timeout
        return _Copy(copy, self._excerpts(outputs), monotonic() - began)

    def send(self, copy: _Copy) -> None:
        """Off it goes; the answer went out before."""
        self._out = copy
        self._candidate.leases += 1
        self._candidate.batcher.put(copy.ticket)

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
        began, copying = monotonic(), 0.0
        if self._out is not None:
            self.pairs.add(self._out.outputs, self._excerpts(outputs))
            copying = self._out.seconds
        now = monotonic()
        channel = self._candidate.batcher.channel
        run = channel.run_ns * 1e-9 if channel is not None else 0.0
        self._next = now + max(_PAUSE, _REST * run, _SPARE * (now - began + copying))
        self._end(ticket)
        return True

    def fails(self, ticket: Ticket, error: ChangeoverError) -> bool:
        """The candidate failed where the active version answered."""
        del error
        self.pairs.failures += 1
        copying = self._out.seconds if self._out is not None else 0.0
        self._next = monotonic() + max(_PAUSE, _SPARE * copying)
        self._end(ticket)
        return True

    def lost(self, ticket: Ticket, *, in_hand: bool) -> None:
        """A copy does not wait for the next worker."""
        del in_hand
        self.fails(ticket, gone(ticket))

    def _excerpts(self, outputs: list[Tensor]) -> list[Excerpt]:
        """Of one answer; of both answers to a request they are of the same elements."""
        return [excerpt(tensor, self.pairs.compared) for tensor in outputs]

    def _end(self, ticket: Ticket) -> None:
        self._out = None
        ticket.answered = True
        if not ticket.running:
            ticket.target.batcher.withdraw(ticket)
            ticket.release()


def _is_large(ticket: Ticket, outputs: list[Tensor]) -> bool:
    """Whether copying or reading it would hold up the event loop for too long."""
    texts = sum(len(t.data) for t in outputs if t.datatype is Datatype.BYTES)
    return sum(map(len, ticket.admitted.data)) > _MOST_BYTES or texts > _MOST_TEXT
