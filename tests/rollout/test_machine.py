"""The words of the machine, and the rule by which a way is taken."""

from __future__ import annotations

import pytest

from changeover.rollout.course import Course, Place
from changeover.rollout.machine import Event, Phase, Rollout, Told, Way, taken
from changeover.rollout.plan_rollout import RolloutPlan, Strategy

CANARY = Course.of(RolloutPlan(strategy=Strategy.CANARY))


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (Rollout("mnist", "3", "4", Phase.PROMOTING), "<Rollout mnist 3→4 promoting>"),
        (Rollout("mnist", None, "1"), "<Rollout mnist -→1 pending>"),
        (
            Rollout("mnist", "3", "4", Phase.PROGRESSING, course=CANARY, goal=Place(3, 2500)),
            "<Rollout mnist 3→4 progressing 25% step 4/5>",
        ),
        (
            Rollout("mnist", "3", "4", Phase.PAUSED, "inconclusive", course=CANARY, goal=Place(0, 0)),
            "<Rollout mnist 3→4 paused shadow step 1/5 (inconclusive)>",
        ),
        (
            Rollout("mnist", "3", "4", Phase.PAUSED, course=Course(manual=True), goal=Place(-1, 1250)),
            "<Rollout mnist 3→4 paused 12.5%>",
        ),
    ],
)
def test_repr_is_a_sentence_for_operators(state: Rollout, sentence: str) -> None:
    """Model, from, to, phase, where it stands, why."""
    assert repr(state) == sentence


def test_only_two_versions_at_live_requests_are_compared() -> None:
    """From the shadow to the last step, paused or not."""
    assert {phase for phase in Phase if phase.compares} == {Phase.SHADOWING, Phase.PROGRESSING, Phase.PAUSED}
    assert {phase for phase in Phase if phase.terminal} == {Phase.SUCCEEDED, Phase.ROLLED_BACK, Phase.FAILED}


def test_events_say_where_they_come_from() -> None:
    """By hand, or from a new controller."""
    assert {event for event in Event if event.asked} >= {Event.PAUSE_ASKED, Event.UNDO_ASKED, Event.WEIGHT_ASKED}
    assert not Event.STEP_CLEAR.asked
    assert {event for event in Event if event.found} == {
        Event.FOUND_SWITCHED,
        Event.FOUND_SPLIT,
        Event.FOUND_BACK,
        Event.FOUND_UNSWITCHED,
    }


def test_a_reason_stays_until_the_rollout_goes_on() -> None:
    """So that the end says why; a step that is clear leaves it behind."""
    state, way = Rollout("m", "1", "2"), Way(Phase.PROGRESSING)
    failed = taken(state, way, Event.STEP_FAILED, Told("error_rate", "2 % failed", "judge"))
    assert (failed.reason, failed.detail, failed.by) == ("error_rate", "2 % failed", "judge")
    kept = taken(failed, way, Event.SWITCHED, Told())
    assert (kept.reason, kept.by) == ("error_rate", "judge")
    gone = taken(failed, way, Event.STEP_CLEAR, Told(by="plan"))
    assert (gone.reason, gone.detail, gone.by) == (None, None, "plan")
