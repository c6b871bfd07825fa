"""A slab with a clock of the test's, and a model that adds one to the state a step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from changeover.sequences.declared import Layout, StateLayout
from changeover.sequences.saved import Extent, most_bytes
from changeover.sequences.slab import Mark, Slab
from changeover.sequences.wire import Ask, Told, Verb
from changeover.tensors import from_numpy
from changeover.worker.records import Records
from tests.worker.sequence_parts import ask, memory

SECOND = 1_000_000_000


def layout(**fields: Any) -> Layout:
    """Two numbers of state, four sequences at most."""
    saved = most_bytes([Extent("h", 1, 8)], [Extent("y", 1, 8)], [], 0)
    state = StateLayout("h", "hn", "FP32", [2], None, 2)
    whole: dict[str, Any] = {"idle": 60.0, "max": 4, "on_changeover": "carry", "replay": 0, "slots": 6}
    return Layout([state], [], **{**whole, "saved_bytes": saved, **fields})


class World:
    """A slab, its records and a clock; the model adds one to the state a step."""

    def __init__(self, fd: int | None = None, **fields: Any) -> None:
        self.now = 1_000 * SECOND
        self.layout = layout(**fields)
        self.fd = memory(self.layout.geometry) if fd is None else fd
        self.reborn()

    def reborn(self) -> None:
        """The next worker of the loading."""
        self.slab = Slab(self.fd, self.layout.geometry)
        self.records = Records(self.slab, self.layout, clock=lambda: self.now)

    def step(self, one: Ask) -> Told:
        """One step; OK's body is the state after it, as text."""
        self.now += 1
        (work,) = self.records.begin([one])
        try:
            if isinstance(work, Told):
                return work
            before = work.before.states[0].numpy()[0] if work.before is not None else 0.0
            state = from_numpy("h", np.full(2, before + 1, np.float32))
            told = self.records.commit(work, [state], [replace(state, name="y")], [])
            return told._replace(body=str(int(before + 1)).encode())
        finally:
            self.records.end([one])

    def state(self, identity: str = "a") -> float:
        """Of a sequence, as a reader of the slab sees it."""
        record = self.slab.find(ask(identity, 1).key)
        assert record is not None
        return float(record.saved.states[0].numpy()[0])

    def mark(self, identity: str = "a") -> Mark | None:
        """What a reader sees of a record."""
        record = self.slab.find(ask(identity, 1).key)
        return None if record is None else record.mark


def verb(kind: Verb, identity: str = "a", **fields: Any) -> Ask:
    """An ask that is no step."""
    return ask(identity, 0, verb=kind, **fields)
