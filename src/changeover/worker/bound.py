"""The batches of a channel that come again, bound to the memory of their slots."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter_ns
from typing import Final, NamedTuple

from changeover.runtime.bound import Bound, bind
from changeover.runtime.session import Array, Session

_MOST: Final = 128
"""Batches of one channel that are bound."""
_QUICK_NS: Final = 1_000_000
"""Of a run: a longer one does not feel what binding spares, and trying it once more would be felt."""
_REST: Final = 20
"""Times as long as it took to bind one batch, none is bound: a new worker sees each size of batch in each slot for the
first time in its first moments, and its clients would wait for all of that."""

Batch = tuple[int, int, bytes]
"""Slot, number of runs, descriptors of the inputs."""


class BoundBatch(NamedTuple):
    """Its runs, and descriptors and number of the outputs of one."""

    runs: list[Bound]
    parts: bytes
    outputs: int

    def run(self) -> bool:
        """Run all; returns whether what came out is in the slot."""
        for run in self.runs:  # noqa: SIM110 - a generator takes a hundredth of a quick run's time
            if not run.run():
                return False
        return True


class Bindings:
    """What is bound of one channel.

    Args:
        session: whose runs they are.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[Batch, BoundBatch | None] = {}
        self._rests_until = 0

    def of(self, batch: Batch) -> BoundBatch | None:
        """The bound runs of a batch."""
        return self._known.get(batch)

    def wants(self, batch: Batch, wall_ns: int) -> bool:
        """Whether a batch that has run so long is to be bound now, and was not tried before."""
        if wall_ns >= _QUICK_NS * batch[1] or batch in self._known or len(self._known) >= _MOST:
            return False
        return perf_counter_ns() >= self._rests_until

    def take(
        self,
        batch: Batch,
        feeds: Sequence[dict[str, Array]],
        results: Sequence[Sequence[Array]],
        layout: tuple[Sequence[Array], bytes],
    ) -> None:
        """Bind a batch that was run just now, if it can be.

        Args:
            batch: which has `wants`.
            feeds: inputs of each run.
            results: outputs of each run.
            layout: where those belong, one run after the other, and their descriptors.
        """
        began = perf_counter_ns()
        self._known[batch] = self._bound(feeds, results, layout)
        ended = perf_counter_ns()
        self._rests_until = ended + _REST * (ended - began)

    def _bound(
        self,
        feeds: Sequence[dict[str, Array]],
        results: Sequence[Sequence[Array]],
        layout: tuple[Sequence[Array], bytes],
    ) -> BoundBatch | None:
        views, parts = layout
        width = len(results[0])
        runs = []
        for number, (feed, right) in enumerate(zip(feeds, results, strict=True)):
            bound = bind(self._session, feed, views[number * width : (number + 1) * width], right)
            if bound is None:
                return None
            runs.append(bound)
        return BoundBatch(runs, parts, width)
