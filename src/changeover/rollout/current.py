"""A rollout in hand: the offer it is for, its machine state, and what belongs to it outside the machine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from changeover.lifecycle.artifacts import Artifact
from changeover.lifecycle.source import PLAN_FILE
from changeover.records.certificate import Certificate, VersionRef
from changeover.rollout.loading import Loading
from changeover.rollout.machine import Rollout
from changeover.rollout.plan import Plan, parse_plan
from changeover.rollout.receipt import Receipt
from changeover.settings import Settings
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


def plan_for(artifact: Artifact, model: str, settings: Settings) -> Plan:
    """The plan that came with a version, else the model's in the repository, else the defaults.

    Raises:
        InvalidPlan: of the file that counts.
    """
    places = [artifact.folder / PLAN_FILE]
    if settings.repository is not None:
        places.append(Path(settings.repository) / model / PLAN_FILE)
    for place in places:
        if place.is_file():
            return _parsed(place.read_bytes(), place.name)
    return Plan()


@lru_cache(64)
def _parsed(text: bytes, name: str) -> Plan:
    """Most versions of a model come with the same plan."""
    return parse_plan(text, name)


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
