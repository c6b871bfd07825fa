"""The transitions of the rollout machine as a table, and the diagram drawn from it. Pure.

A pair of phase and event leads to the first way that is open in the state; a missing pair is an error.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from changeover.errors import Conflict, Internal
from changeover.rollout.course import PROMOTION, Place
from changeover.rollout.machine import NOTHING, Command, Commands, Event, Phase, Rollout, Told, Way, taken
from changeover.rollout.plan_rollout import OnInconclusive
from changeover.transport.control import BUCKETS


def advance(state: Rollout, event: Event, told: Told = NOTHING) -> tuple[Rollout, Commands]:
    """The state after an event, and what is to be done now, in order.

    Raises:
        Conflict: asked by hand, and not possible in this phase: `no_standby` for an undo, `wrong_phase` for the others.
        Internal: `rollout_transition`: the event cannot happen in this phase.
    """
    for way in TABLE.get((state.phase, event), ()):
        if way.when(state):
            return taken(state, way, event, told), way.commands
    raise _impossible(state, event)


def diagram() -> str:
    """The table as a Mermaid state diagram, for the documentation; what a restart does is left out."""
    arrows = {
        f"    {before} --> {way.phase}: {event}": None
        for (before, event), ways in TABLE.items()
        for way in ways
        if not event.found and (before is not way.phase or way.commands)
    }
    ends = [f"    {phase} --> [*]" for phase in Phase if phase.terminal]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {Phase.PENDING}", *arrows, *ends]) + "\n"


# -- when a way is open ----------------------------------------------------------------------------------------


def _alone(state: Rollout) -> bool:
    """A model's first version: nothing is kept warm, so there is nothing to compare with and nothing to watch."""
    return state.source is None


def _direct(state: Rollout) -> bool:
    """Nothing lies between the gates and the promotion."""
    return _alone(state) or (state.goal or state.course.first).promotion


def _held(state: Rollout) -> bool:
    return state.held or state.course.manual


def _shadow(state: Rollout) -> bool:
    return state.course.is_shadow(state.goal or state.course.first)


def _unsplit(state: Rollout) -> bool:
    """No table names the candidate yet."""
    return state.stands is None


def _stands_in_shadow(state: Rollout) -> bool:
    return state.stands is not None and state.course.is_shadow(state.stands)


def _at_the_top(state: Rollout) -> bool:
    return state.goal is not None and state.course.after(state.goal).promotion


def _promoted(state: Rollout) -> bool:
    return state.promoted


def _goes_back(state: Rollout) -> bool:
    return state.course.on_inconclusive is OnInconclusive.ROLLBACK


def _waits(state: Rollout) -> bool:
    return state.course.on_inconclusive is OnInconclusive.PAUSE


def _climbs(state: Rollout) -> bool:
    return not state.course.manual


def _resumes_in_shadow(state: Rollout) -> bool:
    return _climbs(state) and state.goal is not None and state.course.is_shadow(state.course.upward(state.goal))


# -- what becomes of the place ---------------------------------------------------------------------------------


def _begun(state: Rollout, _: Told) -> Rollout:
    """At the first place, or at the one that a restart interrupted."""
    return replace(state, goal=PROMOTION if _alone(state) else state.goal or state.course.first)


def _settled(state: Rollout, _: Told) -> Rollout:
    return replace(state, stands=state.goal)


def _given_up(state: Rollout, _: Told) -> Rollout:
    return replace(state, goal=state.stands)


def _higher(state: Rollout, _: Told) -> Rollout:
    return replace(state, goal=state.course.after(state.goal or state.course.first))


def _upward(state: Rollout, _: Told) -> Rollout:
    goal = state.goal or state.course.first
    return replace(state, held=False, goal=state.course.upward(goal))


def _in_hand(state: Rollout, _: Told) -> Rollout:
    return replace(state, held=True)


def _by_hand(state: Rollout, told: Told) -> Rollout:
    step = state.goal.step if state.goal else -1
    return replace(state, held=True, goal=Place(step, min(max(told.weight, 0), BUCKETS - 1)))


def _to_promotion(state: Rollout, _: Told) -> Rollout:
    return replace(state, goal=PROMOTION)


def _arrived(state: Rollout, _: Told) -> Rollout:
    return replace(state, goal=PROMOTION, stands=PROMOTION, promoted=True, held=False)


def _lost_split(state: Rollout, _: Told) -> Rollout:
    """The candidate is loaded anew, for the place that was wanted."""
    return replace(state, stands=None, promoted=False)


def _found_split(state: Rollout, _: Told) -> Rollout:
    """With no place on record the one in force is the one that was wanted: it was stored, and its storer died."""
    return state if state.stands is not None else replace(state, stands=state.goal)


# -- the table -------------------------------------------------------------------------------------------------

