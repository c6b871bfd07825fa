"""What happens in the demo: version 2 takes over under load, a broken version 3 is refused."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from changeover.cli.client import ControlClient
from changeover.cli.push import ONNX
from changeover.cli.rollouts import wait_for
from changeover.demo import digits
from changeover.errors import NotFound

if TYPE_CHECKING:
    from changeover.bench import BenchProcess

Document = dict[str, Any]
OnEvent = Callable[[str], None]

_STEADY = 3.0  # seconds of traffic with nothing going on, before and after
_SETTLING = 5.0  # seconds after the changeover: undo window, drain, release
_ROLLOUT_WITHIN = 30.0
_CERTIFICATE_WITHIN = 15.0


def tell(client: ControlClient, bench: BenchProcess, on_event: OnEvent) -> Document:
    """Play the story and return everything that was measured, with the verdict in `passed`.

    Raises:
        ChangeoverError: the server or the load generator broke down.
    """
    on_event("version 1 serves")
    time.sleep(_STEADY)
    second = _bring(client, "2", digits.model_bytes("2"), on_event)
    time.sleep(_SETTLING)
    third = _bring(client, "3", digits.make_broken(digits.model_bytes("2")), on_event)
    time.sleep(_STEADY)
    active = client.model(digits.MODEL)["active"]
    bench.stop()
    result = bench.result(60.0)
    certificate = _certificate(client, second["id"])
    checks = _checks(result, certificate, str(active), str(third["phase"]))
    return {
        "passed": all(checks.values()),
        "checks": checks,
        "certificate": certificate,
        "rollouts": {"2": second, "3": third},
        "traffic": result,
    }


def _bring(client: ControlClient, version: str, model: bytes, on_event: OnEvent) -> Document:
    """Push a version and return its rollout once the outcome is known."""
    on_event(f"push of version {version}")
    pushed = client.push(digits.MODEL, io.BytesIO(model), ONNX, version)
    rollout = wait_for(client, pushed["rollout"], _ROLLOUT_WITHIN)
    if rollout["phase"] in ("watching", "succeeded"):
        on_event(f"version {version} serves")
    else:
        on_event(f"version {version} refused: {rollout['reason']}")
    return rollout


def _certificate(client: ControlClient, rollout: str) -> Document | None:
    """Return the certificate; it is written seconds after the switch, when the old version is gone."""
    deadline = time.monotonic() + _CERTIFICATE_WITHIN
    while True:
        try:
            return client.certificate(rollout)
        except NotFound:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.2)


def _checks(result: Document, certificate: Document | None, active: str, third: str) -> dict[str, bool]:
    """Return what the demo is to show, each with whether it did."""
    counted = (certificate or {}).get("requests") or {"total": 0, "failed": -1}
    return {
        "no request failed": result["failed"] + result["shed"] == 0 and result["requests"] > 0,
        "every answer had the values of the version it named": result["wrong"] + result["wrong_version"] == 0,
        "no answer of the old version after the new one's first": result["stale"] == 0,
        "both versions answered": set(result["versions"]) == set(digits.VERSIONS),
        "version 2 serves": active == "2",
        "the broken version 3 was refused": third == "failed",
        "the certificate counts no failure": counted["failed"] == 0 and counted["total"] > 0,
    }
