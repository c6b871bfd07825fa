"""Why a step is refused, as errors with a stable reason. Pure.

| reason | error | meaning |
|---|---|---|
| `sequence_unknown` | `InvalidRequest` | no version has such a sequence: its first step must say `sequence_start` |
| `sequence_ended` | `InvalidRequest` | its last step was answered |
| `sequence_expired` | `InvalidRequest` | it had no step for longer than `sequence.idle` |
| `sequence_lost` | `Internal` | its state went to a version that is gone |
| `sequence_moving` | `Overloaded` | it moves faster than this gateway can follow |
| `sequences_full` | `Overloaded` | as many live as `sequence.max` allows |
| `sequence_rows` | `InvalidRequest` | a step has one row |
| `state_mismatch` | `ModelRunFailed` | the version cannot take over the state of the one before |
| `state_too_large` | `ModelRunFailed` | state or answer of the step are larger than was declared |
| `output_not_finite` | `ModelRunFailed` | the step gave NaN or an infinity, so it was not taken |
"""

from __future__ import annotations

from typing import Final

from changeover.errors import ChangeoverError, Internal, InvalidRequest, ModelRunFailed, Overloaded
from changeover.sequences.wire import Status, Told, identity

_BEGIN: Final = "sequence_start"


def refusal(why: str, tag: bytes) -> ChangeoverError:
    """The error for a step of this sequence; `why` is its reason."""
    name = f"sequence {identity(tag)!r}"
    if why == "sequence_unknown":
        return InvalidRequest(f"{name} is not known: its first step must say {_BEGIN}", reason="sequence_unknown")
    if why == "sequence_ended":
        return InvalidRequest(f"{name} has ended: its next step must say {_BEGIN}", reason="sequence_ended")
    if why == "sequence_expired":
        what = f"had no step for longer than the model keeps it (sequence.idle): begin again with {_BEGIN}"
        return InvalidRequest(f"{name} {what}", reason="sequence_expired")
    if why == "sequences_full":
        what = "cannot begin: as many live as the model takes (sequence.max); end some, or retry later"
        return Overloaded(f"{name} {what}", reason="sequences_full")
    if why == "sequence_moving":
        return Overloaded(f"{name} is being moved from version to version; retry", reason="sequence_moving")
    what = "is lost: its state went to a version that is gone"
    return Internal(f"{name} {what}; begin again with {_BEGIN}", reason="sequence_lost")


def run_failure(told: Told) -> ModelRunFailed | None:
    """The error of a step that changed nothing by the model's fault, None where it went otherwise."""
    if told.status is Status.NOT_FINITE:
        what = "the step gave NaN or an infinity and was not taken"
        return ModelRunFailed(what, reason="output_not_finite")
    if told.status is Status.TOO_LARGE:
        what = "state or answer of the step are larger than declared (sequence.state max, sequence.answer_limit)"
        return ModelRunFailed(what, reason="state_too_large")
    if told.status is Status.BAD_STATE:
        why = told.body.decode("utf-8", "replace")[:500]
        return ModelRunFailed(f"the version cannot take over the state: {why}", reason="state_mismatch")
    return None


def one_row(rows: int) -> None:
    """A step has one row.

    Raises:
        InvalidRequest: it has more (`sequence_rows`).
    """
    if rows != 1:
        raise InvalidRequest(f"a step of a sequence has one row, got {rows}", reason="sequence_rows")
