"""Section `rollout` of a plan: how traffic moves to a new version, and what takes it back. Pure."""

from __future__ import annotations

import enum
from typing import Annotated, Final, Literal

import msgspec

from changeover.rollout.quantities import percent
from changeover.transport.control import BUCKETS

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=30 * 86400)]
Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]


class Strategy(enum.StrEnum):
    """How traffic moves to a new version, after the gates.

    `CANARY`: step by step, judged at each. `INSTANT`: all of it at once. `MANUAL`: as people set the weight.
    """

    CANARY = "canary"
    INSTANT = "instant"
    MANUAL = "manual"


class OnInconclusive(enum.StrEnum):
    """What is done with a step that has no verdict at `max_hold`."""

    PAUSE = "pause"
    PROMOTE = "promote"
    ROLLBACK = "rollback"


class PlanStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step.

    Attributes:
        weight: the candidate's share of the traffic, or `shadow`: none, but copies of live requests.
        hold: least seconds at this step; `None`: the rollout's.
        min_requests: least requests that the candidate must have answered; `None`: the rollout's.
        mirror: share of the live requests that a shadow step copies.
    """

    weight: Literal["shadow"] | Share
    hold: Seconds | None = None
    min_requests: Count | None = None
    mirror: Share = 1.0

    @property
    def shadow(self) -> bool:
        """Whether the candidate answers copies only."""
        return isinstance(self.weight, str)

    @property
    def buckets(self) -> int:
        """The candidate's buckets of 10,000."""
        return 0 if isinstance(self.weight, str) else round(self.weight * BUCKETS)

    @property
    def name(self) -> str:
        """`shadow`, `5%`."""
        return self.weight if isinstance(self.weight, str) else percent(self.weight)


class LimitsPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What takes a version back; these are the alerts too.

    Attributes:
        latency_increase: of the work of a run over the active version's, 0.5 for +50 %.
        error_rate: failures over the active version's, as a share of the requests.
        memory: share of what its worker may take.
        disagreement: share of the compared answers that differ.
        state_divergence: how far answers and states of a sequence may differ once it was moved, as a share of the
            largest value; this one is asked by the gate `state`, before the rollout.
    """

    latency_increase: Annotated[float, msgspec.Meta(gt=0)] = 0.5
    error_rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.001
    memory: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.8
    disagreement: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.01
    state_divergence: Annotated[float, msgspec.Meta(gt=0)] = 0.0001


_LADDER: Final = (
    PlanStep("shadow"),
    PlanStep(0.01),
    PlanStep(0.05),
    PlanStep(0.25),
    PlanStep(0.5),
    PlanStep(1.0),
)


class RolloutPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `rollout`.

    Attributes:
        strategy: how traffic moves.
        auto: a new version in the repository starts its rollout by itself.
        steps: of strategy `canary`; after the last comes the promotion, whether it is written (100 %) or not.
        hold: least seconds at a step.
        min_requests: least requests of the candidate at a step.
        max_hold: seconds until a step without a verdict is inconclusive.
        on_inconclusive: what is done then.
        undo_window: seconds for which the previous version is kept warm after the promotion; 0 is legal.
        holdback: share of the traffic that stays on the previous version in the undo window, as control; `None`: 1 %
            after a canary, none with the other strategies.
        prove: a step ends only when it is proved that the candidate is not worse.
        supersede: a newer version takes the place of a rollout that is under way; else it waits for its end.
        limits: what takes the candidate back.
        shield: a failed answer of the candidate is replaced by the active version's.
        new_signature: clients change with this version, so its inputs and outputs may be others than the active
            version's; for strategy `instant` only, since no client can talk to both.
    """

    strategy: Strategy = Strategy.CANARY
    auto: bool = True
    steps: Annotated[tuple[PlanStep, ...], msgspec.Meta(min_length=1, max_length=100)] = _LADDER
    hold: Seconds = 30.0
    min_requests: Count = 200
    max_hold: Annotated[float, msgspec.Meta(gt=0, le=30 * 86400)] = 1800.0
    on_inconclusive: OnInconclusive = OnInconclusive.PAUSE
    undo_window: Seconds = 600.0
    holdback: Annotated[float, msgspec.Meta(ge=0, le=0.5)] | None = None
    prove: bool = False
    supersede: bool = False
    limits: LimitsPlan = LimitsPlan()
    shield: bool = True
    new_signature: bool = False

    def __post_init__(self) -> None:
        if self.new_signature and self.strategy is not Strategy.INSTANT:
            raise ValueError("new_signature needs strategy instant: no client can talk to both versions")

    @property
    def ladder(self) -> tuple[PlanStep, ...]:
        """The steps before the promotion, each with its hold and least requests; empty unless it is a canary."""
        if self.strategy is not Strategy.CANARY:
            return ()
        return tuple(
            msgspec.structs.replace(
                step,
                hold=self.hold if step.hold is None else step.hold,
                min_requests=self.min_requests if step.min_requests is None else step.min_requests,
            )
            for step in self.steps
            if step.buckets < BUCKETS
        )

    @property
    def held_back(self) -> int:
        """Buckets that stay on the previous version in the undo window."""
        default = 0.01 if self.strategy is Strategy.CANARY else 0.0
        return round((default if self.holdback is None else self.holdback) * BUCKETS)
