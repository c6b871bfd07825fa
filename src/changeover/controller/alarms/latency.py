"""Is a version slower than another, or than it was? By counting, so that a few answers do not raise an alarm. Pure.

A version is slower when its 95th percentile is over a limit: when more than a twentieth of its answers took longer than
that. How many more must be seen for it to be no accident follows from the binomial distribution, whatever the latency's
own looks like; the reference's percentile is taken at the upper end of what its number of answers leaves open.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from changeover.controller.pulse import Beat, sum_of
from changeover.telemetry.observations import bucket_middle, percentile

SHARE: Final = 0.95
LEAST: Final = 20
"""Answers without which nothing is said."""
LONGEST: Final = 10
"""Seconds that are looked at when one has fewer answers."""
LEAST_S: Final = 0.001
"""A difference that is no alarm, however small the model."""
_SURE: Final = 2.33
"""Standard deviations: one in a hundred is further off by chance; an alarm needs three such seconds in a row."""


def limit_over(reference_s: float, part: float) -> float:
    """Seconds that are too long where a reference takes so many."""
    return max(reference_s * (1 + part), reference_s + LEAST_S)


def enough(*series: Sequence[Beat]) -> tuple[Beat, ...] | None:
    """The shortest common past in which all have `LEAST` answers; None when even the longest is too short."""
    for seconds in range(1, LONGEST + 1):
        if all(sum(beat.requests for beat in beats[-seconds:]) >= LEAST for beats in series):
            return tuple(sum_of(beats[-seconds:]) for beats in series)
    return None


def is_over(latency: Mapping[int, int], limit_s: float) -> bool:
    """Whether more than a twentieth of these answers took longer, and by more than chance."""
    total = sum(latency.values())
    above = sum(count for number, count in latency.items() if bucket_middle(number) > limit_s)
    return above > total * (1 - SHARE) + _SURE * math.sqrt(total * SHARE * (1 - SHARE))


def upper(latency: Mapping[int, int]) -> float:
    """The most that the 95th percentile may be, by so many answers."""
    total = sum(latency.values())
    share = SHARE + _SURE * math.sqrt(SHARE * (1 - SHARE) / total)
    return percentile(latency, min(share, 1.0)) or 0.0


def slower(beats: Sequence[Beat], others: Sequence[Beat], part: float) -> tuple[bool | None, float, float]:
    """Whether one version is slower than the other by more than a part.

    Returns:
        Yes, no or unknown (None); its 95th percentile, and the one that is allowed, in seconds.
    """
    found = enough(beats, others)
    if found is None:
        return None, 0.0, 0.0
    mine, other = (beat.latency for beat in found)
    reference = percentile(other, SHARE) or 0.0
    bad = is_over(mine, limit_over(upper(other), part))
    return bad, percentile(mine, SHARE) or 0.0, limit_over(reference, part)


def slower_than(beats: Sequence[Beat], past_s: float, part: float) -> tuple[bool | None, float, float]:
    """The same against what was normal."""
    limit = limit_over(past_s, part)
    found = enough(beats)
    if found is None:
        return None, 0.0, limit
    return is_over(found[0].latency, limit), percentile(found[0].latency, SHARE) or 0.0, limit
