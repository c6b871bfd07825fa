"""What a rehearsal tries: a healthy candidate and bad ones, each with its fault and the moment at which that begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

import msgspec

from changeover.transport.control import Fault, FaultKind

HEALTHY: Final = "healthy"
KINDS: Final[tuple[str, ...]] = get_args(FaultKind)
MOMENTS: Final = ("load", "shadow", "canary", "watching")
"""When a fault begins: before the load, with the first copied request, with the first client's, after the promotion."""

_RUNS_TO_THE_LIMIT: Final = 40
_FAULTS: Final = {
    "slow": Fault("slow", factor=3.0, seconds=0.002),
    "error": Fault("error", rate=0.2),
    "nan": Fault("nan", rate=0.2),
    "labels": Fault("labels"),
    "leak": Fault("leak"),
    "crash": Fault("crash", rate=0.05),
    "hang": Fault("hang", rate=0.05),
}


@dataclass(frozen=True, slots=True)
class Case:
    """A candidate of a rehearsal.

    Attributes:
        kind: of its fault, or `healthy`.
        moment: one of `MOMENTS`, for a bad one.
    """

    kind: str
    moment: str = "canary"

    @property
    def bad(self) -> bool:
        """Whether it has to be taken back."""
        return self.kind != HEALTHY

    @property
    def name(self) -> str:
        """`labels@load`; `healthy`."""
        return f"{self.kind}@{self.moment}" if self.bad else self.kind

    def faults(self, arming: str, memory_limit: int) -> list[dict[str, Any]]:
        """Return its entry for the file of `--faults`.

        Args:
            arming: path of the file that will arm it.
            memory_limit: bytes of the plan; a leak reaches it in forty runs.
        """
        if not self.bad:
            return []
        leaked = max(1 << 20, memory_limit // _RUNS_TO_THE_LIMIT)
        fault = msgspec.structs.replace(_FAULTS[self.kind], when=arming, bytes=leaked)
        return [msgspec.structs.asdict(fault)]


def default_cases() -> list[Case]:
    """Return one candidate of every kind, the healthy one first."""
    return [Case(HEALTHY), *(Case(kind, _usual_moment(kind)) for kind in KINDS)]


def read_case(text: str) -> Case:
    """Read `KIND` or `KIND@MOMENT`.

    Raises:
        ValueError: it is neither.
    """
    kind, at, moment = text.strip().partition("@")
    if kind == HEALTHY and not at:
        return Case(HEALTHY)
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind; the kinds are {', '.join((HEALTHY, *KINDS))}")
    if at and moment not in MOMENTS:
        raise ValueError(f"{moment!r} is no moment for a fault to begin; the moments are {', '.join(MOMENTS)}")
    return Case(kind, moment or _usual_moment(kind))


def _usual_moment(kind: str) -> str:
    """Wrong answers of the right form show only where both versions' answers are compared: in the shadow step."""
    return "shadow" if kind == "labels" else "canary"


def moment_reached(moment: str, rollout: dict[str, Any]) -> bool:
    """Whether a rollout, as the control port shows it, is far enough for a fault to begin."""
    phase = str(rollout["phase"])
    if moment == "load":
        return True
    if moment == "shadow":
        return phase in ("shadowing", "progressing", "promoting", "watching")
    if moment == "canary":
        return phase in ("progressing", "promoting", "watching")
    return phase == "watching"


def repeated(cases: Sequence[Case], runs: int) -> list[Case]:
    """Return every case so often, in turns, so that a short rehearsal has seen all kinds."""
    return [case for _ in range(runs) for case in cases]
