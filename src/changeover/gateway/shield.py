"""The shield: what a candidate fails is replayed on the active version, inside the deadline (DESIGN §4, §5.7).

The client sees success, the candidate's tally the failure. Requests that name a version or a label are not shielded:
whoever asks for the candidate wants to see it as it is. A mirrored copy has no client to shield.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from math import isinf
from time import monotonic
from typing import TYPE_CHECKING, Protocol

import numpy as np

from changeover.errors import CallerError, ChangeoverError, Overloaded
from changeover.gateway.ticket import gone
from changeover.telemetry.observations import bucket
from changeover.telemetry.tally import Tally
from changeover.tensors import Datatype

if TYPE_CHECKING:
    from changeover.gateway.router import Model, Target
    from changeover.gateway.ticket import Ticket
    from changeover.telemetry.observations import Counter
    from changeover.tensors import Tensor

_SOON = 0.02
"""Seconds: a share that is shorter gets a timer of its own, for the clock's tick would be too coarse."""
_HELD_UP = 0.05
_LOOK = 1.0
_FLOATS = {Datatype.FP16: np.float16, Datatype.FP32: np.float32, Datatype.FP64: np.float64}


class Replays(Protocol):
    """Who moves requests: the pipeline."""

    def replay(self, ticket: Ticket, target: Target) -> Ticket:
        """The request goes on with a ticket of its own on this target; what the first one brings is thrown away.

        Raises:
            ChangeoverError: it cannot.
        """


class Rescue:
    """Stands in the place of a tally, for a replay: its good answer is a failure that the client did not see.

    Attributes:
        doubtful: whether it is a failure of the candidate shows only in the active version's answer.
    """

    __slots__ = ("_counter", "_tally", "doubtful")

    def __init__(self, tally: Tally | None, counter: Counter, *, doubtful: bool) -> None:
        self._tally = tally
        self._counter = counter
        self.doubtful = doubtful

    def answered(self, _: int, key: bytes | None) -> None:
        """The active version has answered."""
        if self._tally is None:
            return
        self._counter.shielded += 1
        self._tally.shielded += 1
        if self.doubtful:
            self._tally.failed(key)

    def failed(self, key: bytes | None, bucket: int | None = None) -> None:
        """It has failed too; its own failures are no evidence here."""

    def left(self, bucket: int, key: bytes | None) -> None:
        """The client went away."""

    def saturated(self, _: bytes) -> bool:
        """It adds nothing to what is known of its key."""
        return True

    def worked(self, rows: int, bucket: int) -> None:
        """No evidence: what replays are is the candidate's choice."""

    def dismiss(self, bucket: int, key: bytes | None) -> None:
        """Both versions answer so: it is no fault of the candidate's."""
        if self._tally is not None:
            self._tally.answered(bucket, key)
            self._tally = None


