"""The rollout's ways, what it refuses, and what holds whatever happens."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from changeover.errors import Conflict, Internal
from changeover.rollout.course import PROMOTION, Course, Place
from changeover.rollout.machine import Command, Event, Phase, Rollout, Told
from changeover.rollout.plan_rollout import OnInconclusive, PlanStep, RolloutPlan, Strategy
from changeover.rollout.transitions import TABLE, advance, diagram

NEXT = Rollout("mnist", "3", "4")
FIRST = Rollout("mnist", None, "1")
STEPS = (PlanStep("shadow"), PlanStep(0.05), PlanStep(0.5), PlanStep(1.0))
SHORT = Course.of(RolloutPlan(strategy=Strategy.CANARY, steps=STEPS))
CANARY = replace(NEXT, course=SHORT)
MANUAL = replace(NEXT, course=Course(manual=True))
BEGUN = (Event.STARTED, Event.PROVEN, Event.SWITCHED)
CLEAR = (Event.STEP_CLEAR, Event.SWITCHED)


def walked(state: Rollout, *events: Event) -> tuple[list[str], list[Command], Rollout]:
    """Phases gone through, all commands given, and the state at the end."""
    phases, given = [], []
    for event in events:
        state, commands = advance(state, event)
        phases.append(state.phase.value)
        given += commands
    return phases, given, state


def test_an_instant_changeover_that_goes_well() -> None:
    """Load, promote, keep the old version warm, certify the switch, release the old version, certify the whole."""
    phases, given, _ = walked(NEXT, *BEGUN, Event.WINDOW_ENDED)
    assert phases == ["validating", "promoting", "watching", "succeeded"]
    assert given == [
        Command.LOAD,
        Command.PROMOTE,
        Command.OPEN_WINDOW,
        Command.CERTIFY,
        Command.RELEASE_SOURCE,
        Command.CERTIFY,
    ]


def test_a_canary_that_goes_well() -> None:
    """Shadow, each step after its verdict, the promotion after the last."""
    phases, given, state = walked(CANARY, *BEGUN, *CLEAR, *CLEAR, *CLEAR)
    assert phases[1::2] == ["shadowing", "progressing", "progressing", "promoting"]
    assert phases[-1] == "watching"
    assert given == [Command.LOAD, *[Command.SPLIT] * 3, Command.PROMOTE, Command.OPEN_WINDOW, Command.CERTIFY]
    assert (state.goal, state.stands, state.promoted) == (PROMOTION, PROMOTION, True)


def test_a_candidate_that_was_found_serving_is_not_let_go_when_the_next_switch_fails() -> None:
    """Loaded anew after a restart, its split was stored, but its controller died before that was on record."""
    walk = (*BEGUN, Event.STEP_CLEAR, Event.FOUND_UNSWITCHED, Event.PROVEN, Event.FOUND_SPLIT, Event.NOT_SWITCHED)
    phases, given, state = walked(CANARY, *walk)
    assert (phases[-1], state.stands, state.goal) == ("progressing", Place(1, 500), Place(1, 500))
    assert Command.RELEASE_CANDIDATE not in given
    phases, given, _ = walked(CANARY, *[event for event in walk if event is not Event.FOUND_SPLIT])
    assert (phases[-1], given[-2:]) == ("failed", [Command.RELEASE_CANDIDATE, Command.CERTIFY]), "it never served"


def test_a_first_version_serves_at_once() -> None:
    """There is nothing to compare it with, nothing to go back to, and nothing to release, whatever the plan."""
    phases, given, _ = walked(replace(FIRST, course=SHORT), *BEGUN)
    assert phases == ["validating", "promoting", "succeeded"]
    assert given == [Command.LOAD, Command.PROMOTE, Command.CERTIFY]


@pytest.mark.parametrize("event", [Event.UNDO_ASKED, Event.LOST, Event.STEP_FAILED])
def test_the_way_back_after_the_promotion(event: Event) -> None:
    """An undo, a sentinel, and a candidate that is lost move everything back, then release the candidate."""
    phases, given, _ = walked(NEXT, *BEGUN, event, Event.SWITCHED)
    assert phases[-2:] == ["rolling_back", "rolled_back"]
    assert given[-3:] == [Command.MOVE_BACK, Command.RELEASE_CANDIDATE, Command.CERTIFY]


@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("event", [Event.STEP_FAILED, Event.LOST, Event.ABORT_ASKED, Event.SUPERSEDED])
@pytest.mark.parametrize("paused", [False, True])
def test_the_way_back_from_every_step(steps: int, event: Event, paused: bool) -> None:
    """In one move, whatever the step, also while it is paused."""
    pause = (Event.PAUSE_ASKED,) if paused else ()
    phases, given, _ = walked(CANARY, *BEGUN, *CLEAR * steps, *pause, event, Event.SWITCHED)
    assert phases[-2:] == ["rolling_back", "rolled_back"]
    assert given[-3:] == [Command.MOVE_BACK, Command.RELEASE_CANDIDATE, Command.CERTIFY]


@pytest.mark.parametrize(
    ("what", "phase", "commands"),
    [
        (OnInconclusive.PAUSE, Phase.PAUSED, ()),
        (OnInconclusive.PROMOTE, Phase.PROGRESSING, (Command.SPLIT,)),
        (OnInconclusive.ROLLBACK, Phase.ROLLING_BACK, (Command.MOVE_BACK,)),
    ],
)
def test_a_step_without_a_verdict(what: OnInconclusive, phase: Phase, commands: tuple[Command, ...]) -> None:
    """The plan says what is done."""
    _, _, state = walked(replace(CANARY, course=replace(SHORT, on_inconclusive=what)), *BEGUN)
    state, given = advance(state, Event.STEP_INCONCLUSIVE, Told("inconclusive", "needs 40 more", "plan"))
    assert (state.phase, given) == (phase, commands)
    assert state.held is (phase is Phase.PAUSED)


def test_by_hand() -> None:
    """A weight is kept; the plan goes on from the next step that is not smaller; a promotion skips the rest."""
    _, _, state = walked(CANARY, *BEGUN)
    state, given = advance(state, Event.WEIGHT_ASKED, Told(weight=700, by="operator"))
    assert (state.phase, given, state.goal, state.by) == (Phase.PAUSED, (Command.SPLIT,), Place(0, 700), "operator")
    _, _, state = walked(state, Event.SWITCHED)
    assert repr(state) == "<Rollout mnist 3→4 paused 7% step 1/3>"
    state, given = advance(state, Event.RESUME_ASKED)
    assert (state.phase, given, state.goal) == (Phase.PROGRESSING, (Command.SPLIT,), Place(2, 5000))
    _, _, state = walked(state, Event.SWITCHED, Event.PAUSE_ASKED)
    state, given = advance(state, Event.PROMOTE_ASKED)
    assert (state.phase, given) == (Phase.PROMOTING, (Command.PROMOTE,))


def test_strategy_manual_waits_for_people() -> None:
    """It stands at nothing, is never judged up, and cannot be resumed."""
    phases, given, state = walked(MANUAL, *BEGUN)
    assert phases[-1] == "paused"
    assert given == [Command.LOAD, Command.SPLIT]
    assert state.stands == Place(-1, 0)
    with pytest.raises(Conflict) as caught:
        advance(state, Event.RESUME_ASKED)
    assert caught.value.reason == "wrong_phase"
    assert "manual" in caught.value.message


def test_a_refusal_leaves_the_old_version() -> None:
    """A gate that fails ends the rollout before any switch, with its reason."""
    state, _ = advance(NEXT, Event.STARTED)
    state, commands = advance(state, Event.REFUSED, Told("not_finite", "output y has a NaN"))
    assert (state.phase, state.reason, state.detail) == (Phase.FAILED, "not_finite", "output y has a NaN")
    assert commands == (Command.CERTIFY,)
    assert repr(state) == "<Rollout mnist 3→4 failed (not_finite)>"


@pytest.mark.parametrize("state", [NEXT, CANARY, MANUAL])
def test_a_first_switch_that_was_given_up_releases_the_candidate(state: Rollout) -> None:
    """When the journal cannot be written the candidate never serves."""
    phases, given, _ = walked(state, Event.STARTED, Event.PROVEN, Event.NOT_SWITCHED)
    assert phases[-1] == "failed"
    assert given[-2:] == [Command.RELEASE_CANDIDATE, Command.CERTIFY]


def test_a_later_switch_that_was_given_up_leaves_the_step_in_force() -> None:
    """The next verdict tries it again; nothing was lost."""
    _, _, state = walked(CANARY, *BEGUN, *CLEAR, Event.STEP_CLEAR, Event.NOT_SWITCHED)
    assert (state.phase, state.goal, state.stands) == (Phase.PROGRESSING, Place(1, 500), Place(1, 500))
    _, _, state = walked(CANARY, *BEGUN, Event.STEP_CLEAR, Event.NOT_SWITCHED)
    assert (state.phase, state.goal) == (Phase.SHADOWING, Place(0, 0))
    _, _, state = walked(CANARY, *BEGUN, *CLEAR * 2, Event.STEP_CLEAR, Event.NOT_SWITCHED)
    assert (state.phase, state.goal) == (Phase.PROGRESSING, Place(2, 5000))
    _, _, state = walked(CANARY, *BEGUN, Event.PAUSE_ASKED, Event.PROMOTE_ASKED, Event.NOT_SWITCHED)
    assert (state.phase, state.goal, state.held) == (Phase.PAUSED, Place(0, 0), True)


def test_a_way_back_that_failed_is_tried_again() -> None:
    """From a step by itself; after the promotion it may be asked for again, for the source is still warm."""
    _, _, state = walked(CANARY, *BEGUN, Event.STEP_FAILED)
    state, commands = advance(state, Event.NOT_SWITCHED, Told("prepare_failed", "no channel"))
    assert (state.phase, commands) == (Phase.ROLLING_BACK, (Command.WAIT,))
    assert advance(state, Event.WAITED)[1] == (Command.MOVE_BACK,)
    state = Rollout("mnist", "3", "4", Phase.ROLLING_BACK, promoted=True)
    state, commands = advance(state, Event.NOT_SWITCHED, Told("journal_unwritable", "disk full"))
    assert (state.phase, commands) == (Phase.WATCHING, (Command.OPEN_WINDOW,))
    assert advance(state, Event.UNDO_ASKED)[0].phase is Phase.ROLLING_BACK


LOADS = (Phase.VALIDATING, (Command.LOAD,))
GOES_BACK = (Phase.ROLLING_BACK, (Command.MOVE_BACK,))
IS_BACK = (Phase.ROLLED_BACK, (Command.RELEASE_CANDIDATE, Command.CERTIFY))
WATCHES = (Phase.WATCHING, (Command.OPEN_WINDOW,))
SERVES = (Phase.WATCHING, (Command.OPEN_WINDOW, Command.CERTIFY))


@pytest.mark.parametrize(
    ("phase", "found", "expected"),
    [
        (Phase.PENDING, Event.FOUND_UNSWITCHED, LOADS),
        (Phase.VALIDATING, Event.FOUND_UNSWITCHED, LOADS),
        (Phase.PROMOTING, Event.FOUND_UNSWITCHED, LOADS),
        (Phase.PROMOTING, Event.FOUND_SWITCHED, WATCHES),
        (Phase.PROMOTING, Event.FOUND_SPLIT, (Phase.PROMOTING, (Command.PROMOTE,))),
        (Phase.PROMOTING, Event.FOUND_BACK, IS_BACK),
        (Phase.WATCHING, Event.FOUND_SWITCHED, WATCHES),
        (Phase.WATCHING, Event.FOUND_UNSWITCHED, IS_BACK),
        (Phase.WATCHING, Event.FOUND_BACK, IS_BACK),
        (Phase.ROLLING_BACK, Event.FOUND_SWITCHED, GOES_BACK),
        (Phase.ROLLING_BACK, Event.FOUND_SPLIT, GOES_BACK),
        (Phase.ROLLING_BACK, Event.FOUND_UNSWITCHED, IS_BACK),
        (Phase.ROLLING_BACK, Event.FOUND_BACK, IS_BACK),
        *[(phase, Event.FOUND_UNSWITCHED, LOADS) for phase in Phase if phase.compares],
        *[(phase, Event.FOUND_BACK, IS_BACK) for phase in Phase if phase.compares],
        *[(phase, Event.FOUND_SWITCHED, SERVES) for phase in Phase if phase.compares],
        *[(phase, Event.FOUND_SPLIT, (phase, (Command.SPLIT,))) for phase in Phase if phase.compares],
    ],
)
def test_a_restart_goes_on_by_what_serves(
    phase: Phase, found: Event, expected: tuple[Phase, tuple[Command, ...]]
) -> None:
    """After a crash of the controller the table in force decides."""
    state, given = advance(replace(CANARY, phase=phase, goal=Place(1, 500), stands=Place(1, 500)), found)
    assert (state.phase, given) == expected


@pytest.mark.parametrize(
    ("goal", "held", "phase"),
    [
        (Place(0, 0), False, Phase.SHADOWING),
        (Place(1, 500), False, Phase.PROGRESSING),
        (Place(1, 700), True, Phase.PAUSED),
        (PROMOTION, False, Phase.PROMOTING),
    ],
)
def test_a_restart_of_the_machine_comes_back_to_its_step(goal: Place, held: bool, phase: Phase) -> None:
    """The candidate is loaded and proven again, and takes the place that it had, or was to have."""
    state = replace(CANARY, phase=Phase.PROGRESSING, goal=goal, held=held, stands=goal)
    state, _ = advance(state, Event.FOUND_UNSWITCHED)
    assert (state.phase, state.stands) == (Phase.VALIDATING, None)
    state, _ = advance(state, Event.PROVEN)
    assert (state.phase, state.goal, state.held) == (phase, goal, held)


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.WATCHING])
def test_undo_without_a_warm_version_is_a_conflict(phase: Phase) -> None:
    """The caller is told, not the log."""
    with pytest.raises(Conflict) as caught:
        advance(Rollout("mnist", "3", "4", phase), Event.UNDO_ASKED)
    assert caught.value.reason == "no_standby"


@pytest.mark.parametrize("event", [event for event in Event if event.asked and event is not Event.UNDO_ASKED])
@pytest.mark.parametrize("phase", [Phase.WATCHING, Phase.ROLLING_BACK, Phase.FAILED, Phase.SUCCEEDED])
def test_what_people_ask_too_late_is_a_conflict(phase: Phase, event: Event) -> None:
    """With a sentence that says what to do instead, where there is something."""
    with pytest.raises(Conflict) as caught:
        advance(Rollout("mnist", "3", "4", phase), event)
    assert caught.value.reason == "wrong_phase"
    assert ("undo" in caught.value.message) is (phase is Phase.WATCHING)


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase.terminal])
@pytest.mark.parametrize("event", [event for event in Event if not event.asked])
def test_a_terminal_phase_is_final(phase: Phase, event: Event) -> None:
    """Nothing follows a decision."""
    with pytest.raises(Internal) as caught:
        advance(Rollout("mnist", "3", "4", phase), event)
    assert caught.value.reason == "rollout_transition"


def test_the_diagram_shows_each_phase_and_only_true_arrows() -> None:
    """Every arrow of the figure is in the table, and every phase can be reached."""
    arrows = re.findall(r"^    (\w+) --> (\w+): (\w+)$", diagram(), re.MULTILINE)
    for before, after, event in arrows:
        assert Phase(after) in {way.phase for way in TABLE[Phase(before), Event(event)]}
    assert {after for _, after, _ in arrows} == {phase.value for phase in Phase} - {"pending"}
