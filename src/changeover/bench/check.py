"""Is an answer the one its version must give? Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Outcome(enum.IntEnum):
    """What became of a request."""

    OK = 0
    WRONG = 1  # the values are no version's
    WRONG_VERSION = 2  # the values are those of another version than the answer says
    FAILED = 3  # no answer, or one with an error status
    SHED = 4  # refused with 503 because a queue was full


class AnswerChecker:
    """Compares answers with what each version must answer.

    Args:
        expected: by version, the right values for each sample, samples on the first axis. One array object may stand
            for several versions that answer alike.
        tolerance: absolute and relative difference up to which two numbers are equal; NaN never is, texts must be the
            same.
    """

    def __init__(self, expected: Mapping[str, Array], tolerance: float) -> None:
        distinct: dict[int, Array] = {id(values): values for values in expected.values()}
        self._candidates = list(distinct.values())
        position = {key: i for i, key in enumerate(distinct)}
        self._candidate_of = {version: position[id(values)] for version, values in expected.items()}
        self._tolerance = tolerance

    def outcome(self, sample: int, version: str, values: Array) -> Outcome:
        """Judge the values that an answer to `sample` brought in the name of `version`."""
        flat = values.reshape(-1)
        own = self._candidate_of.get(version)
        if own is not None and self._equal(self._candidates[own][sample], flat):
            return Outcome.OK
        others = (c for i, c in enumerate(self._candidates) if i != own)
        matched = any(self._equal(candidate[sample], flat) for candidate in others)
        return Outcome.WRONG_VERSION if matched else Outcome.WRONG

    def _equal(self, right: Array, flat: Array) -> bool:
        right = right.reshape(-1)
        if right.shape != flat.shape:
            return False
        if flat.dtype.kind == "O":
            return [_text(value) for value in right.tolist()] == [_text(value) for value in flat.tolist()]
        difference = np.abs(flat.astype(np.float64) - right)
        return bool((difference <= self._tolerance * (1 + np.abs(right))).all())


def _text(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
