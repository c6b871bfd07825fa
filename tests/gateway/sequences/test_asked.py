"""What a request says of its sequence."""

from __future__ import annotations

import pytest

from changeover.errors import InvalidRequest
from changeover.gateway.sequences.asked import Asked, asked


@pytest.mark.parametrize("identity", [1, (1 << 64) - 1, "a", "é" * 64])
def test_ids_are_numbers_or_texts(identity: int | str) -> None:
    """As Triton takes them; flags that are not sent are off."""
    assert asked({"sequence_id": identity, "sequence_end": True}) == Asked(identity, False, True)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({}, "sequence_id_missing"),
        ({"sequence_id": 0}, "sequence_id_missing"),
        ({"sequence_id": ""}, "sequence_id_missing"),
        ({"sequence_id": -1}, "sequence_id_invalid"),
        ({"sequence_id": 1 << 64}, "sequence_id_invalid"),
        ({"sequence_id": 1.5}, "sequence_id_invalid"),
        ({"sequence_id": True}, "sequence_id_invalid"),
        ({"sequence_id": False}, "sequence_id_invalid"),
        ({"sequence_id": "é" * 65}, "sequence_id_invalid"),
        ({"sequence_id": 1, "sequence_start": 1}, "sequence_flag_invalid"),
        ({"sequence_id": 1, "sequence_end": "yes"}, "sequence_flag_invalid"),
    ],
)
def test_what_is_none_is_refused(parameters: dict[str, object], reason: str) -> None:
    """With a reason that a program can tell apart."""
    with pytest.raises(InvalidRequest) as refused:
        asked(parameters)
    assert refused.value.reason == reason
