"""What a gate says when it refuses."""

from __future__ import annotations

from typing import Any

from changeover.transport.control import GateResult


def failed(gate: str, reason: str, detail: str, evidence: dict[str, Any] | None = None) -> GateResult:
    """A refusal: a stable word for programs, a sentence for people, and the numbers behind it."""
    return GateResult(gate, "failed", detail, {"reason": reason, **(evidence or {})})
