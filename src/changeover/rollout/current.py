"""A rollout in hand: the offer it is for, its machine state, and what belongs to it outside the machine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from changeover.records.certificate import Certificate
from changeover.rollout.loading import Loading
from changeover.rollout.machine import Rollout
from changeover.rollout.offer import Offer
from changeover.rollout.receipt import Receipt
from changeover.transport.control import RoutingTable


@dataclass(slots=True)
class Current:
    """The rollout in hand.

    Attributes:
        candidate: the target's loading, once it has one.
        way_back: the table prepared with the promotion: an undo is one store.
        clock: ends the undo window.
        window: seconds of the undo window that are left.
        certificate: of the last term, which a restart must not replace by one of fewer numbers.
        certifying: a new one waits for its numbers.
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
    certifying: bool = False