class Shield:
    """Watches over the requests that a candidate has (`ticket.guard`)."""

    def __init__(self, desk: Replays) -> None:
        self.quiet = self.copies = False
        self._desk = desk
        self._guarded: set[Ticket] = set()
        self._next_look = 0.0
        self._checked = 0.0

    def take(self, ticket: Ticket) -> None:
        """Watch over a ticket whose fallback is leased: the candidate's time share begins to run."""
        now, table = monotonic(), ticket.model.table
        ticket.guard = self
        ticket.finite = table is not None and table.record.finite
        if isinf(ticket.model.patience.seconds):
            ticket.model.look()
        share = ticket.asker.received + ticket.model.patience.seconds
        ticket.give_up = min(share, (now + ticket.deadline) / 2)
        self._guarded.add(ticket)
        if ticket.give_up < now + _SOON:
            asyncio.get_running_loop().call_at(self._loop_time(ticket.give_up - now), self._late, ticket)

    def _loop_time(self, seconds: float) -> float:
        return asyncio.get_running_loop().time() + max(seconds, 0.0)

    def step_aside(self, ticket: Ticket) -> None:
        """The candidate is too far behind for a request that has not entered: the active version is asked to take it.

        It counts as the candidate's failure when that one can.
        """
        target = ticket.fallback
        if target is None:
            return
        target.leases += 1
        ticket.drop_fallback()
        ticket.target.release()
        ticket.tally = _rescue(ticket, doubtful=True)
        ticket.target = target
        ticket.model.budget.spend()

    # -- ticket.guard --------------------------------------------------------------------------------------

    def answers(self, ticket: Ticket, outputs: list[Tensor]) -> bool:
        """Look at an answer; True when it does not go out and the request is replayed."""
        if not ticket.finite or finite(outputs):
            return False
        if isinstance(ticket.tally, Rescue):
            ticket.tally.dismiss(bucket(monotonic() - ticket.asker.received), ticket.key)
            return False
        return self._replay(ticket, doubtful=True)

    def fails(self, ticket: Ticket, error: ChangeoverError) -> bool:
        """Look at an error; True when the request is replayed."""
        if isinstance(error, CallerError | Overloaded):
            return False
        return monotonic() < ticket.deadline and self._replay(ticket)

    def lost(self, ticket: Ticket, *, in_hand: bool) -> None:
        """Who has a fallback does not wait for the next worker."""
        del in_hand
        self.fails(ticket, gone(ticket))

    # -- time ----------------------------------------------------------------------------------------------

    def check(self, now: float, models: Iterable[Model]) -> None:
        """Replay what is past its share; from time to time look how long the active versions take."""
        pause, self._checked = now - self._checked, now
        for ticket in [t for t in self._guarded if t.answered or t.give_up <= now]:
            if pause > _HELD_UP and not ticket.answered:  # this process stood still: the answer may be here already
                ticket.give_up = min(now + _HELD_UP, (now + ticket.deadline) / 2)
                continue
            self._guarded.discard(ticket)
            self._late(ticket)
        if now >= self._next_look:
            self._next_look = now + _LOOK
            for model in models:
                model.look()

    def _late(self, ticket: Ticket) -> None:
        """The share has passed. Where the active version is behind itself, a replay would be no faster: wait on."""
        now, fallback = monotonic(), ticket.fallback
        if ticket.answered or fallback is None or now >= ticket.deadline:
            return
        behind = fallback.batcher.pace.wait(fallback.leases)
        if behind > now - ticket.asker.received and now + behind < ticket.deadline:
            ticket.give_up = min(now + behind, (now + ticket.deadline) / 2)
            self._guarded.add(ticket)
            return
        self._replay(ticket, took=now - ticket.asker.received)

    def _replay(self, ticket: Ticket, *, took: float | None = None, doubtful: bool = False) -> bool:
        if ticket.fallback is None:
            return False
        try:
            again = self._desk.replay(ticket, ticket.fallback)
        except ChangeoverError:
            return False
        ticket.model.budget.spend()
        self._guarded.discard(ticket)
        again.tally = _rescue(ticket, doubtful=doubtful)
        if doubtful:
            again.guard, again.finite = self, ticket.finite
        elif ticket.tally is not None:
            ticket.tally.failed(ticket.key, None if took is None else bucket(took))
        again.target.batcher.put(again)
        return True


def _rescue(ticket: Ticket, *, doubtful: bool) -> Rescue:
    tally = ticket.tally if isinstance(ticket.tally, Tally) else None
    return Rescue(tally, ticket.target.counter, doubtful=doubtful)


def good(ticket: Ticket, outputs: list[Tensor]) -> bool:
    """Whether an answer that goes out counts as a good one.

    What the shield lets through does. Where nobody is shielded, both versions are measured alike: an answer that is not
    finite counts as failed where the table says so.
    """
    table = ticket.model.table
    return table is None or table.shielded is not None or not table.record.finite or finite(outputs)


def finite(outputs: list[Tensor]) -> bool:
    """Whether no output holds NaN or an infinity."""
    for tensor in outputs:
        kind = _FLOATS.get(tensor.datatype)
        if kind is not None and not np.isfinite(np.frombuffer(tensor.data, kind)).all():
            return False
        if tensor.datatype is Datatype.BF16 and (np.frombuffer(tensor.data, np.uint16) & 0x7F80 == 0x7F80).any():
            return False
    return True
