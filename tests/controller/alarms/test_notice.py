"""What a webhook is sent."""

from __future__ import annotations

import json
from typing import Any

from changeover.controller.alarms.notice import alertmanagers, ours

ALERT: dict[str, Any] = {
    "type": "alert", "id": 9, "at": 1.0, "time": "2026-01-31T12:00:05Z", "model": "m", "alert": "latency_over_past",
    "state": "firing", "severity": "critical", "version": "4", "rollout": "r-1", "value": 0.02, "limit": 0.015,
    "baseline": 0.01, "since": "2026-01-31T12:00:00Z", "detail": "slow",
}  # fmt: skip


def test_our_own_is_the_event() -> None:
    """With its number, by which a receiver knows a repeat."""
    assert json.loads(ours(ALERT)) == ALERT


def test_alertmanagers_form() -> None:
    """A list; the labels of the beginning and the end are the same, or it would never be resolved there."""
    resolved = ALERT | {"state": "resolved", "value": 0.01, "detail": "well", "time": "2026-01-31T12:01:00Z"}
    memory = ALERT | {"alert": "memory", "model": None, "version": None, "rollout": None}
    one, two, three = json.loads(alertmanagers([ALERT, resolved, memory], "http://127.0.0.1:8002"))
    assert one == {
        "labels": {
            "alertname": "ChangeoverLatencyOverPast", "severity": "critical", "instance": "127.0.0.1:8002",
            "model": "m", "version": "4",
        },
        "annotations": {"summary": "slow", "rollout": "r-1"},
        "startsAt": "2026-01-31T12:00:00Z",
        "generatorURL": "http://127.0.0.1:8002",
    }  # fmt: skip
    assert (two["labels"], two["startsAt"], two["endsAt"]) == (one["labels"], one["startsAt"], "2026-01-31T12:01:00Z")
    assert set(three["labels"]) == {"alertname", "severity", "instance"}
    assert three["annotations"] == {"summary": "slow"}
