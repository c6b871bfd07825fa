"""A model at each level of ONNX Runtime's graph optimisation: the session, the graph it made, what both cost.

For the workbench only: a worker loads by `session.load`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from changeover.runtime.memory import Marks
from changeover.runtime.session import Array, Session, open_level
from changeover.runtime.warmup import generated_rows, head

LEVELS = ("off", "basic", "extended", "all")


@dataclass(frozen=True, slots=True)
class AtLevel:
    """A model loaded at one level.

    Attributes:
        graph: file with the graph as it runs.
        load_s: seconds that the load took.
    """

    level: str
    session: Session
    graph: Path
    load_s: float


def load(path: Path, level: str, folder: Path, threads: int = 1) -> AtLevel:
    """Load a model at a level, and have its graph written into a folder.

    Raises:
        ModelRejected: onnxruntime refuses the model (`load_failed`).
    """
    graph = folder / f"{level}.onnx"
    began = time.perf_counter()
    session = open_level(str(path), level, threads=threads, written=str(graph))
    return AtLevel(level, session, graph, time.perf_counter() - began)


def rows_for(session: Session, most: int) -> tuple[list[Array], bool]:
    """Inputs for so many rows, generated, and whether the model takes rows at all."""
    batchable = all(spec.shape[:1] == (-1,) for spec in (*session.inputs, *session.outputs))
    return generated_rows(session.inputs, most if batchable else 1, batchable=batchable), batchable


def timed(loaded: Sequence[AtLevel], rows: list[Array], seconds: float) -> dict[str, list[float]]:
    """Seconds of each run by level. The levels take turns, so whatever the machine does meanwhile it does to all.

    Raises:
        ModelRunFailed: a run failed.
    """
    spent: dict[str, list[float]] = {one.level: [] for one in loaded}
    for one in loaded:
        one.session.run(rows)  # first runs are never like the others
    until, turns = time.perf_counter() + seconds, 0
    while turns < 5 or time.perf_counter() < until:
        at = turns % len(loaded)
        for one in (*loaded[at:], *loaded[:at]):
            began = time.perf_counter()
            one.session.run(rows)
            spent[one.level].append(time.perf_counter() - began)
        turns += 1
    return spent


def weigh(path: Path, level: str, most: int) -> int:
    """Bytes that this process took for loading a model and running it; for a process that does nothing else.

    Raises:
        ModelRejected: onnxruntime refuses the model (`load_failed`).
        ModelRunFailed: a run failed.
    """
    before = Marks.now()
    session = open_level(str(path), level)
    rows, batchable = rows_for(session, most)
    for size in (1, most) if batchable else (1,):
        session.run(head(rows, size, batchable))
    after = Marks.now()
    return max(after.resident - after.shared - (before.resident - before.shared), 0)
