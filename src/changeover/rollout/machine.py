"""The rollout as a pure machine: `advance(state, event) -> (state, commands)`.

The transitions are in `transitions.py`, as a table; this file has the words and the rule by which the table is read.
The driver journals the new state before it acts on the commands, and feeds back what came of them as events; time is
an event too. Nothing drains before a terminal phase: until then the old version can take everything back.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from changeover.rollout.course import STRAIGHT, Course, Place


class Phase(enum.StrEnum):
    """Where a rollout stands.

    `PENDING`: recorded. `VALIDATING`: the candidate loads and goes through the gates. `SHADOWING`: it answers copies of
    live requests. `PROGRESSING`: it answers a share of them. `PAUSED`: it does, and people decide what comes next.
    `PROMOTING`: the switch is under way. `WATCHING`: the candidate serves, the previous version is kept warm.
    `ROLLING_BACK`: the switch back is under way. `SUCCEEDED`, `ROLLED_BACK`, `FAILED`: decided, and one version serves.
    """

    PENDING = "pending"
    VALIDATING = "validating"
    SHADOWING = "shadowing"
    PROGRESSING = "progressing"
    PAUSED = "paused"
    PROMOTING = "promoting"
    WATCHING = "watching"
    SUCCEEDED = "succeeded"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"

    @property
    def terminal(self) -> bool:
        """Whether the decision is final."""
        return self in (Phase.SUCCEEDED, Phase.ROLLED_BACK, Phase.FAILED)

    @property
    def compares(self) -> bool:
        """Whether two versions are compared on live requests, before the promotion."""
        return self in (Phase.SHADOWING, Phase.PROGRESSING, Phase.PAUSED)


class Event(enum.StrEnum):
    """What the driver tells the machine.

    `STARTED`: taken in hand. `PROVEN`: loaded, all gates passed. `REFUSED`: a gate refused the candidate, or it could
    not be loaded. `SWITCHED`: the table of the last switch, forward or back, is in the route page. `NOT_SWITCHED`: that
    switch was given up before its commit, all is as it was. `WAITED`: a way back that was given up is tried again.

    `STEP_CLEAR`, `STEP_FAILED`, `STEP_INCONCLUSIVE`: the judge's verdicts. `UNJUDGED`: it failed itself, and the step
    is held until it judges again (`JUDGED`). `LOST`: the candidate's worker crashes again and again, hangs, or takes
    too much memory. `SUPERSEDED`: a newer version takes this one's place.

    `PAUSE_ASKED`, `RESUME_ASKED`, `PROMOTE_ASKED`, `ABORT_ASKED`, `WEIGHT_ASKED`, `UNDO_ASKED`: by hand.
    `WINDOW_ENDED`: the undo window is over, by time or because a newer rollout waits.

    `FOUND_…`: a new controller has taken over, and the table in force gives everything to the target (`SWITCHED`),
    a step's share (`SPLIT`), nothing any more (`BACK`), or does not name it (`UNSWITCHED`).
    """

    STARTED = "started"
    PROVEN = "proven"
    REFUSED = "refused"
    SWITCHED = "switched"
    NOT_SWITCHED = "not_switched"
    WAITED = "waited"
    STEP_CLEAR = "step_clear"
    STEP_FAILED = "step_failed"
    STEP_INCONCLUSIVE = "step_inconclusive"
    UNJUDGED = "unjudged"
    JUDGED = "judged"
    LOST = "lost"
    SUPERSEDED = "superseded"
    PAUSE_ASKED = "pause_asked"
    RESUME_ASKED = "resume_asked"
    PROMOTE_ASKED = "promote_asked"
    ABORT_ASKED = "abort_asked"
    WEIGHT_ASKED = "weight_asked"
    UNDO_ASKED = "undo_asked"
    WINDOW_ENDED = "window_ended"
    FOUND_SWITCHED = "found_switched"
    FOUND_SPLIT = "found_split"
    FOUND_BACK = "found_back"
    FOUND_UNSWITCHED = "found_unswitched"

    @property
    def asked(self) -> bool:
        """Whether people want it."""
        return self.value.endswith("_asked")

    @property
    def found(self) -> bool:
        """Whether a new controller says so."""
        return self.value.startswith("found_")


class Command(enum.StrEnum):
    """What the machine tells the driver to do, and the event that is to follow.

    `LOAD`: load and validate the target (`PROVEN`, `REFUSED`). `SPLIT`: give the candidate the share of its place, with
    the way back prepared (`SWITCHED`, `NOT_SWITCHED`). `PROMOTE`: make it active, its way back prepared (the same).
    `OPEN_WINDOW`: wait for what is left of the undo window (`WINDOW_ENDED`). `MOVE_BACK`: make everything go to the
    source again (`SWITCHED`, `NOT_SWITCHED`). `WAIT`: a moment, before that is tried again (`WAITED`).
    `RELEASE_SOURCE`, `RELEASE_CANDIDATE`: a table that does not name it, drain, end its worker. `CERTIFY`: write the
    certificate.
    """

    LOAD = "load"
    SPLIT = "split"
    PROMOTE = "promote"
    OPEN_WINDOW = "open_window"
    MOVE_BACK = "move_back"
    WAIT = "wait"
    RELEASE_SOURCE = "release_source"
    RELEASE_CANDIDATE = "release_candidate"
    CERTIFY = "certify"


Commands: TypeAlias = tuple[Command, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Rollout:
    """State of one rollout.

    Attributes:
        model: its name.
        source: version that served at the start, `None` for a model's first.
        target: version that the rollout is for.
        phase: where it stands.
        reason: stable word of what went wrong last, or of why it is paused.
        detail: sentence to it.
        course: the steps of its plan.
        goal: the place that is being taken, or held; `None` before the first.
        stands: the place whose table is in force.
        held: people have it in hand: nothing goes up by itself.
        promoted: everything goes, or went, to the target.
        by: who or what decided last: `plan`, `operator`, `judge`, `gate:warmup`, …
    """

    model: str
    source: str | None
    target: str
    phase: Phase = Phase.PENDING
    reason: str | None = None
    detail: str | None = None
    course: Course = STRAIGHT
    goal: Place | None = None
    stands: Place | None = None
    held: bool = False
    promoted: bool = False
    by: str = "plan"

    @property
    def step(self) -> str | None:
        """Name of the step that is taken or held, `None` where there is none."""
        return None if self.goal is None or self.goal.promotion else self.course.name(self.goal)

    def __repr__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"<Rollout {self.model} {self.source or '-'}→{self.target} {self.phase}{self._where()}{why}>"

    def _where(self) -> str:
        if self.goal is None or not self.phase.compares:
            return ""
        of = f" step {self.goal.step + 1}/{len(self.course.names)}" if self.goal.step >= 0 else ""
        return f" {self.step}{of}"


@dataclass(frozen=True, slots=True)
class Told:
    """What comes with an event.

    Attributes:
        reason: stable word, `detail` a sentence to it.
        by: who or what decided.
        weight: buckets, with `WEIGHT_ASKED`.
    """

    reason: str | None = None
    detail: str | None = None
    by: str | None = None
    weight: int = 0


NOTHING = Told()


def always(_: Rollout) -> bool:
    """A way that is open in every state."""
    return True


def same(state: Rollout, _: Told) -> Rollout:
    """The place does not change."""
    return state


@dataclass(frozen=True, slots=True)
class Way:
    """A transition.

    Attributes:
        phase: where it leads.
        commands: what is to be done there.
        when: in which states the way is open.
        move: what becomes of the place.
    """

    phase: Phase
    commands: Commands = ()
    when: Callable[[Rollout], bool] = always
    move: Callable[[Rollout, Told], Rollout] = same


def taken(state: Rollout, way: Way, event: Event, told: Told) -> Rollout:
    """The state at the end of a way.

    A reason stays until another comes, or until the rollout goes on, so that the end still says why.
    """
    moved = way.move(state, told)
    if told.reason is not None:
        moved = replace(moved, reason=told.reason, detail=told.detail)
    elif event in _GOING_ON:
        moved = replace(moved, reason=None, detail=None)
    return replace(moved, phase=way.phase, by=told.by or moved.by)


_GOING_ON = frozenset(
    {Event.STEP_CLEAR, Event.JUDGED, Event.PAUSE_ASKED, Event.RESUME_ASKED, Event.PROMOTE_ASKED, Event.WEIGHT_ASKED}
)
