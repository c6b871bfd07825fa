"""The way of one step to its sequence's record: what to ask which loading next, from what all have said so far. Pure.

Only workers know who has a record, and another gateway may move it meanwhile, so a course asks, hears and decides
again until one loading has taken the step. Generations order what is heard: a loading that says MOVED with a number
above what the receiver says has handed out a state that never arrived, because it is still on its way or its carrier
has died; it is fetched again and put where it was to go. Puts are idempotent, so two gateways may do that at once.

The table of a step that begins nothing, first line that fits:

| what is known | what is asked next |
|---|---|
| a state is in hand | PUT it where it was to go, and run |
| the latest MOVED names a place that was not asked | that place |
| the latest MOVED names a place that has not got it | FETCH once more where it was moved from |
| somebody was not asked: the last owner, the goal, the others | that place |
| everybody was asked | refuse: ended, expired, lost or unknown |

To ask a place is to RUN there, or to FETCH the record from there when it is to move to the goal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from changeover.sequences.saved import Flag, peek
from changeover.sequences.wire import Status, Told

MOST: Final = 24
"""Questions of one step: more means that others move the record faster than this gateway can follow."""


class Wish(Enum):
    """What is wanted of a sequence."""

    BEGIN = "begin"
    STEP = "step"
    MOVE = "move"  # to its goal, without a step


class Way(Enum):
    """How a record that lies elsewhere comes to the goal."""

    STAY = "stay"  # not at all: its steps go where it is
    MOVE = "move"
    RESET = "reset"  # its state is dropped, and the sequence begins anew at the goal


class Verb(Enum):
    """What a loading is asked to do."""

    RUN = "run"
    FETCH = "fetch"
    PUT = "put"
    DONE = "done"  # nothing more is to be asked
    REFUSE = "refuse"


class Carried(NamedTuple):
    """A state that this gateway has in hand.

    Attributes:
        body: a packed `Saved`, as the worker gave it.
        source: the loading that gave it.
        to: where it goes.
        generation: which it has there.
        stays: it is not to leave from there again while that loading has traffic.
    """

    body: bytes
    source: int
    to: int
    generation: int
    stays: bool = False


class Action(NamedTuple):
    """The next thing to do: `loading` does it; `to` is where a FETCH goes; `start`: the run begins the sequence."""

    verb: Verb
    loading: int = 0
    to: int = 0
    start: bool = False
    carried: Carried | None = None
    reason: str = ""


_REFUSALS: Final = {Status.ENDED: "sequence_ended", Status.EXPIRED: "sequence_expired"}


@dataclass(frozen=True, slots=True)
class Map:
    """Where a sequence's record may be, when a step of it begins.

    Attributes:
        goal: where the routing table wants it.
        places: all loadings that may have it, the goal too.
        ways: for each of them but the goal.
        binding: the loadings where a record that the shield has put there stays.
        hint: where it was last.
    """

    goal: int
    places: Sequence[int]
    ways: Mapping[int, Way]
    binding: frozenset[int] = frozenset()
    hint: int | None = None


class Course:
    """Ask `next`, do it, tell `heard`; until `next` says DONE or REFUSE.

    Attributes:
        owner: who has taken the step, or the record; None before.
        reset: the sequence began anew because its record stays behind.
        stays: whether the shield has put it there; None where that is as before.
    """

    def __init__(self, wish: Wish, where: Map) -> None:
        self.wish = wish
        self.goal = where.goal
        self.owner: int | None = None
        self.reset = False
        self.stays: bool | None = None
        self._where = where
        self._ways = dict(where.ways)
        self._start = wish is Wish.BEGIN
        self._seen: dict[int, Told] = {}
        self._carried: Carried | None = None
        self._put: Carried | None = None
        self._stays = False
        self._refusal = ""
        self._asked = 0

    @property
    def carries(self) -> bool:
        """Whether a state is on its way."""
        return self._carried is not None or self._put is not None

    def way_from(self, place: int) -> Way | None:
        """How a record comes from there to the goal, as far as is known now."""
        return self._ways.get(place)

    # -- what next -----------------------------------------------------------------------------------------

    def next(self) -> Action:
        """What to do now."""
        self._asked += 1
        if self.owner is not None:
            return Action(Verb.DONE)
        if self._carried is not None:
            return Action(Verb.PUT, self._carried.to, carried=self._carried)
        if self._refusal or self._asked > MOST:
            return Action(Verb.REFUSE, reason=self._refusal or "sequence_moving")
        if self._start:
            return Action(Verb.RUN, self.goal, start=True)
        return self._follow() or self._unasked() or self._nobody()

    def _follow(self) -> Action | None:
        """After the latest move that anybody knows of."""
        moves = [(told.generation, place) for place, told in self._seen.items() if told.status is Status.MOVED]
        if not moves:
            return None
        generation, source = max(moves)
        to = self._seen[source].moved_to
        if to not in self._where.places:
            return None
        there = self._seen.get(to)
        if there is None:
            return self._at(to)
        if there.generation < generation:
            return Action(Verb.FETCH, source, to)
        return None

    def _unasked(self) -> Action | None:
        hint = self._where.hint
        first = (hint, self.goal) if hint is not None else (self.goal,)
        for place in (*first, *self._where.places):
            if place not in self._seen and place in self._where.places:
                return self._at(place)
        return None

    def _at(self, place: int) -> Action:
        """Ask a place that may have the record."""
        way = Way.STAY if place == self.goal else self._ways[place]
        if self.wish is Wish.MOVE and way is not Way.MOVE:
            return Action(Verb.DONE)
        return Action(Verb.RUN, place) if way is Way.STAY else Action(Verb.FETCH, place, self.goal)

    def _nobody(self) -> Action:
        """Everybody was asked."""
        if self.wish is Wish.MOVE:
            return Action(Verb.DONE)
        told = max(self._seen.values(), key=lambda t: t.generation, default=Told(Status.UNKNOWN))
        if told.status is Status.MOVED:
            return Action(Verb.REFUSE, reason="sequence_lost")
        return Action(Verb.REFUSE, reason=_REFUSALS.get(told.status, "sequence_unknown"))

    # -- what was heard ------------------------------------------------------------------------------------

    def heard(self, action: Action, told: Told) -> None:
        """What a loading has said to the last action."""
        self._seen[action.loading] = told
        if action.verb is Verb.FETCH:
            self._fetched(action, told)
        elif told.status in (Status.OK, Status.DUPLICATE):
            if self._start or self._carried is not None:
                self.stays = self._carried is not None and self._carried.stays
            self.owner, self._put, self._carried = action.loading, None, None
        elif action.verb is Verb.PUT:
            self._not_put(told)
        elif told.status is Status.FULL:
            self._refusal = "sequences_full"

    def _fetched(self, action: Action, told: Told) -> None:
        """A state, or word of where it is."""
        source = action.loading
        if self._ways.get(source) is Way.RESET:
            if told.status is Status.OK or (told.status is Status.MOVED and self._never_came(told)):
                self._start = self.reset = True
        elif self._put is not None and self._put.to == source and _older(told, self._put):
            self._home(self._put)
        elif told.status is Status.OK:
            bound = source in self._where.binding and not self._stays
            if bound and peek(told.body).flags & Flag.STAYS:
                self._ways[source] = Way.STAY  # the shield has put it there: back it goes
                self._carried = Carried(told.body, source, source, told.generation + 1, stays=True)
                return
            self._carried = Carried(told.body, source, action.to, told.generation, self._stays)
        elif told.status is Status.MOVED and (self._never_came(told) or self._unasked_move(told)):
            self._carried = Carried(told.body, source, told.moved_to, told.generation)
        elif told.status is Status.BAD_STATE:
            self._ways[source] = Way.STAY  # it cannot be made into what the goal takes
            del self._seen[source]

    def _unasked_move(self, told: Told) -> bool:
        """Whether this is a move, which asks nobody who may have the state already: a PUT is one question as well."""
        return self.wish is Wish.MOVE and told.moved_to in self._where.places

    def _never_came(self, told: Told) -> bool:
        """Whether the loading that a state was handed out for has said that it has not got it."""
        there = self._seen.get(told.moved_to)
        return there is not None and there.generation < told.generation and told.moved_to in self._where.places

    def _not_put(self, told: Told) -> None:
        """It is elsewhere by now, or there is no room for it, or nobody who takes it."""
        put, self._carried = self._carried, None
        nobody = told.status is Status.UNKNOWN  # no worker answers a PUT so: the loading is gone
        if put is not None and put.to != put.source and (nobody or told.status is Status.FULL):
            self._home(put)
        elif nobody or told.status is Status.FULL:
            self._refusal = "sequence_lost" if nobody else "sequences_full"

    def _home(self, put: Carried) -> None:
        """A state that its receiver does not take goes back to where it came from."""
        self._put = None
        self._ways[put.source] = Way.STAY
        self._carried = Carried(put.body, put.source, put.source, put.generation + 1, stays=True)

    def failed(self, action: Action, rescue: int | None) -> bool:
        """The run of the last action failed, and changed no state; True when it is to be tried at another loading.

        Args:
            action: RUN or PUT.
            rescue: the loading that answers in its place; a state that has just been moved goes back in any case.
        """
        place = action.loading
        put, self._carried = self._carried, None
        if put is not None and put.to != put.source:
            self._put = put
            rescue = rescue or put.source
        if rescue is None or rescue == place or rescue not in self._where.places:
            return False
        self._seen.clear()
        self.goal, self._stays = rescue, True
        if self._start:
            return True
        self._ways[place] = Way.MOVE
        self._seen = {other: Told(Status.UNKNOWN) for other in self._where.places if other != place}
        return True


def _older(told: Told, put: Carried) -> bool:
    """Whether a loading that failed to take a state over has nothing, or something older than that state."""
    return told.status is not Status.BAD_STATE and told.generation < put.generation
