"""Status bodies of a rollout as the control port gives them, one for each situation."""

from __future__ import annotations

from typing import Any

Status = dict[str, Any]

BEGAN = "2026-01-31T12:00:00.000000Z"
STEPS = ["shadow", "1%", "5%", "25%", "50%", "100%"]
GATES = [
    {
        "gate": "integrity",
        "result": "passed",
        "detail": "every byte has the digest it was sealed under",
        "evidence": {},
    },
    {"gate": "warmup", "result": "passed", "detail": "4 runs, all finite", "evidence": {"runs": 4}},
]


def arm(version: str, requests: int, rps: float, **more: Any) -> Status:
    """What a version answered."""
    times = {"p50_ms": 0.412, "p95_ms": 0.98, "p99_ms": 2.231}
    return {"version": version, "requests": requests, "rps": rps, "failures": 0, "shielded": 0, **times, **more}


def finding(test: str, verdict: str, detail: str, need: int | None = None) -> Status:
    """What a test found."""
    limit = 0.5 if test.startswith("work") else 0.01 if test == "agreement" else 0.001
    numbers = {"log_e": -0.4, "estimate": 0.0, "low": 0.0, "high": 0.002, "limit": limit}
    return {"test": test, "verdict": verdict, "detail": detail, "need": need, **numbers}


def moment(time: str, phase: str, event: str, by: str, *, step: str | None = None, **more: Any) -> Status:
    """Something that happened on the day, at `HH:MM:SS`."""
    nothing = {"weight": None, "reason": None, "detail": None}
    return {"at": f"2026-01-31T{time}Z", "phase": phase, "event": event, "step": step, "by": by, **nothing, **more}


FINDINGS = [
    finding("errors", "waiting", "0 of 745 failed, 0 of 14,253 on the active version: at most 0.41 points more"),
    finding("work_p50", "clear", "1.02 times the active version's, at most 1.19 times", None),
    finding("work_p95", "waiting", "1.10 times the active version's, at most 1.61 times", 57),
    finding("agreement", "clear", "3 of 1,204 compared answers differ, at most 0.87%", None),
]

PROGRESSING: Status = {
    "id": "r-000004",
    "model": "digits",
    "from": {"version": "1", "digest": "f2b1" + "0" * 60},
    "to": {"version": "2", "digest": "e278" + "0" * 60},
    "phase": "progressing",
    "reason": None,
    "detail": None,
    "started": BEGAN,
    "updated": "2026-01-31T12:01:12.000000Z",
    "ended": None,
    "step": {
        "index": 3,
        "name": "5%",
        "of": 6,
        "since": "2026-01-31T12:01:12.000000Z",
        "held_s": 12.1,
        "hold_s": 30.0,
        "requests": 745,
        "min_requests": 1000,
    },
    "weight": {"set": 500, "actual": 0.0496},
    "undo_until": None,
    "arms": {"active": arm("1", 14_253, 475.1), "candidate": arm("2", 745, 24.9, p99_ms=1.33)},
    "ruling": {
        "verdict": "waiting",
        "reason": "needs_more",
        "detail": "18 s and 255 requests are missing at this step",
        "findings": FINDINGS,
    },
    "gates": GATES,
    "steps": STEPS,
    "history": [
        moment("12:00:00", "validating", "started", "operator"),
        moment("12:00:02", "shadowing", "proven", "plan", step="shadow", weight=0),
        moment("12:00:40", "progressing", "step_clear", "judge", step="1%", weight=100, detail="shadow is clear"),
        moment(
            "12:01:12",
            "progressing",
            "step_clear",
            "judge",
            step="5%",
            weight=500,
            detail="1% is clear: no regression above 1.2 points was left possible",
        ),
    ],
    "plan": {"rollout": {"strategy": "canary", "undo_window": 600.0}},
}

VALIDATING = PROGRESSING | {
    "phase": "validating",
    "step": None,
    "weight": None,
    "arms": {"active": arm("1", 14_253, 500.0), "candidate": None},
    "ruling": None,
    "gates": [],
    "history": PROGRESSING["history"][:1],
}

PAUSED = PROGRESSING | {
    "phase": "paused",
    "ruling": PROGRESSING["ruling"]
    | {"verdict": "inconclusive", "detail": "255 requests are missing after 30 minutes: it needs about 255 more"},
    "history": [
        *PROGRESSING["history"],
        moment("12:31:12", "paused", "step_inconclusive", "plan", step="5%", weight=500, detail="inconclusive"),
    ],
}

WATCHING = PROGRESSING | {
    "phase": "watching",
    "step": None,
    "weight": {"set": 9900, "actual": 0.9901},
    "arms": {"active": arm("1", 151, 5.0), "candidate": arm("2", 14_900, 495.0)},
    "undo_until": "2026-01-31T12:14:00+00:00",
}

SUCCEEDED = WATCHING | {
    "phase": "succeeded",
    "weight": None,
    "undo_until": None,
    "ended": "2026-01-31T12:14:00Z",
    "arms": {"active": None, "candidate": None},
    "ruling": None,
}

ROLLED_BACK = PROGRESSING | {
    "phase": "rolled_back",
    "reason": "error_rate",
    "detail": "31 of 745 requests failed on version 2 and none of 14,253 on version 1: at least 1.9 points more",
    "weight": None,
    "ended": "2026-01-31T12:01:25Z",
    "arms": {
        "active": arm("1", 14_253, 475.1),
        "candidate": arm("2", 745, 24.9, failures=31, shielded=31, p50_ms=None, p95_ms=None, p99_ms=None),
    },
    "ruling": {
        "verdict": "failed",
        "reason": "error_rate",
        "detail": "31 of 745 requests failed",
        "findings": [finding("errors", "failed", "31 of 745 failed: at least 1.9 points more"), *FINDINGS[1:]],
    },
    "history": [
        *PROGRESSING["history"],
        moment("12:01:24", "rolling_back", "step_failed", "judge", step="5%", weight=500, detail="error_rate"),
        moment("12:01:25", "rolled_back", "switched", "judge", reason="error_rate"),
    ],
}

FAILED = VALIDATING | {
    "phase": "failed",
    "reason": "output_not_finite",
    "detail": "output scores holds NaN or infinite values at batch size 1",
    "ended": "2026-01-31T12:00:02Z",
    "arms": {"active": None, "candidate": None},
    "gates": [GATES[0], {"gate": "warmup", "result": "failed", "detail": "output scores holds NaN", "evidence": {}}],
}

FIRST = SUCCEEDED | {"from": None}
"""A model's first version: nothing to compare with, and no way back."""

ALL = {
    "progressing": PROGRESSING,
    "validating": VALIDATING,
    "paused": PAUSED,
    "watching": WATCHING,
    "succeeded": SUCCEEDED,
    "rolled_back": ROLLED_BACK,
    "failed": FAILED,
    "first": FIRST,
}
