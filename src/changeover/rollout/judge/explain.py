"""Findings as sentences for operators, with their numbers. Pure."""

from __future__ import annotations

import math
from typing import Final

from changeover.rollout.judge.findings import ALPHA, PARTS, Finding, Ruling, Verdict

_TITLES: Final = {
    "errors": "Errors",
    "work_p50": "Work, typical batch",
    "work_p95": "Work, slow batch",
    "agreement": "Agreement",
    "guard": "Latency guard",
    "utilisation": "Utilisation",
}
_NOISE: Final = 2.0
"""Odds below which there is no evidence worth a number."""
_OPENINGS: Final = {
    Verdict.FAILED: "The candidate failed",
    Verdict.CLEAR: "The step is clear",
    Verdict.PASSED: "The candidate is shown to keep its limits",
    Verdict.INCONCLUSIVE: "The step ended without a verdict",
    Verdict.WAITING: "The step goes on",
}
_EXCLUDED: Final = {
    "errors": "errors {:.3g} points more",
    "work_p50": "work p50 {:.3g} % more",
    "work_p95": "work p95 {:.3g} % more",
    "agreement": "{:.3g} % disagreement",
}
_LIMITS: Final = {
    "errors": "limit: {:.3g} points above the active version",
    "work_p50": "limit: +{:.3g} %",
    "work_p95": "limit: +{:.3g} %",
    "agreement": "limit: {:.3g} %",
    "guard": "limit: +{:.3g} %",
    "utilisation": "limit: {:.3g} %",
}


def sentences(ruling: Ruling) -> list[str]:
    """Why a step is where it is: the ruling first, then each test that has seen anything."""
    opening = f"{_OPENINGS[ruling.verdict]}: {ruling.detail}."
    return [opening, *(sentence(finding) for finding in ruling.findings)]


def sentence(finding: Finding) -> str:
    """One finding: what was seen, against which limit, and how strong the evidence is."""
    text = f"{_TITLES[finding.test]}: {finding.detail} ({_LIMITS[finding.test].format(finding.limit * 100)})"
    if finding.test not in _EXCLUDED or finding.estimate is None:
        return text + "."
    odds = math.exp(min(max(finding.log_e, 0.0), 50.0))
    if odds < _NOISE:
        text += "; nothing speaks against the candidate"
    else:
        text += f"; evidence against the candidate {odds:.3g} to 1, it fails at {PARTS / ALPHA:.0f} to 1"
    return text + (f"; about {finding.need:,} more are needed to prove the limit." if finding.need else ".")


def reached(findings: tuple[Finding, ...], units: int) -> str:
    """What a good step has shown: the smallest regression that each test excludes so far."""
    shown = [
        _EXCLUDED[finding.test].format(finding.high * 100)
        for finding in findings
        if finding.test in _EXCLUDED and finding.high is not None and finding.estimate is not None
    ]
    begin = f"nothing failed in {units:,} requests"
    return (
        f"{begin}; excluded so far, or worse: {', '.join(shown)}" if shown else f"{begin}; too few to exclude anything"
    )


def missing(number: int, what: str, seen: int, elapsed: float) -> str:
    """How much more is needed, and how long that takes as it goes now."""
    text = f"need about {number:,} more {what} ({seen:,} so far)"
    if seen and elapsed > 0:
        text += f", some {_duration(number / (seen / elapsed))} at this rate"
    return text


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
