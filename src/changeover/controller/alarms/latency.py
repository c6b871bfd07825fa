"""Is a version slower than another, or than it was? By counting, so that a few answers do not raise an alarm. Pure.

A version is slower when its 95th percentile is over a limit: when more than a twentieth of its answers took longer than
that. How many more must be seen for it to be no accident follows from the binomial distribution, whatever the latency's
own looks like; a limit that was estimated from few answers itself makes it more (the test of two proportions).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from changeover.controller.pulse import Beat, sum_of
from changeover.telemetry.observations import above, percentile

SHARE: Final = 0.95
LEAST: Final = 20
"""Answers without which nothing is said."""
LONGEST: Final = 10
"""Seconds that are looked at when one has fewer answers."""
LEAST_S: Final = 0.001
"""A difference that is no alarm, however small the model."""
Compared = tuple[bool | None, Mapping[int, int], float]
_SURE: Final = 2.33
"""Standard deviations: one in a hundred is further off by chance; an alarm needs two or three such seconds in a row."""


def limit_over(reference_s: float, part: float) -> float:
    """Seconds that are too long where a reference takes so many."""
    return max(reference_s * (1 + part), reference_s + LEAST_S)


def enough(*series: Sequence[Beat]) -> tuple[Beat, ...] | None:
    """The shortest common past in which all have `LEAST` answers; None when even the longest is too short."""
    least = max(_seconds_for(beats) for beats in series)
    return tuple(sum_of(beats[-least:]) for beats in series) if least <= LONGEST else None


def _seconds_for(beats: Sequence[Beat]) -> int:
    """In how many of the last seconds there are `LEAST` answers; more than `LONGEST` where there are not."""
    answers = 0
    for seconds, beat in enumerate(reversed(beats[-LONGEST:]), 1):
        answers += beat.requests
        if answers >= LEAST:
            return seconds
    return LONGEST + 1


def is_over(latency: Mapping[int, int], limit_s: float, reference: int | None = None) -> bool:
    """Whether more than a twentieth of these answers took longer, and by more than chance.

    Args:
        latency: by bucket.
        limit_s: seconds.
        reference: how many answers the limit was estimated from; None where it is known.
    """
    total = sum(latency.values())
    share = above(latency, limit_s) / total
    least = 1 - SHARE
    if reference is None:
        return share - least > _SURE * math.sqrt(least * SHARE / total)
    pooled = (share * total + least * reference) / (total + reference)
    return share - least > _SURE * math.sqrt(pooled * (1 - pooled) * (1 / total + 1 / reference))


def slower(beats: Sequence[Beat], others: Sequence[Beat], part: float) -> Compared:
    """Whether one version is slower than the other by more than a part.

    Returns:
        Yes, no or unknown (None); its answers by bucket, and the 95th percentile that is allowed, in seconds.
    """
    found = enough(beats, others)
    if found is None:
        return None, {}, 0.0
    mine, other = (beat.latency for beat in found)
    limit = limit_over(percentile(other, SHARE) or 0.0, part)
    return is_over(mine, limit, sum(other.values())), mine, limit


def slower_than(beats: Sequence[Beat], past_s: float, part: float) -> Compared:
    """The same against what was normal."""
    limit = limit_over(past_s, part)
    found = enough(beats)
    if found is None:
        return None, {}, limit
    return is_over(found[0].latency, limit), found[0].latency, limit
