"""The steps of a plan, and places on them."""

from __future__ import annotations

import pytest

from changeover.rollout.course import PROMOTION, STRAIGHT, Course, Place
from changeover.rollout.plan_rollout import OnInconclusive, RolloutPlan, Strategy

CANARY = Course.of(RolloutPlan(strategy=Strategy.CANARY))
MANUAL = Course.of(RolloutPlan(strategy=Strategy.MANUAL))


def test_a_course_is_the_plan_s_ladder() -> None:
    """Names and buckets, and what is done without a verdict."""
    assert CANARY.names == ("shadow", "1%", "5%", "25%", "50%")
    assert CANARY.weights == (0, 100, 500, 2500, 5000)
    assert CANARY.on_inconclusive is OnInconclusive.PAUSE
    assert Course.of(RolloutPlan(strategy=Strategy.INSTANT)) == STRAIGHT


def test_the_way_up() -> None:
    """One step after the other, then the promotion."""
    place, walked = CANARY.first, []
    while not place.promotion:
        walked.append((CANARY.name(place), place.weight))
        place = CANARY.after(place)
    assert walked == [("shadow", 0), ("1%", 100), ("5%", 500), ("25%", 2500), ("50%", 5000)]


def test_where_it_begins() -> None:
    """At the first step, at nothing by hand, or at the promotion."""
    assert CANARY.first == Place(0, 0)
    assert MANUAL.first == Place(-1, 0)
    assert STRAIGHT.first == PROMOTION


@pytest.mark.parametrize(
    ("place", "upward"),
    [
        (Place(1, 100), Place(1, 100)),
        (Place(1, 300), Place(2, 500)),
        (Place(3, 50), Place(3, 2500)),
        (Place(0, 0), Place(0, 0)),
        (Place(2, 5000), Place(4, 5000)),
        (Place(2, 9000), Place(4, 9000)),
    ],
)
def test_from_a_weight_by_hand_it_goes_up_only(place: Place, upward: Place) -> None:
    """To the first step that is not smaller, and never to one that was passed."""
    assert CANARY.upward(place) == upward
    assert upward.weight >= place.weight


@pytest.mark.parametrize(
    ("course", "place", "name"),
    [(CANARY, Place(2, 500), "5%"), (CANARY, Place(2, 333), "3.33%"), (MANUAL, Place(-1, 0), "manual")],
)
def test_places_have_names(course: Course, place: Place, name: str) -> None:
    """The step's, or the weight's."""
    assert course.name(place) == name


def test_only_the_step_is_the_shadow() -> None:
    """A weight of nothing set by hand copies nothing."""
    assert CANARY.is_shadow(Place(0, 0))
    assert not CANARY.is_shadow(Place(2, 0))
    assert not MANUAL.is_shadow(Place(-1, 0))
