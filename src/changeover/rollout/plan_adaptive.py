"""Section `adaptive` of a plan: when the server proposes to tune a model anew. Pure."""

from __future__ import annotations

import enum
from typing import Annotated, Literal

import msgspec


class Apply(enum.StrEnum):
    """What becomes of a proposal."""

    PROPOSE = "propose"
    PUSH = "push"


class AdaptivePlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `adaptive`; `true` stands for the defaults.

    Attributes:
        every: seconds between two proposals, at least.
        hold: seconds for which traffic has to be another one, all the time.
        factor: by which the rate of requests, or the median batch, has to have moved.
        apply: `propose` says the command; `push` tunes at idle priority, and pushes what comes of it as a candidate.
        objective: of the tuning.
        budget: seconds of the tuning.
    """

    every: Annotated[float, msgspec.Meta(ge=1, le=31_536_000)] = 86_400.0
    hold: Annotated[float, msgspec.Meta(ge=2, le=86_400)] = 600.0
    factor: Annotated[float, msgspec.Meta(gt=1, le=100)] = 2.0
    apply: Apply = Apply.PROPOSE
    objective: Literal["latency", "p99", "throughput", "memory"] = "latency"
    budget: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 120.0
