"""Sentences: what a finding says to people."""

from __future__ import annotations

from dataclasses import replace

from changeover.rollout.judge.explain import missing, reached, sentence, sentences
from changeover.rollout.judge.findings import Finding, Ruling, Verdict

ERRORS = Finding("errors", Verdict.WAITING, 2.0, 0.004, 0.0, 0.02, 0.001, "3 of 700 requests failed", 5_000)
GUARD = Finding("guard", Verdict.WAITING, 0.0, None, 0.0, None, 0.5, "too few requests for the guard yet")


def test_a_finding_has_its_numbers() -> None:
    """What was seen, the limit, the odds, and what is needed."""
    text = sentence(ERRORS)
    assert text == (
        "Errors: 3 of 700 requests failed (limit: 0.1 points above the active version); evidence against the candidate "
        "7.39 to 1, it fails at 500 to 1; about 5,000 more are needed to prove the limit."
    )
    assert sentence(GUARD) == "Latency guard: too few requests for the guard yet (limit: +50 %)."


def test_odds_of_one_to_one_are_no_evidence() -> None:
    """Neither are those that speak for it."""
    for log_e in (-3.0, 0.0, 0.6):
        assert (
            "limit: 0.1 points above the active version); nothing speaks against the candidate; about 5,000"
            in sentence(replace(ERRORS, log_e=log_e))
        )


def test_a_ruling_comes_first() -> None:
    """Then its findings, one sentence each."""
    ruling = Ruling(Verdict.FAILED, "error_rate", "30 of 700 requests failed", (ERRORS, GUARD))
    said = sentences(ruling)
    assert said[0] == "The candidate failed: 30 of 700 requests failed."
    assert len(said) == 3


def test_a_clear_step_states_what_is_excluded() -> None:
    """Or that nothing is."""
    assert (
        reached((ERRORS, GUARD), 700)
        == "nothing failed in 700 requests; excluded so far, or worse: errors 2 points more"
    )
    assert reached((GUARD,), 3) == "nothing failed in 3 requests; too few to exclude anything"


def test_what_is_missing_comes_with_a_time() -> None:
    """As it goes now; without a rate there is none."""
    assert missing(100, "keys", 50, 10.0) == "need about 100 more keys (50 so far), some 20 s at this rate"
    assert missing(1_000, "keys", 50, 10.0).endswith("some 3 min at this rate")
    assert missing(100_000, "keys", 50, 10.0).endswith("some 6 h at this rate")
    assert missing(100, "keys", 0, 10.0) == "need about 100 more keys (0 so far)"
