"""A ticket: one inference request on its way through the gateway, from admission to its answer; and a batch of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from changeover.errors import ModelRunFailed
from changeover.telemetry.observations import bucket
from changeover.transport.channel import Message

if TYPE_CHECKING:
    from changeover.errors import ChangeoverError
    from changeover.gateway.admission import Admitted
    from changeover.gateway.asker import Asker
    from changeover.gateway.router import Model, Target
    from changeover.gateway.shield import Rescue
    from changeover.protocol.oip import InferRequest
    from changeover.telemetry.statistics import Runs
    from changeover.telemetry.tally import Tally
    from changeover.tensors import Tensor


class Desk(Protocol):
    """Who answers clients: the pipeline, or a test."""

    def answer(self, ticket: Ticket, outputs: list[Tensor]) -> None:
        """Send the outputs; their memory is reused after this returns."""

    def fail(self, ticket: Ticket, error: ChangeoverError) -> None:
        """Send an error."""

    def reroute(self, ticket: Ticket) -> None:
        """The ticket's loading is gone for good: choose again."""

    def lost(self, in_hand: list[Ticket], waiting: list[Ticket]) -> None:
        """The worker is gone with the first in hand; those that are not answered now run again on the next one."""


class Guard(Protocol):
    """Looks at what comes of a ticket: the shield, or the mirror."""

    quiet: bool
    """Whether the worker runs it at idle priority."""

    copies: bool
    """Whether what it guards are copies, which no client waits for."""

    def answers(self, ticket: Ticket, outputs: list[Tensor]) -> bool:
        """True: it has taken care of this answer; the outputs' memory is reused after this returns."""

    def fails(self, ticket: Ticket, error: ChangeoverError) -> bool:
        """True: it has taken care of this error."""

    def lost(self, ticket: Ticket, *, in_hand: bool) -> None:
        """The worker died with it in hand, or before; the next one runs it, unless it is answered now."""


class Ticket:
    """One request; its lease on `target` lives until `release`.

    Attributes:
        asker: who asked, and how to answer.
        asked: what the client wants back (id, outputs, binary or JSON).
        epoch: the table that chose the target.
        deadline: when the client stops waiting (`time.monotonic`).
        attempts: how often it was put into a slot; a request that was there when two workers died is refused.
        alone: it failed inside a batch and runs by itself now.
        answered: the client got its answer, or has gone.
        running: it is in a slot, whose return ends the lease.
        pinned: the version or label the client named; None for routed traffic.
        key: the client's routing key.
        kind: of the message that carries it.
        fallback: who answers when the target fails; leased too.
        tally: where it counts as evidence; None where it is none.
        guard: looks at what comes of it before the client does; None mostly.
        give_up: when the guard does not wait any longer (`time.monotonic`).
        finite: the table that chose asks for finite answers; the one in force may be another when the answer comes.
    """

    __slots__ = (
        "admitted",
        "alone",
        "answered",
        "asked",
        "asker",
        "attempts",
        "deadline",
        "epoch",
        "fallback",
        "finite",
        "give_up",
        "guard",
        "key",
        "kind",
        "leased",
        "model",
        "pinned",
        "running",
        "tally",
        "target",
    )

    def __init__(self, asker: Asker, model: Model, target: Target, epoch: int) -> None:
        self.asker = asker
        self.asked: InferRequest
        self.model = model
        self.target = target
        self.epoch = epoch
        self.admitted: Admitted
        self.deadline = 0.0
        self.attempts = 0
        self.alone = False
        self.answered = False
        self.leased = True
        self.running = False
        self.pinned: str | None = None
        self.key: bytes | None = None
        self.kind = Message.RUN
        self.fallback: Target | None = None
        self.tally: Tally | Rescue | None = None
        self.guard: Guard | None = None
        self.give_up: float
        self.finite = False

    def release(self) -> None:
        """End the lease, once."""
        if self.leased:
            self.leased = False
            if self.fallback is not None:
                self.drop_fallback()
            self.target.release()

    def drop_fallback(self) -> None:
        """End the lease on the fallback."""
        fallback, self.fallback = self.fallback, None
        if fallback is not None:
            fallback.stand_down()

    def __repr__(self) -> str:
        return f"<Ticket {self.model.name}/{self.target.version} epoch {self.epoch} attempts {self.attempts}>"


def gone(ticket: Ticket) -> ModelRunFailed:
    """The error of a ticket whose worker is dead."""
    return ModelRunFailed(f"the worker of version {ticket.target.version} is gone", reason="worker_crashed")


@dataclass(slots=True, eq=False)
class Batch:
    """What is in one slot: tickets in row order, or one ticket a run.

    Attributes:
        crowded: others had to stay behind.
        wall_ns, cpu_ns: what its runs took, as the worker says.
        ran: whether the model ran for all of its rows; records may say that there was nothing to be run.
        settled: whether what it took is evidence of the version.
        begun: when its rows began to be written (`time.monotonic`).
        sent: when it was put there (`time.monotonic`).
        taken: when it was first seen in the worker's hand, 0 before that.
    """

    tickets: list[Ticket]
    rows: int
    runs: int
    crowded: bool = False
    number: int = 0
    begun: float = 0.0
    sent: float = 0.0
    taken: float = 0.0
    wall_ns: int = 0
    cpu_ns: int = 0
    ran: bool = True
    settled: bool = True

    def count(self, counts: Runs, answered: float, ended: float) -> None:
        """Count a run whose answer came at `answered` and had gone out at `ended`; copies for nobody do not count."""
        guard = self.tickets[0].guard
        if guard is not None and guard.copies:
            return
        received = sum([ticket.asker.received for ticket in self.tickets])
        counts.count(self, answered * len(self.tickets) - received, answered, ended)

    def count_failed(self, counts: Runs) -> None:
        """Count a run that failed."""
        guard = self.tickets[0].guard
        if guard is None or not guard.copies:
            counts.count_failed(self)

    def weigh(self) -> None:
        """Count the work of a run as evidence: when all who took part are evidence, and one's key counts still."""
        first = self.tickets[0].tally
        if first is None or not self.settled:
            return
        for ticket in self.tickets:  # a generator would take twice as long, and this is for every batch
            if ticket.tally is None:
                return
        for ticket in self.tickets:
            if ticket.key is None or not first.saturated(ticket.key):
                rows = self.rows if self.runs == 1 else 1
                first.worked(rows, bucket(self.cpu_ns / self.runs * 1e-9))
                return
