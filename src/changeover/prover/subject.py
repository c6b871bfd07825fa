"""A version under test: its session, and how it takes rows."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from changeover.prover.golden import Batch
from changeover.runtime.session import Array, Session

_MOST_ROWS = 32


@dataclass(frozen=True, slots=True)
class Subject:
    """A loaded version.

    Attributes:
        batchable: rows of different requests may share a run.
        max_batch: most rows of a run.
        run_timeout: seconds of processor time that one run may take.
    """

    session: Session
    batchable: bool
    max_batch: int
    run_timeout: float

    @property
    def rows(self) -> int:
        """Rows that a gate puts into one run."""
        return min(self.max_batch, _MOST_ROWS) if self.batchable else 1

    def answers(self, batch: Batch) -> dict[str, Array]:
        """All outputs for a batch by name, the samples on their first axis.

        Raises:
            ModelRunFailed: a run failed.
        """
        if not batch.split:
            return {name: output[np.newaxis] for name, output in self.run(batch.inputs).items()}
        if self.batchable or len(batch.samples) == 1:
            return self.run(batch.inputs)
        count = len(batch.samples)
        each = [self.run({n: a[row : row + 1] for n, a in batch.inputs.items()}) for row in range(count)]
        return {name: np.concatenate([outputs[name] for outputs in each]) for name in each[0]}

    def run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """One run, of bounded length; outputs by name. Raises as `Session.run_feeds`."""
        with bounded(self.run_timeout):
            outputs = self.session.run_feeds(feeds)
        return {spec.name: output for spec, output in zip(self.session.outputs, outputs, strict=True)}


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """The kernel ends this process by SIGPROF when what is inside takes more processor time.

    Nothing else stops an operator that never returns, and the clock on the wall would tell how busy the machine is.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
