"""Successive halving: many short measurements first, then the better half gets twice the time, until few are left.

Jamieson and Talwalkar (2016). Within a round all take turns, A B C A B C, and the default takes its turn with them: a
setting's figure is divided by the default's of the same turns, so a busy minute counts for nobody and against nobody.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from changeover.errors import ModelRejected
from changeover.workbench.tuning.gain import Slice, figure
from changeover.workbench.tuning.stable import Stable
from changeover.workbench.tuning.wish import Objective, Setting

_TURNS: Final = 3
_SHORTEST, _LONGEST = 0.004, 1.0
"""Seconds of a slice."""
_LEAST: Final = {"latency": 3, "p99": 20, "throughput": 1, "memory": 3}
"""Runs in a slice."""
PATIENCE: Final = 20.0
"""Seconds for a slice's answer beyond its own time: then it hangs."""


@dataclass(slots=True)
class Entry:
    """A setting and what is known of it.

    Attributes:
        slices: measured; beside: of the default in the same turns.
        memory: bytes, None where it was not weighed; rounds: that it was in.
        reason, detail: why it was dropped, where it was not only slower.
    """

    setting: Setting
    slices: list[Slice] = field(default_factory=list)
    beside: list[Slice] = field(default_factory=list)
    memory: int | None = None
    rounds: int = 0
    reason: str = ""
    detail: str = ""

    def ratio(self, objective: Objective, default: Entry) -> float:
        """Its figure over the default's; infinite where nothing is known."""
        if self.reason:
            return math.inf
        if objective == "memory":
            known = self.memory is not None and default.memory
            return (self.memory or 0) / (default.memory or 1) if known else math.inf
        old = figure(objective, self.beside)
        return figure(objective, self.slices) / old if math.isfinite(old) and self.slices else math.inf


@dataclass(frozen=True, slots=True)
class Load:
    """What one measurement runs: rows of a run, and how many runs at a time."""

    rows: int
    callers: int


def measured(stable: Stable, setting: Setting, load: Load, objective: Objective, seconds: float) -> Slice:
    """One slice. Raises ModelRejected: the process crashed, hangs or says what is wrong."""
    child = stable.child(setting)
    told = child.ask(
        seconds + PATIENCE, do="measure", rows=load.rows, callers=load.callers, seconds=seconds, least=_LEAST[objective]
    )
    return Slice(told["rows"], told["seconds"], tuple(told["times"]))


class Halving:
    """The rounds.

    Args:
        stable: of the processes.
        objective: what is better.
        default: which everything is compared with.
        load_of: what is run of a setting.
        tell: called with a sentence a round.
    """

    def __init__(
        self,
        stable: Stable,
        objective: Objective,
        default: Entry,
        load_of: Callable[[Setting], Load],
        tell: Callable[[str], None],
    ) -> None:
        self._stable = stable
        self._objective = objective
        self._default = default
        self._load_of = load_of
        self._tell = tell
        self._left, self._tried = 1, 0

    def run(self, entries: Sequence[Entry], until: float, left: int) -> list[Entry]:
        """The best `left`, best first, when it is `until` or no more need to go; so many are tried in any case."""
        self._left = left
        alive = list(entries)
        rounds = max(1, math.ceil(math.log2(max(len(alive), 2) / left)))
        for at in range(rounds):
            now = time.monotonic()
            if (now > until and at) or not alive:
                break
            share = max((until - now) / (rounds - at), 0.0)
            self._round(alive, now + share, until)
            alive = self._ranked(alive)
            self._say(at + 1, rounds, alive)
            if at + 1 < rounds:
                alive = alive[: max(left, math.ceil(len(alive) / 2))]
        return alive[:left]

    def _ranked(self, entries: Sequence[Entry]) -> list[Entry]:
        found = [(one.ratio(self._objective, self._default), one) for one in entries]
        return [one for ratio, one in sorted(found, key=lambda pair: pair[0]) if math.isfinite(ratio)]

    def _say(self, at: int, rounds: int, alive: Sequence[Entry]) -> None:
        if not alive:
            self._tell(f"round {at} of {rounds}: no setting is left")
            return
        ratio = alive[0].ratio(self._objective, self._default)
        self._tell(f"round {at} of {rounds}: {len(alive)} settings; {ratio:.2f} x the default: {alive[0].setting}")

    def _round(self, entries: Sequence[Entry], end: float, until: float) -> None:
        groups = list(self._groups(entries))
        for at, group in enumerate(groups):
            share = (end - time.monotonic()) / (len(groups) - at)
            self._group(group, time.monotonic() + share, until)

    def _groups(self, entries: Sequence[Entry]) -> Iterator[list[Entry]]:
        """So many at a time as there may be processes, the default's among them."""
        sessions: dict[Setting, list[Entry]] = {}
        for one in entries:
            sessions.setdefault(self._stable.session_of(one.setting), []).append(one)
        each, size = list(sessions.values()), max(self._stable.most - 1, 1)
        for start in range(0, len(each), size):
            yield [one for part in each[start : start + size] for one in part]

    def _group(self, group: Sequence[Entry], end: float, until: float) -> None:
        self._stable.child(self._default.setting)  # used last, so that none of the group takes its place
        ready = [one for one in group if self._loaded(one, until)]
        if not ready:
            return
        seconds = (end - time.monotonic()) / (_TURNS * (len(ready) + 1))
        seconds = min(max(seconds, _SHORTEST), _LONGEST)
        for one in ready:
            one.rounds += 1
        for turn in range(_TURNS):
            if turn and time.monotonic() > until:
                return
            mine = measured(
                self._stable, self._default.setting, self._load_of(self._default.setting), self._objective, seconds
            )
            self._default.slices.append(mine)
            at = turn * len(ready) // _TURNS
            for one in (*ready[at:], *ready[:at]):
                self._turn(one, mine, seconds)

    def _turn(self, one: Entry, beside: Slice, seconds: float) -> None:
        if one.reason:
            return
        try:
            found = measured(self._stable, one.setting, self._load_of(one.setting), self._objective, seconds)
        except ModelRejected as error:
            self._drop(one, error)
            return
        one.slices.append(found)
        one.beside.append(beside)

    def _loaded(self, one: Entry, until: float) -> bool:
        if one.reason:
            return False
        if time.monotonic() > until and not one.slices and self._tried >= self._left:
            _note(one, ModelRejected("the budget was used up before its turn", reason="tune_budget"))
            return False
        try:
            self._stable.child(one.setting)
        except ModelRejected as error:
            self._drop(one, error)
            return False
        one.memory = self._stable.memory_of(one.setting)
        self._tried += 1
        return True

    def _drop(self, one: Entry, error: ModelRejected) -> None:
        _note(one, error)
        self._stable.drop(one.setting)
        self._tell(f"dropped: {one.setting}: {error.message} [{error.reason}]")


def _note(one: Entry, error: ModelRejected) -> None:
    one.reason, one.detail = error.reason, error.message
