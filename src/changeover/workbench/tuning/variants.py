"""The model in each precision: made, and found right or wrong before anything is measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from changeover.errors import ModelRejected
from changeover.lifecycle.source import MODEL_FILE
from changeover.rollout.plan_gates import AccuracyGate
from changeover.workbench.tuning.agreement import specs
from changeover.workbench.tuning.child import Child
from changeover.workbench.tuning.rows import Rows, gather
from changeover.workbench.tuning.stable import Stable
from changeover.workbench.tuning.wish import Setting, Wish, without

Document = dict[str, Any]
_SAMPLES: Final = 64
"""Inputs for the calibration of int8_static, at most."""
_LEAST, _MOST = 50, 2000
"""Samples of a golden set, or inputs, that answers are compared on."""
_GLANCE, _CHECK = 0.02, 0.06
"""Of the budget: seconds for one comparison of answers, of a precision at first and of what may be the answer."""
_SEVERAL: Final = 8
"""Rows that tell whether they influence each other."""
_PATIENCE: Final = 20.0
"""Seconds that a conversion may take, at least."""
_SLOWER: Final = 4
"""So many times the default's own time the comparison of answers may take."""


class Variants:
    """All precisions of one model.

    Args:
        wish: what is wanted.
        stable: of the processes.
        folder: where the files are written.
        tell: called with a sentence where one is dropped.

    Attributes:
        wish: without the precisions that cannot be had.
        rows: what is run.
        dropped: reason and sentence by precision.
        checks: what the comparison of answers said, by setting.
        row_seconds: of a run of one row by the default.
    """

    def __init__(self, wish: Wish, stable: Stable, folder: Path, tell: Callable[[str], None]) -> None:
        self.wish = wish
        self.rows = Rows([], batchable=False)
        self.dropped: dict[str, tuple[str, str]] = {}
        self.checks: dict[Setting, Document] = {}
        self.row_seconds = 0.0
        self._stable = stable
        self._folder = folder
        self._tell = tell
        self._inputs: list[list[Any]] = []
        self._batches: dict[str, bool] = {}

    def open(self, default: Setting) -> tuple[bool, list[str]]:
        """Load the default, and gather what is run.

        Returns:
            Whether the model takes rows, and the execution providers that there are.

        Raises:
            ModelRejected: it cannot be loaded, or the inputs given are not for it.
        """
        child, told = self._stable.start(default)
        child.end()
        self._inputs = told["inputs"]
        self.rows, _ = gather(self.wish, specs(told["inputs"]), specs(told["outputs"]))
        file = self._folder / "rows.npz"
        self.rows.write(file)
        self._stable.rows = file
        self._independent("fp32")
        return self.rows.batchable, told["offered"]

    def make(self, row_seconds: float, until: float) -> None:
        """Write the model in every precision wanted; those that cannot be had, or answer wrongly, are dropped."""
        self.row_seconds = row_seconds
        for precision in self.wish.space.precisions:
            if precision == "fp32":
                continue
            try:
                self._convert(precision, until)
                self._independent(precision)
                self.check(self._as_default(precision), _GLANCE)
            except ModelRejected as error:
                self._drop(precision, error)

    def check(self, setting: Setting, share: float = _CHECK) -> None:
        """Compare a setting's answers, for about this share of the budget.

        Raises:
            ModelRejected: they are not as right as was asked for (`tune_inaccurate`), or it cannot be run.
        """
        found = self.checks[setting] = self._compared(setting, share)
        if not found["passed"]:
            raise ModelRejected(found["detail"], reason="tune_inaccurate")

    def batches(self, precision: str) -> bool:
        """Whether a server would put rows of several requests into one run."""
        return self._batches.get(precision, False)

    def _convert(self, precision: str, until: float) -> None:
        target = self._folder / precision / MODEL_FILE
        target.parent.mkdir(exist_ok=True)
        child = Child()
        try:
            child.ask(
                max(until - time.monotonic(), _PATIENCE),
                do="convert", model=str(self._stable.files["fp32"]), precision=precision, target=str(target),
                file=str(self._stable.rows), inputs=self._inputs, samples=_SAMPLES,
            )  # fmt: skip
        finally:
            child.end()
        self._stable.files[precision] = target

    def _independent(self, precision: str) -> None:
        most = self.wish.base.max_batch
        if self.wish.objective == "throughput" or self.wish.space.batches:
            most = max(most, _SEVERAL)  # other batches are tried, also where the plan has none
        if not self.rows.batchable or most == 1:
            self._batches[precision] = False
            return
        child = self._stable.child(self._as_default(precision))
        found = child.ask(2 * self._stable.patience, do="independent", rows=most)
        self._batches[precision] = bool(found["independent"])

    def _as_default(self, precision: str) -> Setting:
        default = self.wish.default
        return Setting(
            precision, default.providers, default.level, default.threads, default.instances, default.max_batch
        )

    def _compared(self, setting: Setting, share: float) -> Document:
        wish, each = self.wish, max(self.row_seconds, 1e-6)
        rule = AccuracyGate(min=wish.min_accuracy)
        if wish.max_difference is not None:
            rule = msgspec.structs.replace(rule, tolerance=wish.max_difference)
        samples = int(min(max(wish.budget * share / (2 * each), _LEAST), _MOST))
        child = Child()
        try:
            return child.ask(
                2 * (self._stable.patience + _SLOWER * samples * each), do="agree",
                default=self._stable.spec(wish.default), candidate=self._stable.spec(setting),
                file=str(self._stable.rows), golden=str(wish.golden) if wish.golden is not None else None,
                rule=msgspec.to_builtins(rule), min_accuracy=wish.min_accuracy, max_difference=wish.max_difference,
                samples=samples,
            )  # fmt: skip
        finally:
            child.end()

    def _drop(self, precision: str, error: ModelRejected) -> None:
        self.dropped[precision] = (error.reason, error.message)
        self.wish = without(self.wish, precision)
        self._tell(f"dropped: {precision}: {error.message} [{error.reason}]")
