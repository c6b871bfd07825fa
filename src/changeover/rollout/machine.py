"""The rollout as a pure machine: `advance(state, event) -> (state, commands)`, for strategy `instant`.

`pending → validating → promoting → watching → succeeded`; from `watching` back by `rolling_back → rolled_back`; to
`failed` from all before the switch. The driver journals the new state before it acts on the commands, and feeds back
what came of them as events; time is an event too. Nothing drains before a terminal phase: until then the old version
can take everything back.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from changeover.errors import Conflict, Internal


class Phase(enum.StrEnum):
    """Where a rollout stands.

    `PENDING`: recorded. `VALIDATING`: the candidate loads and goes through the gates. `PROMOTING`: the switch is
    under way. `WATCHING`: the candidate serves, the previous version is kept warm. `ROLLING_BACK`: the switch back is
    under way. `SUCCEEDED`, `ROLLED_BACK`, `FAILED`: decided, and one version serves.
    """

    PENDING = "pending"
    VALIDATING = "validating"
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


class Event(enum.StrEnum):
    """What the driver tells the machine.

    `STARTED`: taken in hand. `PROVEN`: loaded, all gates passed. `REFUSED`: a gate refused the candidate, or it
    crashed, hung or ran out of memory for good. `SWITCHED`: the table of the last switch, forward or back, is in the
    route page. `NOT_SWITCHED`: that switch was given up before its commit, all is as it was. `UNDO_ASKED`: somebody
    wants the previous version back. `WINDOW_ENDED`: the undo window is over, by time or because a newer rollout waits.
    `FOUND_SWITCHED`, `FOUND_UNSWITCHED`: a new controller has taken over, and the table in force makes the target,
    or not the target, the active version.
    """

    STARTED = "started"
    PROVEN = "proven"
    REFUSED = "refused"
    SWITCHED = "switched"
    NOT_SWITCHED = "not_switched"
    UNDO_ASKED = "undo_asked"
    WINDOW_ENDED = "window_ended"
    FOUND_SWITCHED = "found_switched"
    FOUND_UNSWITCHED = "found_unswitched"


class Command(enum.StrEnum):
    """What the machine tells the driver to do, and the event that is to follow.

    `LOAD`: load and validate the target (`PROVEN`, `REFUSED`). `PROMOTE`: make it active, with its way back prepared
    (`SWITCHED`, `NOT_SWITCHED`). `OPEN_WINDOW`: wait for what is left of the undo window (`WINDOW_ENDED`).
    `MOVE_BACK`: make the source active again (`SWITCHED`, `NOT_SWITCHED`). `RELEASE_SOURCE`, `RELEASE_CANDIDATE`: a
    table that does not name it, drain, end its worker. `CERTIFY`: write the certificate.
    """

    LOAD = "load"
    PROMOTE = "promote"
    OPEN_WINDOW = "open_window"
    MOVE_BACK = "move_back"
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
        reason: stable word of what went wrong last.
        detail: sentence to it.
    """

    model: str
    source: str | None
    target: str
    phase: Phase = Phase.PENDING
    reason: str | None = None
    detail: str | None = None

    def __repr__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"<Rollout {self.model} {self.source or '-'}→{self.target} {self.phase}{why}>"


def advance(
    state: Rollout, event: Event, *, reason: str | None = None, detail: str | None = None
) -> tuple[Rollout, Commands]:
    """The state after an event, and what is to be done now, in order.

    Args:
        state: as it was.
        event: what happened.
        reason: stable word of the failure, when it was one; without one the last is kept.
        detail: sentence to it.

    Raises:
        Conflict: `no_standby`: an undo in a phase that has nothing to go back to.
        Internal: `rollout_transition`: the event cannot happen in this phase.
    """
    key = (state.phase, event)
    found = (_FIRST.get(key) if state.source is None else None) or _TABLE.get(key)
    if found is None:
        raise _impossible(state, event)
    phase, commands = found
    if reason is not None:
        state = replace(state, reason=reason, detail=detail)
    return replace(state, phase=phase), commands


