"""When a model is to be tuned anew: a simple rule over its past, which time reaches as a number. Pure.

What counts is what a model ran under when it got its present `runtime`, or at the last proposal: the **reference**. Of
traffic it is the median of the first `hold` seconds that had requests all the time. Traffic has changed when in each
slice of the last `hold` seconds the rate, or the median batch, was away from the reference by `factor`, always on the
same side. A slice with less than a request a second, or while a candidate takes a part, tells nothing, and the count
begins anew. Hardware has changed when it is another one.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import msgspec
from msgspec.structs import replace

from changeover.controller.adaptive.conditions import Hardware, Traffic, typical
from changeover.rollout.plan_adaptive import AdaptivePlan

_SLICES: Final = 10
_LONGEST: Final = 60.0
_SHORTEST: Final = 1.0


class Proposal(msgspec.Struct, frozen=True):
    """What was proposed last, and what became of it.

    Attributes:
        at: RFC 3339.
        state: `proposed`; where it is pushed, `tuning` and then `pushed`, `kept` (nothing was better) or `failed`.
        cause: `traffic` or `hardware`.
        detail: what has changed, as a sentence, then what came of it.
        command: that tunes the model by hand.
        version, rollout: that were pushed.
    """

    at: str
    state: str
    cause: str
    detail: str
    command: str
    version: str | None = None
    rollout: str | None = None


class Known(msgspec.Struct, frozen=True):
    """What is on record of a model.

    Attributes:
        runtime: digest of the section `runtime` that all of this is about.
        traffic, hardware: the reference; no traffic until enough was seen.
        proposed_at: when something was proposed last, seconds since 1970; 0 for never.
        proposal: that stands, for this `runtime`.
    """

    runtime: str
    hardware: Hardware
    traffic: Traffic | None = None
    proposed_at: float = 0.0
    proposal: Proposal | None = None


class Changed(msgspec.Struct, frozen=True):
    """Why a model is to be tuned anew."""

    cause: str
    detail: str


class Now(msgspec.Struct, frozen=True):
    """A moment: the digest of the `runtime` that serves, the hardware, seconds since 1970, the last slice's traffic."""

    runtime: str
    hardware: Hardware
    at: float
    traffic: Traffic | None = None


def slice_seconds(plan: AdaptivePlan) -> float:
    """How long a slice is: a tenth of `hold`, but a second at least and a minute at most."""
    return min(max(plan.hold / _SLICES, _SHORTEST), _LONGEST)


class Criterion:
    """Of one model.

    Attributes:
        known: what it goes by, which is to be on record; None before the first slice of a model.
    """

    def __init__(self, known: Known | None) -> None:
        self.known = known
        self._recent: deque[Traffic] = deque()

    def look(self, plan: AdaptivePlan, now: Now) -> Changed | None:
        """A slice is over: what has changed materially, if it may be said now."""
        known = self._about(now)
        window = self._window(plan, now.traffic)
        if known.traffic is None and window is not None:
            known = self.known = replace(known, traffic=window)
        hardware = now.hardware.changed_from(known.hardware)
        moved = self._moved(plan, known.traffic) if window is not None else set()
        if not (hardware or moved) or 0 <= now.at - known.proposed_at < plan.every:
            return None
        detail = "; ".join([*hardware, *_told(moved, window, known.traffic)])
        traffic = window if moved else known.traffic
        self.known = replace(known, hardware=now.hardware, traffic=traffic, proposed_at=now.at)
        return Changed("hardware" if hardware else "traffic", detail)

    def begin_anew(self) -> None:
        """A slice is over that nobody looks at: the count of `hold` starts again."""
        self._recent.clear()

    def _about(self, now: Now) -> Known:
        """The present `runtime` is what it is about: another one was tuned for what it meets now."""
        if self.known is None or self.known.runtime != now.runtime:
            last = self.known.proposed_at if self.known is not None else 0.0
            self.known = Known(now.runtime, now.hardware, proposed_at=last)
            self._recent.clear()
        return self.known

    def _window(self, plan: AdaptivePlan, traffic: Traffic | None) -> Traffic | None:
        """What the last `hold` seconds were, when all of them had requests."""
        if traffic is None:
            self._recent.clear()
            return None
        self._recent.append(traffic)
        wanted = math.ceil(plan.hold / slice_seconds(plan))
        while len(self._recent) > wanted:
            self._recent.popleft()
        return typical(self._recent) if len(self._recent) == wanted else None

    def _moved(self, plan: AdaptivePlan, reference: Traffic | None) -> set[str]:
        if reference is None:
            return set()
        return set.intersection(*(set(one.moved_from(reference, plan.factor)) for one in self._recent))


def _told(moved: set[str], window: Traffic | None, old: Traffic | None) -> list[str]:
    if window is None or old is None:
        return []
    found = []
    if any(word.startswith("rate") for word in moved):
        found.append(f"requests a second: {window.rate:.1f}, were {old.rate:.1f}")
    if any(word.startswith("batch") for word in moved):
        found.append(f"rows of a run (median): {window.batch:g}, were {old.batch:g}")
    return found
