"""The recent requests that a prover is given: gathered from all gateways, each counted by what it stands for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from changeover.runtime.session import Array
from changeover.transport.sample import EMPTY, LARGEST, MOST_BYTES, Sample, areas, merged, read

PATIENCE: Final = 15.0
"""Seconds that a gateway may take to write, some requests a turn between its other work: mostly milliseconds. It is
asked when the prover is forked; one that has died since is waited for in vain."""
_PAUSE: Final = 0.005
_SEED: Final = 23


@dataclass(frozen=True, slots=True)
class Recent:
    """A random sample of recent requests.

    Attributes:
        seen: requests that it stands for.
        requests: their inputs by name, in random order.
        late: gateways that had not written theirs in time.
    """

    seen: int = 0
    requests: Sequence[dict[str, Array]] = ()
    late: int = 0

    def __str__(self) -> str:
        text = f"{len(self.requests):,} recent requests are too few"
        if self.seen > len(self.requests):
            kept = f"none over {LARGEST >> 20} MiB and {MOST_BYTES >> 20} MiB a model at most"
            text += f" (of {self.seen:,} seen; a gateway keeps {kept})"
        return text + (f", and {self.late} gateways had not told theirs in {PATIENCE:.0f} s" if self.late else "")


def gather(memory: int | None, *, batchable: bool, alive: Callable[[], None]) -> Recent:
    """What the gateways have written; one that writes nothing in time is left out.

    Args:
        memory: that they share; None where there is none.
        batchable: a request's rows have nothing to do with each other, so one of them stands for it.
        alive: called now and then.
    """
    if memory is None:
        return Recent()
    until = time.monotonic() + PATIENCE
    samples: list[Sample | None] = [None] * areas(memory)
    while True:
        samples = [read(memory, place) if told is None else told for place, told in enumerate(samples)]
        if None not in samples or time.monotonic() > until:
            break
        alive()
        time.sleep(_PAUSE)
    generator = np.random.default_rng(_SEED)
    requests = merged([told or EMPTY for told in samples], generator)
    feeds = [{tensor.name: tensor.readable() for tensor in request} for request in requests]
    if batchable:
        feeds = [_row(one, generator) for one in feeds]
    return Recent(sum(told.seen for told in samples if told), feeds, samples.count(None))


def _row(feeds: dict[str, Array], generator: np.random.Generator) -> dict[str, Array]:
    """Any one row: those of one request are alike, and would count as if they were many."""
    at = int(generator.integers(min(len(array) for array in feeds.values())))
    return {name: array[at : at + 1] for name, array in feeds.items()}