def diagram() -> str:
    """The table as a Mermaid state diagram, for the documentation; what a restart does is left out."""
    arrows = {
        f"    {before} --> {after}: {event}": None
        for table in (_TABLE, _FIRST)
        for (before, event), (after, _) in table.items()
        if event not in (Event.FOUND_SWITCHED, Event.FOUND_UNSWITCHED)
    }
    ends = [f"    {phase} --> [*]" for phase in Phase if phase.terminal]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {Phase.PENDING}", *arrows, *ends]) + "\n"


_VALIDATE: Final = (Phase.VALIDATING, (Command.LOAD,))
_WATCH: Final = (Phase.WATCHING, (Command.OPEN_WINDOW,))
_GO_BACK: Final = (Phase.ROLLING_BACK, (Command.MOVE_BACK,))
_BACK: Final = (Phase.ROLLED_BACK, (Command.RELEASE_CANDIDATE, Command.CERTIFY))

_TABLE: Final[dict[tuple[Phase, Event], tuple[Phase, Commands]]] = {
    (Phase.PENDING, Event.STARTED): _VALIDATE,
    (Phase.PENDING, Event.REFUSED): (Phase.FAILED, ()),
    (Phase.PENDING, Event.FOUND_UNSWITCHED): _VALIDATE,
    (Phase.VALIDATING, Event.PROVEN): (Phase.PROMOTING, (Command.PROMOTE,)),
    # A refused candidate's worker has ended already: the loader sees to that before it says so.
    (Phase.VALIDATING, Event.REFUSED): (Phase.FAILED, (Command.CERTIFY,)),
    (Phase.VALIDATING, Event.FOUND_UNSWITCHED): _VALIDATE,
    (Phase.PROMOTING, Event.SWITCHED): (Phase.WATCHING, (Command.OPEN_WINDOW, Command.CERTIFY)),
    (Phase.PROMOTING, Event.NOT_SWITCHED): (Phase.FAILED, (Command.RELEASE_CANDIDATE, Command.CERTIFY)),
    (Phase.PROMOTING, Event.FOUND_SWITCHED): _WATCH,
    (Phase.PROMOTING, Event.FOUND_UNSWITCHED): _VALIDATE,
    (Phase.WATCHING, Event.WINDOW_ENDED): (Phase.SUCCEEDED, (Command.RELEASE_SOURCE, Command.CERTIFY)),
    (Phase.WATCHING, Event.UNDO_ASKED): _GO_BACK,
    (Phase.WATCHING, Event.REFUSED): _GO_BACK,
    (Phase.WATCHING, Event.FOUND_SWITCHED): _WATCH,
    # A way back may be stored before it is recorded: then what serves is what was decided.
    (Phase.WATCHING, Event.FOUND_UNSWITCHED): _BACK,
    (Phase.ROLLING_BACK, Event.SWITCHED): _BACK,
    # Nothing was lost: the source is still warm, and the way back may be asked for again.
    (Phase.ROLLING_BACK, Event.NOT_SWITCHED): _WATCH,
    (Phase.ROLLING_BACK, Event.FOUND_SWITCHED): _GO_BACK,
    (Phase.ROLLING_BACK, Event.FOUND_UNSWITCHED): _BACK,
}

_FIRST: Final[dict[tuple[Phase, Event], tuple[Phase, Commands]]] = {
    # A model's first version: nothing is kept warm, so there is nothing to watch.
    (Phase.PROMOTING, Event.SWITCHED): (Phase.SUCCEEDED, (Command.CERTIFY,)),
    (Phase.PROMOTING, Event.FOUND_SWITCHED): (Phase.SUCCEEDED, (Command.CERTIFY,)),
}


def _impossible(state: Rollout, event: Event) -> Conflict | Internal:
    if event is not Event.UNDO_ASKED:
        return Internal(f"{state!r} cannot take {event!s}.", reason="rollout_transition")
    if state.phase in (Phase.PENDING, Phase.VALIDATING, Phase.PROMOTING):
        why = f"version {state.target} does not serve yet, so there is nothing to undo"
    else:
        why = "no previous version is kept warm, so there is nothing to undo; roll out the one you want instead"
    return Conflict(f"{state.model}: {why}.", reason="no_standby")
