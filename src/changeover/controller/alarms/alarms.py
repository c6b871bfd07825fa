"""Which alarms fire: each begins once and ends once, whatever its condition does in between. Pure but for the clock."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from changeover.clock import utc_now
from changeover.controller.alarms.condition import RULES, Condition, Key

State = Literal["firing", "resolved"]
_UNKNOWN: Final = 300
"""Looks in a row without an answer, after which an alarm ends: nobody sends requests any more."""
_GONE: Final = "what it was about is no more"
_SILENT: Final = "nothing was to be seen of it for five minutes"


@dataclass(frozen=True, slots=True)
class Alarm:
    """One that fires, or has fired.

    Attributes:
        since: when it began, RFC 3339.
        seen: the condition when it began; when it is resolved, the last one.
    """

    key: Key
    state: State
    since: str
    seen: Condition

    def body(self) -> dict[str, Any]:
        """As the events, the journal and the webhook have it."""
        seen = self.seen
        return {
            "alert": self.key.alert,
            "state": self.state,
            "severity": RULES[self.key.alert].severity,
            "version": self.key.version,
            "rollout": seen.rollout,
            "value": seen.value,
            "limit": seen.limit,
            "baseline": seen.baseline,
            "since": self.since,
            "detail": seen.detail,
        }


def read(model: str | None, body: Mapping[str, Any]) -> Alarm:
    """The alarm that `body` told.

    Raises:
        KeyError: it is none of ours.
    """
    key = Key(body["alert"], model, body["version"])
    RULES[key.alert]
    numbers = body["value"], body["limit"]
    return Alarm(
        key,
        body["state"],
        body["since"],
        Condition(key, True, *numbers, body["detail"], body["rollout"], body["baseline"]),
    )


@dataclass(slots=True)
class _Streak:
    bad: int = 0
    good: int = 0
    unknown: int = 0


class Alarms:
    """All that fire.

    Attributes:
        firing: by key.
    """

    def __init__(self, firing: Iterable[Alarm] = ()) -> None:
        self.firing = {alarm.key: alarm for alarm in firing}
        self._streaks: dict[Key, _Streak] = {}

    def look(self, conditions: Iterable[Condition], unknown: Container[str | None] = ()) -> list[Alarm]:
        """One look at everything; those that begin or end by it.

        Args:
            conditions: of everything that there is.
            unknown: models of which it is not known yet what there is: what is missing there is not gone.
        """
        seen = {condition.key: condition for condition in conditions}
        changes = [change for condition in seen.values() if (change := self._change(condition)) is not None]
        changes += [self._end(key, _GONE) for key in self._missing(seen, unknown)]
        self._streaks = {key: streak for key, streak in self._streaks.items() if key in seen}
        return changes

    def _missing(self, seen: Container[Key], unknown: Container[str | None]) -> list[Key]:
        return [key for key in self.firing if key not in seen and key.model not in unknown]

    def _change(self, condition: Condition) -> Alarm | None:
        key, rule = condition.key, RULES[condition.key.alert]
        streak = self._streaks.get(key)
        if streak is None:
            if not condition.bad and key not in self.firing:
                return None  # as nearly everything is: there is nothing to count
            streak = self._streaks[key] = _Streak()
        streak.unknown = streak.unknown + 1 if condition.bad is None else 0
        if condition.bad is not None:
            streak.bad = streak.bad + 1 if condition.bad else 0
            streak.good = 0 if condition.bad else streak.good + 1
        if key not in self.firing:
            return self._begin(condition) if condition.bad and streak.bad >= rule.hold else None
        if streak.unknown >= _UNKNOWN:
            return self._end(key, _SILENT)
        return self._end(key, condition.detail, condition) if streak.good >= rule.clear else None

    def _begin(self, condition: Condition) -> Alarm:
        alarm = self.firing[condition.key] = Alarm(condition.key, "firing", utc_now(), condition)
        return alarm

    def _end(self, key: Key, detail: str, condition: Condition | None = None) -> Alarm:
        alarm = self.firing.pop(key)
        seen = replace(condition or alarm.seen, detail=detail, rollout=alarm.seen.rollout)
        return replace(alarm, state="resolved", seen=replace(seen, baseline=alarm.seen.baseline))
