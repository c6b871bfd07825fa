"""Bodies of the control API about sequences: what is sent, and what is described in `/openapi.json`."""

from __future__ import annotations

from typing import Final

import msgspec

Identity = int | str
FORM: Final = "changeover-sequence/1"
"""Of an exported sequence."""


class SequenceBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names a sequence: a number, or a text."""

    id: int | str


class TensorBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tensor without its data."""

    name: str
    datatype: str
    shape: list[int]


class SequenceRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A live sequence.

    `version`: whose state it has. `steps`: of the whole sequence; `since`: of these, how many since its state came from
    another version. `bytes`: of its state.
    """

    id: int | str
    version: str
    steps: int
    since: int
    idle_s: float
    bytes: int


class SequenceList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All live sequences of a model; `max` by version is the most that it takes."""

    model: str
    live: int
    max: dict[str, int]
    sequences: list[SequenceRow]


class SequenceShown(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One sequence with its states; `kept`: inputs of so many last steps are kept with it."""

    model: str
    sequence: SequenceRow
    states: list[TensorBody]
    kept: int


class SequenceExport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sequence as a document; `saved` is its state in base64, as a slab has it."""

    form: str
    model: str
    id: int | str
    version: str
    digest: str
    steps: int
    states: list[TensorBody]
    saved: str


class SequenceChanged(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of a sequence: `ended` or `imported`, in this version."""

    model: str
    id: int | str
    version: str
    became: str