_BACKWARD: Final = (Command.MOVE_BACK,)
_ENDED: Final = (Command.RELEASE_CANDIDATE, Command.CERTIFY)
_GO_BACK: Final = (Way(Phase.ROLLING_BACK, _BACKWARD),)
_BACK: Final = (Way(Phase.ROLLED_BACK, _ENDED),)
_VALIDATE: Final = (Way(Phase.VALIDATING, (Command.LOAD,), move=_lost_split),)
_PROMOTE: Final = (Way(Phase.PROMOTING, (Command.PROMOTE,), move=_to_promotion),)
_BY_HAND: Final = (Way(Phase.PAUSED, (Command.SPLIT,), move=_by_hand),)
_PAUSE: Final = (Way(Phase.PAUSED, move=_in_hand),)
_CLIMB: Final = (
    Way(Phase.PROMOTING, (Command.PROMOTE,), when=_at_the_top, move=_higher),
    Way(Phase.PROGRESSING, (Command.SPLIT,), move=_higher),
)
_NEVER_SERVED: Final = Way(Phase.FAILED, _ENDED, when=_unsplit)
_SERVES: Final = (
    Way(Phase.SUCCEEDED, (Command.CERTIFY,), when=_alone, move=_arrived),
    Way(Phase.WATCHING, (Command.OPEN_WINDOW, Command.CERTIFY), move=_arrived),
)
_SERVES_STILL: Final = (
    Way(Phase.SUCCEEDED, (Command.CERTIFY,), when=_alone, move=_arrived),
    Way(Phase.WATCHING, (Command.OPEN_WINDOW,), move=_arrived),
)
_INCONCLUSIVE: Final = (
    Way(Phase.ROLLING_BACK, _BACKWARD, when=_goes_back),
    Way(Phase.PAUSED, when=_waits, move=_in_hand),
    *_CLIMB,
)


def _split_phase(phase: Phase) -> dict[tuple[Phase, Event], tuple[Way, ...]]:
    """What shadowing and progressing have in common: two versions, and the judge."""
    return {
        (phase, Event.SWITCHED): (Way(phase, move=_settled),),
        (phase, Event.NOT_SWITCHED): (
            _NEVER_SERVED,
            Way(Phase.SHADOWING, when=_stands_in_shadow, move=_given_up),
            Way(phase, move=_given_up),
        ),
        (phase, Event.STEP_CLEAR): _CLIMB,
        (phase, Event.STEP_INCONCLUSIVE): _INCONCLUSIVE,
        (phase, Event.PAUSE_ASKED): _PAUSE,
        (phase, Event.RESUME_ASKED): (Way(phase),),
        **_in_any_split(phase),
    }


def _in_any_split(phase: Phase) -> dict[tuple[Phase, Event], tuple[Way, ...]]:
    """What is done by hand, and what takes the candidate back, also while it is paused."""
    return {
        (phase, Event.STEP_FAILED): _GO_BACK,
        (phase, Event.UNJUDGED): (Way(phase),),
        (phase, Event.JUDGED): (Way(phase),),
        (phase, Event.LOST): _GO_BACK,
        (phase, Event.SUPERSEDED): _GO_BACK,
        (phase, Event.ABORT_ASKED): _GO_BACK,
        (phase, Event.PROMOTE_ASKED): _PROMOTE,
        (phase, Event.WEIGHT_ASKED): _BY_HAND,
        (phase, Event.FOUND_SWITCHED): _SERVES,
        (phase, Event.FOUND_SPLIT): (Way(phase, (Command.SPLIT,), move=_found_split),),
        (phase, Event.FOUND_BACK): _BACK,
        (phase, Event.FOUND_UNSWITCHED): _VALIDATE,
    }


