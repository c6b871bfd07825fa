"""A tuning from the wish to the answer: variants, accuracy, halving, final."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from changeover.errors import ModelRejected
from changeover.scratch import scratch_folder
from changeover.workbench.tuning import report
from changeover.workbench.tuning.halving import Entry, Halving, Load, measured
from changeover.workbench.tuning.last import LEAST_SITTINGS, Arm, LastRound
from changeover.workbench.tuning.stable import Stable
from changeover.workbench.tuning.variants import Variants
from changeover.workbench.tuning.wish import Setting, Wish, settings

Document = dict[str, Any]
_HALVING: Final = 0.5
"""Share of the budget after which the last comparison begins."""
_FINALISTS: Final = 3
_SLOW: Final = 1 / 300
"""Of the budget: a batch whose run takes longer is not tried."""
_GLANCE: Final = 0.2
_LOAD: Final = 30.0
"""Seconds after which a process that loads counts as hung, at least."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """What came of it.

    Attributes:
        document: all that was found, for people and programs.
        default, answer: the settings; equal where the default is kept.
        model: file of the model in the answer's precision; the original where that is fp32.
    """

    document: Document
    default: Setting
    answer: Setting
    model: Path

    @property
    def kept(self) -> bool:
        """Whether the default is the answer."""
        return self.answer == self.default


def tune(path: Path, wish: Wish, folder: Path, tell: Callable[[str], None] = lambda _: None) -> Tuned:
    """Find the best setting for a model file on this machine.

    Args:
        path: of the model.
        wish: what is wanted.
        folder: an empty one, where the model is left in the answer's precision.
        tell: called with sentences on the progress.

    Raises:
        ModelRejected: the default cannot be loaded or run, or what was given to compare with is not for this model.
    """
    with ExitStack() as stack:
        work = stack.enter_context(scratch_folder("tune"))
        stable = Stable(wish, work, {"fp32": path}, max(_LOAD, wish.budget / 4))
        return _Tuning(wish, stack.enter_context(stable), folder, tell).run()


class _Tuning:
    def __init__(self, wish: Wish, stable: Stable, folder: Path, tell: Callable[[str], None]) -> None:
        self._wish = wish
        self._stable = stable
        self._began = time.monotonic()
        self._told = tell
        self._default = Entry(wish.default)
        self._left = _FINALISTS
        self._variants = Variants(wish, stable, folder, self._tell)

    def run(self) -> Tuned:
        wish, variants = self._wish, self._variants
        batchable, offered = variants.open(wish.default)
        self._stable.child(wish.default)
        self._default.memory = self._stable.memory_of(wish.default)
        glance = measured(self._stable, wish.default, Load(1, 1), "latency", _GLANCE)
        row = min(glance.times, default=0.0)
        self._left = self._finalists_for(self._stable.start_seconds + row * wish.base.max_batch * batchable)
        self._stable.make_room(wish.default)
        variants.make(row, self._at(_HALVING / 2))
        tried = [Entry(one) for one in settings(variants.wish, offered, batchable=batchable)]
        entries = [one for one in tried if self._worth(one.setting)]
        self._tell(f"{len(entries)} settings to try, with {variants.rows.source} inputs")
        halving = Halving(self._stable, wish.objective, self._default, self._load_of, self._tell)
        ranked = halving.run(entries, self._at(_HALVING), self._left) if entries else []
        finalists = self._finalists(ranked)
        self._stable.clear()
        default, arms = self._final(finalists)
        answer = min((one for one in arms if one.better), key=_ratio, default=None)
        setting = answer.setting if answer is not None else wish.default
        found = report.Found(
            wish, variants, offered, self._default, entries, default, arms, answer, time.monotonic() - self._began
        )
        return Tuned(report.document(found), wish.default, setting, self._stable.files[setting.precision])

    def _final(self, finalists: list[Setting]) -> tuple[Arm, list[Arm]]:
        if not finalists:
            self._tell("no setting was better than the default, or as right")
        last = LastRound(self._stable, self._wish.objective, self._load_of, self._tell)
        until = self._at(1.0) if finalists else time.monotonic()
        return last.run(self._wish.default, finalists, until)

    def _finalists(self, ranked: list[Entry]) -> list[Setting]:
        """Those that are better so far and whose answers are right: what is answered with was itself compared."""
        found: list[Setting] = []
        for one in ranked:
            if one.ratio(self._wish.objective, self._default) >= 1.0:
                continue
            try:
                self._variants.check(one.setting)
            except ModelRejected as error:
                one.reason, one.detail = error.reason, error.message
                self._tell(f"dropped: {one.setting}: {error.message} [{error.reason}]")
                continue
            found.append(one.setting)
        return found

    def _finalists_for(self, start: float) -> int:
        """How many the last comparison has time for: processes that take so long to begin leave room for one only."""
        room = (1 - _HALVING) * self._wish.budget
        return _FINALISTS if LEAST_SITTINGS * (_FINALISTS + 1) * start < room else 1

    def _worth(self, setting: Setting) -> bool:
        """Whether batches of this size are ever run, and a run of them fits into the time."""
        base = self._wish.base.max_batch
        if setting.max_batch == base:
            return True
        if not self._variants.batches(setting.precision):
            return False
        return self._variants.row_seconds * setting.max_batch <= max(self._wish.budget * _SLOW, 0.02)

    def _load_of(self, setting: Setting) -> Load:
        """Of throughput full batches by as many callers as there are runners; else single rows."""
        if self._wish.objective != "throughput":
            return Load(1, 1)
        return Load(setting.max_batch if self._variants.batches(setting.precision) else 1, setting.instances)

    def _at(self, share: float) -> float:
        return self._began + share * self._wish.budget

    def _tell(self, sentence: str) -> None:
        self._told(f"[{time.monotonic() - self._began:5.1f} s] {sentence}")


def _ratio(arm: Arm) -> float:
    return arm.gain.ratio if arm.gain is not None else 1.0
