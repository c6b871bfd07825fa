"""Refusals of steps."""

from __future__ import annotations

import pytest

from changeover.errors import InvalidRequest
from changeover.gateway.sequences.refusals import one_row, refusal, run_failure
from changeover.sequences.wire import Status, Told, sequence_tag


@pytest.mark.parametrize(
    ("reason", "fault"),
    [
        ("sequence_unknown", "caller"),
        ("sequence_ended", "caller"),
        ("sequence_expired", "caller"),
        ("sequence_lost", "server"),
        ("sequence_moving", "server"),
        ("sequences_full", "server"),
    ],
)
def test_a_refusal_has_its_reason_and_names_the_sequence(reason: str, fault: str) -> None:
    """And says whose fault it is."""
    error = refusal(reason, sequence_tag("abc"))
    assert (error.reason, error.fault) == (reason, fault)
    assert "'abc'" in error.message


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (Status.NOT_FINITE, "output_not_finite"),
        (Status.TOO_LARGE, "state_too_large"),
        (Status.BAD_STATE, "state_mismatch"),
    ],
)
def test_a_step_that_changed_nothing_by_the_models_fault(status: Status, reason: str) -> None:
    """It is a failed run as any other."""
    error = run_failure(Told(status, body=b"why"))
    assert error is not None
    assert (error.reason, error.fault) == (reason, "model")


def test_other_answers_are_no_failures() -> None:
    """They say where to go on."""
    assert run_failure(Told(Status.MOVED)) is None
    one_row(1)
    with pytest.raises(InvalidRequest, match="one row"):
        one_row(2)
