"""The last comparison: those that are left beside the default, in fresh processes, in turns, sitting by sitting."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from changeover.errors import ModelRejected
from changeover.workbench.tuning.child import Child
from changeover.workbench.tuning.gain import Gain, Slice, compared, figure
from changeover.workbench.tuning.halving import PATIENCE, Load
from changeover.workbench.tuning.stable import Stable
from changeover.workbench.tuning.wish import Objective, Setting

SITTINGS: Final = 8
LEAST_SITTINGS: Final = 4
"""Of fewer no gain is certain: they are held even when the time is out."""
_TURNS: Final = 4
"""Of a sitting, at least."""
_LEAST: Final = {"latency": 5, "p99": 50, "throughput": 1, "memory": 5}
_SLICE: Final = 0.04
_NO_SLOWER: Final = 1.02
"""A setting chosen for its memory may be slower by so much, where the interval does not say that it is slower."""


@dataclass(slots=True)
class Arm:
    """One setting in the final.

    Attributes:
        sittings: what was measured in each; memory: bytes in each.
        gain: beside the default; speed: its latency beside the default's, where memory is what counts.
    """

    setting: Setting
    sittings: list[list[Slice]] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    gain: Gain | None = None
    speed: Gain | None = None
    reason: str = ""
    detail: str = ""

    @property
    def better(self) -> bool:
        """Whether it may be answered with."""
        if self.reason or self.gain is None or not self.gain.sure or self.gain.sittings < LEAST_SITTINGS:
            return False
        return self.speed is None or (not self.speed.loss and self.speed.ratio <= _NO_SLOWER)

    def figures(self, objective: Objective) -> list[float]:
        """Of each sitting; less is better."""
        if objective == "memory":
            return [float(one) for one in self.memory]
        return [figure(objective, slices) for slices in self.sittings]


class LastRound:
    """The last comparison.

    Args:
        stable: starts processes.
        objective: what is better.
        load_of: what is run of a setting.
        tell: called with a sentence a sitting.
    """

    def __init__(
        self,
        stable: Stable,
        objective: Objective,
        load_of: Callable[[Setting], Load],
        tell: Callable[[str], None],
    ) -> None:
        self._stable = stable
        self._objective = objective
        self._load_of = load_of
        self._tell = tell

    def run(self, default: Setting, others: Sequence[Setting], until: float) -> tuple[Arm, list[Arm]]:
        """Compare until the time is out.

        Returns:
            The default, and the others, each with its gain.

        Raises:
            ModelRejected: the default cannot be run.
        """
        arms = [Arm(default), *map(Arm, others)]
        for at in range(SITTINGS):
            left = until - time.monotonic()
            if left <= 0 and at >= (LEAST_SITTINGS if len(arms) > 1 else 1):
                break
            self._sitting(arms, at, time.monotonic() + max(left, 0.0) / (SITTINGS - at))
            if arms[0].reason:
                raise ModelRejected(arms[0].detail, reason=arms[0].reason)
            self._judge(arms)
            self._tell(f"final, sitting {at + 1} of {SITTINGS}: {_so_far(arms[1:])}")
        return arms[0], arms[1:]

    def _judge(self, arms: Sequence[Arm]) -> None:
        for one in arms[1:]:
            if one.reason:
                continue
            old = arms[0].figures(self._objective)
            one.gain = compared(list(zip(one.figures(self._objective), old, strict=True)), len(arms) - 1)
            if self._objective == "memory":
                pairs = list(zip(one.figures("latency"), arms[0].figures("latency"), strict=True))
                one.speed = compared(pairs, len(arms) - 1)

    def _sitting(self, arms: Sequence[Arm], at: int, end: float) -> None:
        children: dict[Setting, Child] = {}
        order = [*arms[at % len(arms) :], *arms[: at % len(arms)]]
        try:
            for one in order:
                self._seat(one, children)
            turn = 0
            while turn < _TURNS or time.monotonic() < end:
                for one in order if turn % 2 else reversed(order):
                    self._turn(one, children)
                turn += 1
        finally:
            for child in children.values():
                child.end()

    def _seat(self, one: Arm, children: dict[Setting, Child]) -> None:
        if one.reason:
            return
        one.sittings.append([])
        try:
            child = children[one.setting] = self._stable.start(one.setting)[0]
            asked = {"rows": one.setting.max_batch, "callers": one.setting.instances}
            one.memory.append(int(child.ask(PATIENCE + 10, do="weigh", **asked)["bytes"]))
        except ModelRejected as error:
            one.reason, one.detail = error.reason, error.message

    def _turn(self, one: Arm, children: dict[Setting, Child]) -> None:
        if one.reason:
            return
        load = self._load_of(one.setting)
        asked = {"rows": load.rows, "callers": load.callers, "seconds": _SLICE, "least": _LEAST[self._objective]}
        try:
            told = children[one.setting].ask(PATIENCE, do="measure", **asked)
        except ModelRejected as error:
            one.reason, one.detail = error.reason, error.message
            return
        one.sittings[-1].append(Slice(told["rows"], told["seconds"], tuple(told["times"])))


def _so_far(arms: Sequence[Arm]) -> str:
    known = [one for one in arms if one.gain is not None and not one.reason]
    if not known:
        return "no setting is left"
    best = min(known, key=lambda one: one.gain.ratio if one.gain else 1.0)
    return f"{best.gain.ratio:.3f} x the default: {best.setting}" if best.gain else ""
