"""What a webhook is sent: our own JSON, or what Alertmanager's API v2 takes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec


def ours(alert: Mapping[str, Any]) -> bytes:
    """One alert as it is in the events; a receiver that sees the same `id` twice has seen it before."""
    return msgspec.json.encode(dict(alert))


def alertmanagers(alerts: Iterable[Mapping[str, Any]], source: str) -> bytes:
    """Several alerts as `POST /api/v2/alerts` has them.

    Labels say which alert it is, so they are the same when it is resolved; without `endsAt` it fires.

    Args:
        alerts: as in the events.
        source: address of this server's control port.
    """
    return msgspec.json.encode([_alertmanagers(alert, source) for alert in alerts])


def _alertmanagers(alert: Mapping[str, Any], source: str) -> dict[str, Any]:
    name = "Changeover" + "".join(word.capitalize() for word in alert["alert"].split("_"))
    labels = {"alertname": name, "severity": alert["severity"], "instance": source.partition("://")[2]}
    labels |= {label: alert[label] for label in ("model", "version") if alert.get(label) is not None}
    annotations = {"summary": alert["detail"], "rollout": alert["rollout"] or ""}
    told = {
        "labels": labels,
        "annotations": {label: text for label, text in annotations.items() if text},
        "startsAt": alert["since"],
        "generatorURL": source,
    }
    return told if alert["state"] == "firing" else {**told, "endsAt": alert["time"]}
