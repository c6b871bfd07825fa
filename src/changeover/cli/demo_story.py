"""What happens in the demo: version 2 takes over step by step, 3 is stopped by a gate, 4 is taken back from clients."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from changeover.cli.client import ControlClient
from changeover.cli.rollouts import wait_for
from changeover.client.ask import Document
from changeover.client.upload import ONNX
from changeover.demo import digits
from changeover.errors import NotFound

if TYPE_CHECKING:
    from changeover.bench import BenchProcess

OnEvent = Callable[[str], None]

_STEADY = 2.0  # seconds of traffic with nothing going on, between two versions
_ROLLOUT_WITHIN = 60.0
_CERTIFICATE_WITHIN = 15.0


def tell(client: ControlClient, bench: BenchProcess, on_event: OnEvent) -> Document:
    """Play the story and return everything that was measured, with the verdict in `passed`.

    Raises:
        ChangeoverError: the server or the load generator broke down.
    """
    on_event("version 1 serves")
    rollouts = {}
    for version, model in _versions():
        time.sleep(_STEADY)
        rollouts[version] = _bring(client, version, model, on_event)
    time.sleep(_STEADY)
    active = client.model(digits.MODEL)["active"]
    bench.stop()
    result = bench.result(60.0)
    certificate = _certificate(client, rollouts["2"]["id"])
    checks = _checks(result, certificate, str(active), rollouts)
    return {
        "passed": all(checks.values()),
        "checks": checks,
        "certificate": certificate,
        "rollouts": rollouts,
        "traffic": result,
    }


def _versions() -> list[tuple[str, bytes]]:
    second = digits.model_bytes("2")
    return [("2", second), ("3", digits.make_mislabelled(second)), ("4", second)]


def _bring(client: ControlClient, version: str, model: bytes, on_event: OnEvent) -> Document:
    """Push a version and return its rollout once the outcome is known."""
    on_event(f"push of version {version}")
    pushed = client.push(digits.MODEL, io.BytesIO(model), ONNX, version)
    rollout = wait_for(client, pushed["rollout"], _ROLLOUT_WITHIN, lambda r: on_event(_event(version, r)))
    return {**client.rollout(rollout["id"]), **rollout}


def _event(version: str, rollout: Document) -> str:
    """Return the rollout's place in a few words."""
    phase, step = str(rollout["phase"]), rollout.get("step") or {}
    if phase == "watching":
        return f"version {version} serves"
    if phase == "failed":
        return f"version {version} refused: {rollout['reason']}"
    if phase in ("rolling_back", "rolled_back"):
        return f"version {version} taken back: {rollout['reason']}"
    return f"version {version}: {step['name'] if step.get('name') else phase}"


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


def _checks(
    result: Document, certificate: Document | None, active: str, rollouts: dict[str, Document]
) -> dict[str, bool]:
    """Return what the demo is to show, each with whether it did."""
    counted = (certificate or {}).get("requests") or {"total": 0, "failed": -1}
    third, fourth = rollouts["3"], rollouts["4"]
    failed = {gate["gate"] for gate in third.get("gates") or () if gate["result"] == "failed"}
    return {
        "no request failed": result["failed"] + result["shed"] == 0 and result["requests"] > 0,
        "every answer had the values of the version it named": result["wrong"] + result["wrong_version"] == 0,
        "versions 1, 2 and for a while 4 answered, version 3 never": set(result["versions"]) == {"1", "2", "4"},
        "version 2 serves": active == "2",
        "version 3, with wrong labels, was stopped by its accuracy gate": failed == {"accuracy"},
        "version 4 was taken back while it had clients": fourth["phase"] == "rolled_back",
        "the certificate counts no failure": counted["failed"] == 0 and counted["total"] > 0,
    }
