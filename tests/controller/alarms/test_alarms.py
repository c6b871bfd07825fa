"""Alarms begin once and end once."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from changeover.controller.alarms import alarms as module
from changeover.controller.alarms.alarms import Alarm, Alarms, read
from changeover.controller.alarms.condition import RULES, Condition, Key

KEY = Key("latency_over_past", "m", "4")
BAD = Condition(KEY, True, 0.02, 0.015, "slow", "r-1", 0.01)
GOOD = replace(BAD, bad=False, value=0.01, detail="well")
UNKNOWN = Condition(KEY, None)


def looks(alarms: Alarms, *conditions: Condition) -> list[str]:
    """What came of these looks, one after the other."""
    return [change.state for condition in conditions for change in alarms.look([condition])]


def test_it_fires_once_after_it_has_held() -> None:
    """Three bad looks in a row, not two and one; however long it stays bad, once."""
    alarms = Alarms()
    assert looks(alarms, BAD, BAD, GOOD, BAD, BAD) == []
    assert looks(alarms, BAD, *[BAD] * 50) == ["firing"]
    assert list(alarms.firing) == [KEY]


def test_it_is_resolved_once_after_it_was_well_for_a_while() -> None:
    """Ten good looks in a row; what is unknown neither helps nor harms; then it may fire again."""
    alarms = Alarms()
    looks(alarms, BAD, BAD, BAD)
    assert looks(alarms, *[GOOD] * 9, BAD, *[GOOD] * 5, *[UNKNOWN] * 20, *[GOOD] * 4) == []
    (resolved,) = alarms.look([GOOD])
    assert (resolved.state, resolved.seen.detail, resolved.seen.rollout) == ("resolved", "well", "r-1")
    assert looks(alarms, GOOD, GOOD) == []
    assert looks(alarms, BAD, BAD, BAD) == ["firing"]


def test_what_is_gone_is_resolved() -> None:
    """A version that was released, and what nobody has asked for five minutes."""
    alarms = Alarms()
    looks(alarms, BAD, BAD, BAD)
    (gone,) = alarms.look([])
    assert (gone.state, alarms.firing) == ("resolved", {})
    looks(alarms, BAD, BAD, BAD)
    assert looks(alarms, *[UNKNOWN] * (module._UNKNOWN - 1)) == []
    assert looks(alarms, UNKNOWN) == ["resolved"]


def test_a_next_controller_repeats_nothing() -> None:
    """What was on record fires on, with its beginning; it ends as ever."""
    first = Alarms()
    (alarm,) = [change for _ in range(3) for change in first.look([BAD])]
    kept = msgspec.json.decode(msgspec.json.encode(alarm.body()))
    second = Alarms([read("m", kept)])
    assert second.firing == {KEY: alarm}
    assert looks(second, UNKNOWN, BAD, BAD, BAD, BAD) == []
    assert looks(second, *[GOOD] * 10) == ["resolved"]


def test_a_body_says_all() -> None:
    """For events, webhook and journal alike."""
    assert Alarm(KEY, "firing", "2026-01-31T12:00:00Z", BAD).body() == {
        "alert": "latency_over_past", "state": "firing", "severity": "critical", "version": "4", "rollout": "r-1",
        "value": 0.02, "limit": 0.015, "baseline": 0.01, "since": "2026-01-31T12:00:00Z", "detail": "slow",
    }  # fmt: skip
    assert RULES["latency_anomaly"].severity == "warning"


def test_what_is_not_known_yet_is_not_gone() -> None:
    """Of a model that is being taken over; another one's alarm is over, and so is its own when it is known."""
    alarms, other = Alarms(), replace(BAD, key=KEY._replace(model="n"))
    for _ in range(3):
        alarms.look([BAD, other])
    assert [change.key.model for change in alarms.look([], {"m"})] == ["n"]
    assert list(alarms.firing) == [KEY]
    assert [change.state for change in alarms.look([])] == ["resolved"]
