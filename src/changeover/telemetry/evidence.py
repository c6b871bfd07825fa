"""What the judge of a rollout is given: two versions side by side in one window of time. Pure values.

Both arms of a window cover the same seconds, and what counts as a failure is defined alike for both: a rule that is
applied to the candidate alone (its time share, for one) must be counted for the active version by the same measure,
or two identical versions would differ by definition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from sys import float_info
from typing import Final, NamedTuple

KEY_CAP: Final = 10
"""Requests of one key that count in a stratum; what it sends beyond adds nothing to `Arm.keys`."""
ERROR_STEPS: Final = 1_000
"""Steps of the histogram of bounded errors: step `n` stands for an error of `n / ERROR_STEPS`."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One version in one window: differences of cumulative reports, all gateways merged.

    Attributes:
        requests: routed and answered (or failed); pinned and labelled requests, mirrors and the caller's own faults
            are not in it.
        failures: of the requests, those that went wrong by the version's fault: error, crash, past its time share,
            not finite; shielded ones included.
        shielded: of the failures, those that the client never saw.
        latency: end to end, by the buckets of `telemetry.observations`.
        work: worker CPU seconds a batch: by batch-size class (`batch_class`) a histogram of the same buckets. In
            keyed traffic a batch counts as long as one of its rows is of a key that has not reached `KEY_CAP`.
        keys: number of keys by (requests capped at `KEY_CAP`, failures among them): cumulative in the stratum, not a
            difference. Requests without a key are not in it. A key counts with what it
            sent to one of the gateways.
        spent: requests that this version did not get because the budget of replays was empty: a failed verdict.
    """

    requests: int = 0
    failures: int = 0
    shielded: int = 0
    latency: Mapping[int, int] = field(default_factory=dict)
    work: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    keys: Mapping[tuple[int, int], int] = field(default_factory=dict)
    spent: int = 0


class Apart(NamedTuple):
    """How far two answers are apart, or many pairs of them at most: for people, no test takes it.

    Attributes:
        absolute, relative: largest error of any element; relative to the active version's. `FARTHEST` is infinity.
        cosine: smallest of any row, in [-1, 1].
    """

    absolute: float = 0.0
    relative: float = 0.0
    cosine: float = 1.0

    def joined(self, other: Apart) -> Apart:
        """Of both."""
        return Apart(
            max(self.absolute, other.absolute), max(self.relative, other.relative), min(self.cosine, other.cosine)
        )


TOGETHER: Final = Apart()
FARTHEST: Final = Apart(float_info.max, float_info.max, -1.0)
"""Of two answers that cannot even be laid side by side. No infinity: JSON has none."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Compared mirrors of one window.

    Attributes:
        compared: pairs of which both answers were there and were compared.
        flips: of them, those whose top-1 differs.
        failures: the candidate failed where the active version answered; not among the compared.
        errors: histogram of the bounded error in [0, 1], `ERROR_STEPS` steps, of pairs without classes: those that have
            a top-1 count in `flips` alone.
        dropped: mirrors that were not made, or not compared, for want of time or room.
        apart: how far the compared ones are apart at most, in all windows of the stratum so far.
    """

    compared: int = 0
    flips: int = 0
    failures: int = 0
    errors: Mapping[int, int] = field(default_factory=dict)
    dropped: int = 0
    apart: Apart = TOGETHER


@dataclass(frozen=True, slots=True)
class Window:
    """One window of a rollout.

    Attributes:
        stratum: epoch of the step's table, incarnation of the candidate's worker and of the active one's, at the
            window's end. What an earlier worker of this epoch did inside the window, its crash above all, is in it.
        start_ns: CLOCK_MONOTONIC.
        end_ns: CLOCK_MONOTONIC.
        weight: buckets of the candidate, of 10,000.
        active: the version that everything can go back to.
        candidate: the version being proven.
        pairs: what the mirror showed.
        busy: utilisation of the busier worker over the window, 0 to 1.
    """

    stratum: tuple[int, int, int]
    start_ns: int
    end_ns: int
    weight: int
    active: Arm = Arm()
    candidate: Arm = Arm()
    pairs: Pairs = Pairs()
    busy: float = 0.0

    @property
    def seconds(self) -> float:
        """Its length."""
        return max(0.0, (self.end_ns - self.start_ns) / 1e9)


def batch_class(rows: int) -> int:
    """The batch-size class of a batch: its rows rounded up to a power of two.

    Raises:
        ValueError: there are no batches without rows.
    """
    if rows < 1:
        raise ValueError(f"a batch of {rows} rows")
    return 1 << (rows - 1).bit_length()
