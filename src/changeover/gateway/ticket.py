"""A ticket: one inference request on its way through the gateway, from admission to its answer; and a batch of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from changeover.gateway.admission import Admitted
    from changeover.gateway.door.request import HttpRequest
    from changeover.gateway.router import Model, Target
    from changeover.protocol.oip import InferRequest


class Ticket:
    """One request; its lease on `target` lives until `release`.

    Attributes:
        asked: what the client wants back (id, outputs, binary or JSON).
        epoch: the table that chose the target.
        deadline: when the client stops waiting (`time.monotonic`).
        attempts: how often it was put into a slot; a request that was there when two workers died is refused.
        alone: it failed inside a batch and runs by itself now.
        answered: the client got its answer, or has gone.
        running: it is in a slot, whose return ends the lease.
        pinned: the version or label the client named; None for routed traffic.
        key: the client's routing key.
    """

    __slots__ = (
        "admitted",
        "alone",
        "answered",
        "asked",
        "attempts",
        "deadline",
        "epoch",
        "key",
        "leased",
        "model",
        "pinned",
        "request",
        "running",
        "target",
    )

    def __init__(self, request: HttpRequest, model: Model, target: Target, epoch: int) -> None:
        self.request = request
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

    def release(self) -> None:
        """End the lease, once."""
        if self.leased:
            self.leased = False
            self.target.release()

    def __repr__(self) -> str:
        return f"<Ticket {self.model.name}/{self.target.version} epoch {self.epoch} attempts {self.attempts}>"


@dataclass(slots=True, eq=False)
class Batch:
    """What is in one slot: tickets in row order, or one ticket a run.

    Attributes:
        crowded: others had to stay behind.
        sent: when it was put there (`time.monotonic`).
        taken: when it was first seen in the worker's hand, 0 before that.
    """

    tickets: list[Ticket]
    rows: int
    runs: int
    crowded: bool = False
    number: int = 0
    sent: float = 0.0
    taken: float = 0.0
