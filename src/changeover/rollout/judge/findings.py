"""What the judge says: verdicts, findings of single tests, and the ruling that they come to. Pure values."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

ALPHA: Final = 0.01
"""Chance that a rollout of a candidate that is no worse than its limits is taken back, over the whole rollout."""
PARTS: Final = 5
"""`ALPHA` is split evenly over errors, work p50, work p95, agreement and a reserve for what is added later."""


class Verdict(enum.StrEnum):
    """What is known of a candidate, or of one side of it.

    `FAILED`: a test crossed. `CLEAR`: hold and minimum reached, nothing failed. `PASSED`: shown to be no worse than
    the limits. `INCONCLUSIVE`: not decided by the time given. `WAITING`: going on.
    """

    FAILED = "failed"
    CLEAR = "clear"
    PASSED = "passed"
    INCONCLUSIVE = "inconclusive"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a candidate may be worse by.

    Attributes:
        latency_increase: of the work of a batch, and end to end, as a share: 0.5 is half as much again.
        error_rate: failures beyond the active version's, of all requests: 0.001 is 0.1 percentage points.
        disagreement: share of mirrored requests that may be answered otherwise than by the active version.
        memory: share of the limit; watched elsewhere.
    """

    latency_increase: float = 0.5
    error_rate: float = 0.001
    disagreement: float = 0.01
    memory: float = 0.8


@dataclass(frozen=True, slots=True)
class Finding:
    """What one test has found.

    Attributes:
        test: `errors`, `work_p50`, `work_p95`, `agreement`, `guard` or `utilisation`.
        verdict: of this test alone.
        log_e: natural logarithm of the evidence against the candidate; failed at `log(1 / its share of ALPHA)`.
        estimate: of what the limit is about; `None` without data.
        low: all below is excluded, at the test's share of ALPHA.
        high: all above is excluded; `None`: nothing is yet.
        limit: of the plan.
        detail: the finding in a sentence.
        need: how many more units (see the sentence) are needed, where that can be said.
        against: it has not failed, and what it saw speaks against the candidate: no step is clear meanwhile.
    """

    test: str
    verdict: Verdict
    log_e: float
    estimate: float | None
    low: float
    high: float | None
    limit: float
    detail: str
    need: int | None = None
    against: bool = False


@dataclass(frozen=True, slots=True)
class Ruling:
    """What all tests together come to.

    Attributes:
        verdict: of the step.
        reason: stable word: `error_rate`, `latency_increase`, `disagreement` or `latency_guard` when it failed;
            `needs_more`, `needs_keys`, `needs_proof` or `utilisation` when something is missing, `doubt` when what was
            seen speaks against the candidate; else the verdict.
        detail: sentence to it, with numbers.
        findings: of the single tests.
    """

    verdict: Verdict
    reason: str
    detail: str
    findings: tuple[Finding, ...] = ()
