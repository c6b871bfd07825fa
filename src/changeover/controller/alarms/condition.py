"""What an alarm is about: a condition, looked at once a second, and the rule that it falls under. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

Severity = Literal["critical", "warning"]


@dataclass(frozen=True, slots=True)
class Rule:
    """How long a condition has to hold.

    Attributes:
        hold: looks in a row, a second apart, at which it is bad before the alarm fires.
        clear: looks in a row at which it is good before the alarm is resolved.
    """

    hold: int
    clear: int
    severity: Severity = "critical"


RULES: Final = {
    "latency_over_other": Rule(2, 10),  # both are looked at in the same seconds, so what slows the machine is no news
    "latency_over_past": Rule(3, 10),
    "errors": Rule(1, 10),
    "memory": Rule(3, 10),
    "rollout_stuck": Rule(1, 1),
    "worker_crash_loop": Rule(1, 3),
    "latency_anomaly": Rule(1, 60, "warning"),  # a score is of ten seconds: one that is good says little
    "errors_anomaly": Rule(1, 60, "warning"),
}
"""By the alert's name. The first four fire within 5 s of the first bad second."""


class Key(NamedTuple):
    """Which alarm: one of each kind for a version, a model, or the machine."""

    alert: str
    model: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        return "/".join(part for part in (self.alert, self.model, self.version) if part is not None)


@dataclass(frozen=True, slots=True)
class Condition:
    """One look. One that is well, and of which no alarm fires, need say nothing but that.

    Attributes:
        bad: whether it is; None where too little is known to say so.
        value: what was seen, `limit` what is allowed, in the unit that `detail` names.
        detail: a sentence.
        rollout: id of the rollout that it belongs to.
        baseline: what was normal when the alarm began, where it is compared with the past.
    """

    key: Key
    bad: bool | None
    value: float | None = None
    limit: float | None = None
    detail: str = ""
    rollout: str | None = None
    baseline: float | None = None