TABLE: Final[dict[tuple[Phase, Event], tuple[Way, ...]]] = {
    (Phase.PENDING, Event.STARTED): _VALIDATE,
    (Phase.PENDING, Event.REFUSED): (Way(Phase.FAILED),),
    (Phase.PENDING, Event.ABORT_ASKED): (Way(Phase.ROLLED_BACK),),
    (Phase.PENDING, Event.SUPERSEDED): (Way(Phase.ROLLED_BACK),),
    (Phase.PENDING, Event.FOUND_UNSWITCHED): _VALIDATE,
    (Phase.VALIDATING, Event.PROVEN): (
        Way(Phase.PROMOTING, (Command.PROMOTE,), when=_direct, move=_begun),
        Way(Phase.PAUSED, (Command.SPLIT,), when=_held, move=_begun),
        Way(Phase.SHADOWING, (Command.SPLIT,), when=_shadow, move=_begun),
        Way(Phase.PROGRESSING, (Command.SPLIT,), move=_begun),
    ),
    # A refused candidate's worker has ended already: the loader sees to that before it says so.
    (Phase.VALIDATING, Event.REFUSED): (Way(Phase.FAILED, (Command.CERTIFY,)),),
    (Phase.VALIDATING, Event.ABORT_ASKED): (Way(Phase.ROLLED_BACK, (Command.CERTIFY,)),),
    (Phase.VALIDATING, Event.SUPERSEDED): (Way(Phase.ROLLED_BACK, (Command.CERTIFY,)),),
    (Phase.VALIDATING, Event.FOUND_UNSWITCHED): _VALIDATE,
    **_split_phase(Phase.SHADOWING),
    **_split_phase(Phase.PROGRESSING),
    **_in_any_split(Phase.PAUSED),
    (Phase.PAUSED, Event.SWITCHED): (Way(Phase.PAUSED, move=_settled),),
    (Phase.PAUSED, Event.NOT_SWITCHED): (_NEVER_SERVED, Way(Phase.PAUSED, move=_given_up)),
    (Phase.PAUSED, Event.PAUSE_ASKED): _PAUSE,
    (Phase.PAUSED, Event.RESUME_ASKED): (
        Way(Phase.SHADOWING, (Command.SPLIT,), when=_resumes_in_shadow, move=_upward),
        Way(Phase.PROGRESSING, (Command.SPLIT,), when=_climbs, move=_upward),
    ),
    (Phase.PROMOTING, Event.SWITCHED): _SERVES,
    (Phase.PROMOTING, Event.NOT_SWITCHED): (
        _NEVER_SERVED,
        Way(Phase.PAUSED, when=_held, move=_given_up),
        Way(Phase.SHADOWING, when=_stands_in_shadow, move=_given_up),
        Way(Phase.PROGRESSING, move=_given_up),
    ),
    (Phase.PROMOTING, Event.FOUND_SWITCHED): _SERVES_STILL,
    (Phase.PROMOTING, Event.FOUND_SPLIT): _PROMOTE,
    (Phase.PROMOTING, Event.FOUND_BACK): _BACK,
    (Phase.PROMOTING, Event.FOUND_UNSWITCHED): _VALIDATE,
    (Phase.WATCHING, Event.WINDOW_ENDED): (Way(Phase.SUCCEEDED, (Command.RELEASE_SOURCE, Command.CERTIFY)),),
    (Phase.WATCHING, Event.UNDO_ASKED): _GO_BACK,
    (Phase.WATCHING, Event.STEP_FAILED): _GO_BACK,
    (Phase.WATCHING, Event.UNJUDGED): (Way(Phase.WATCHING),),
    (Phase.WATCHING, Event.JUDGED): (Way(Phase.WATCHING),),
    (Phase.WATCHING, Event.LOST): _GO_BACK,
    (Phase.WATCHING, Event.FOUND_SWITCHED): _SERVES_STILL,
    # A way back may be stored before it is recorded: then what serves is what was decided.
    (Phase.WATCHING, Event.FOUND_BACK): _BACK,
    (Phase.WATCHING, Event.FOUND_UNSWITCHED): _BACK,
    (Phase.ROLLING_BACK, Event.SWITCHED): _BACK,
    # Nothing was lost: the source is still warm, and the way back may be asked for again, or is tried again.
    (Phase.ROLLING_BACK, Event.NOT_SWITCHED): (
        Way(Phase.WATCHING, (Command.OPEN_WINDOW,), when=_promoted),
        Way(Phase.ROLLING_BACK, (Command.WAIT,)),
    ),
    (Phase.ROLLING_BACK, Event.WAITED): _GO_BACK,
    (Phase.ROLLING_BACK, Event.FOUND_SWITCHED): _GO_BACK,
    (Phase.ROLLING_BACK, Event.FOUND_SPLIT): _GO_BACK,
    (Phase.ROLLING_BACK, Event.FOUND_BACK): _BACK,
    (Phase.ROLLING_BACK, Event.FOUND_UNSWITCHED): _BACK,
}


def _impossible(state: Rollout, event: Event) -> Conflict | Internal:
    if not event.asked:
        return Internal(f"{state!r} cannot take {event!s}.", reason="rollout_transition")
    if event is not Event.UNDO_ASKED:
        return Conflict(f"{state.model}: {_why_not(state, event)}.", reason="wrong_phase")
    if state.phase in (Phase.SUCCEEDED, Phase.ROLLED_BACK, Phase.FAILED, Phase.ROLLING_BACK):
        why = "no previous version is kept warm, so there is nothing to undo; roll out the one you want instead"
    else:
        why = f"version {state.target} does not serve yet, so there is nothing to undo"
    return Conflict(f"{state.model}: {why}.", reason="no_standby")


def _why_not(state: Rollout, event: Event) -> str:
    verb = event.value.removesuffix("_asked")
    if state.phase is Phase.PAUSED and event is Event.RESUME_ASKED:
        return "with strategy manual nothing goes on by itself; set a weight, promote or abort"
    if state.phase is Phase.WATCHING:
        return f"version {state.target} is promoted already, so {verb} has no effect; undo takes it back"
    return f"the rollout to version {state.target} is {state.phase}, which takes no {verb}"
