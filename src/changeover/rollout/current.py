"""A rollout in hand: the offer it is for, its machine state, and what belongs to it outside the machine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from changeover.lifecycle.artifacts import Artifact
from changeover.records.certificate import Certificate, VersionRef
from changeover.rollout.loading import Loading
from changeover.rollout.machine import Rollout
from changeover.rollout.plan import Plan
from changeover.rollout.receipt import Receipt
from changeover.transport.control import RoutingTable


@dataclass(frozen=True, slots=True)
class Offer:
    """A sealed version that wants to serve; `source` tells where it came from (repository, push, restart)."""

    version: int
    artifact: Artifact
    plan: Plan
    source: str

    @property
    def ref(self) -> VersionRef:
        """Number and digest."""
        return VersionRef(self.version, self.artifact.digest)


@dataclass(slots=True)
class Current:
    """The rollout in hand.

    Attributes:
        candidate: the target's loading, once it has one.
        way_back: the table prepared with the promotion: an undo is one store.
        clock: ends the undo window.
        window: seconds of the undo window that are left.
        certificate: of the last term, which a restart must not replace by one of fewer numbers.
    """

    id: str
    offer: Offer
    rollout: Rollout
    receipt: Receipt
    window: float
    candidate: Loading | None = None
    way_back: RoutingTable | None = None
    clock: asyncio.TimerHandle | None = None
    certificate: Certificate | None = None
