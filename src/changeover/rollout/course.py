"""Where a rollout stands on its way: the steps of its plan, and places on it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from changeover.rollout.plan_rollout import OnInconclusive, RolloutPlan, Strategy
from changeover.rollout.quantities import percent
from changeover.transport.control import BUCKETS

SHADOW: Final = "shadow"
MANUAL: Final = "manual"


@dataclass(frozen=True, slots=True)
class Place:
    """A place on the way.

    Attributes:
        step: index of the plan's step, -1 where the plan has none.
        weight: the candidate's buckets of 10,000; all of them are the promotion.
    """

    step: int
    weight: int

    @property
    def promotion(self) -> bool:
        """Whether everything goes to the candidate."""
        return self.weight == BUCKETS


PROMOTION: Final = Place(-1, BUCKETS)


@dataclass(frozen=True, slots=True)
class Course:
    """The part of a plan that the machine goes by.

    Attributes:
        names: of the steps before the promotion, `weights` their buckets.
        manual: people set the weight.
        on_inconclusive: what is done with a step that has no verdict.
    """

    names: tuple[str, ...] = ()
    weights: tuple[int, ...] = ()
    manual: bool = False
    on_inconclusive: OnInconclusive = OnInconclusive.PAUSE

    @classmethod
    def of(cls, plan: RolloutPlan) -> Course:
        """The course that a plan lays down."""
        ladder = plan.ladder
        return cls(
            tuple(step.name for step in ladder),
            tuple(step.buckets for step in ladder),
            plan.strategy is Strategy.MANUAL,
            plan.on_inconclusive,
        )

    @property
    def first(self) -> Place:
        """Where a proven candidate begins."""
        if self.manual:
            return Place(-1, 0)
        return Place(0, self.weights[0]) if self.weights else PROMOTION

    def after(self, place: Place) -> Place:
        """The next step, or the promotion."""
        step = place.step + 1
        return Place(step, self.weights[step]) if step < len(self.weights) else PROMOTION

    def upward(self, place: Place) -> Place:
        """The step that goes on from a weight set by hand: the first that is not smaller, so that no share falls."""
        for step, weight in enumerate(self.weights):
            if weight >= place.weight and step >= place.step:
                return Place(step, weight)
        return Place(len(self.weights) - 1, place.weight)

    def name(self, place: Place) -> str:
        """`shadow`, `5%`; `manual` where people set the weight and nothing goes to the candidate yet."""
        if 0 <= place.step < len(self.weights) and self.weights[place.step] == place.weight:
            return self.names[place.step]
        return MANUAL if self.manual and not place.weight else percent(place.weight / BUCKETS)

    def is_shadow(self, place: Place) -> bool:
        """Whether copies go to the candidate, and nothing else."""
        return place.weight == 0 and 0 <= place.step < len(self.names) and self.names[place.step] == SHADOW


STRAIGHT: Final = Course()
"""From the gates to the promotion."""
