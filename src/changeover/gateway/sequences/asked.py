"""What a request says of its sequence: `sequence_id`, `sequence_start`, `sequence_end`, as Triton has them. Pure.

| reason | meaning |
|---|---|
| `sequence_id_missing` | the model keeps state, and the request names no sequence |
| `sequence_id_invalid` | the id is no integer from 1 to 2^64 - 1 and no text of 1 to 128 bytes |
| `sequence_flag_invalid` | `sequence_start` or `sequence_end` is no boolean |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from changeover.errors import InvalidRequest

_MOST_ID: Final = (1 << 64) - 1
MOST_TEXT: Final = 128
"""Bytes of an id that is a text."""


class Asked(NamedTuple):
    """One step as the client asks for it."""

    id: int | str
    start: bool
    end: bool


def asked(parameters: Mapping[str, object]) -> Asked:
    """Read a request's parameters.

    Raises:
        InvalidRequest: see the module.
    """
    told = parameters.get("sequence_id")
    if told is None or (told in (0, "") and told is not False):
        raise InvalidRequest(
            "this model keeps state from step to step: name the sequence with the parameter sequence_id, an integer "
            "above 0 or a text",
            reason="sequence_id_missing",
        )
    return Asked(_id(told), _flag(parameters, "sequence_start"), _flag(parameters, "sequence_end"))


def _id(told: object) -> int | str:
    if isinstance(told, int) and not isinstance(told, bool) and 0 < told <= _MOST_ID:
        return told
    if isinstance(told, str) and len(told.encode("utf-8", "replace")) <= MOST_TEXT:
        return told
    shown = repr(told if not isinstance(told, str) else told[:20] + "…")
    raise InvalidRequest(
        f"parameter sequence_id: expected an integer from 1 to 2^64 - 1 or a text of at most {MOST_TEXT} bytes, "
        f"got {shown}",
        reason="sequence_id_invalid",
    )


def _flag(parameters: Mapping[str, object], name: str) -> bool:
    told = parameters.get(name, False)
    if not isinstance(told, bool):
        raise InvalidRequest(f"parameter {name}: expected true or false, got {told!r}", reason="sequence_flag_invalid")
    return told
