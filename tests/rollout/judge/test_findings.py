"""Findings: the values that everything else speaks of."""

from __future__ import annotations

import json

from changeover.rollout.judge.findings import ALPHA, PARTS, Limits, Verdict


def test_words_are_those_of_the_design() -> None:
    """Scripts match on them."""
    assert [str(verdict) for verdict in Verdict] == ["failed", "clear", "passed", "inconclusive", "waiting"]
    assert json.dumps(Verdict.CLEAR) == '"clear"'


def test_limits_are_the_alerts_of_the_design() -> None:
    """Latency +50 %, errors 0.1 points, disagreement 1 %, memory 80 %; one in a hundred, in five parts."""
    assert Limits() == Limits(latency_increase=0.5, error_rate=0.001, disagreement=0.01, memory=0.8)
    assert ALPHA / PARTS == 0.002
