"""Whether a setting's answers are as good as the default's; in a process of its own.

By a golden set as the gate `accuracy` does it, else beside the default on the same inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from changeover.prover.comparison import classes, compare_output
from changeover.prover.gates.accuracy import Accuracy, needs_active
from changeover.prover.golden import GoldenSet, load
from changeover.prover.subject import Subject
from changeover.rollout.plan_gates import AccuracyGate
from changeover.runtime import session
from changeover.runtime.session import Array, Session
from changeover.tensors import Datatype, TensorSpec
from changeover.transport.control import WorkerSpec
from changeover.workbench.tuning.rows import Rows

Document = dict[str, Any]
_SAME_CLASS: Final = 0.99
_APART: Final = 0.01
_LONG: Final = 3600.0
"""The tuner ends what takes too long."""


def specs(told: Sequence[Sequence[Any]]) -> list[TensorSpec]:
    """Inputs or outputs as a subject tells them."""
    return [TensorSpec(name, Datatype[datatype], tuple(shape)) for name, datatype, shape in told]


def agree(asked: Document) -> Document:
    """Compare a setting with the default.

    Returns:
        `passed`, a sentence, and the evidence.
    """
    default = session.load(msgspec.convert(asked["default"], WorkerSpec)).session
    candidate = session.load(msgspec.convert(asked["candidate"], WorkerSpec)).session
    rows = Rows.read(Path(asked["file"]), default.inputs)
    if asked["golden"] is None:
        return _beside(default, candidate, rows, asked)
    golden = shortened(load(Path(asked["golden"]), default.inputs, default.outputs), asked["samples"])
    return _by_golden(golden, default, candidate, msgspec.convert(asked["rule"], AccuracyGate))


def shortened(golden: GoldenSet, most: int) -> GoldenSet:
    """A random sample of a set that is too large for the time there is."""
    if golden.samples <= most:
        return golden
    kept = golden.order()[:most].tolist()
    return GoldenSet(
        golden.folder,
        golden.digest,
        {name: [items[at] for at in kept] for name, items in golden.inputs.items()},
        [golden.labels[at] for at in kept] if golden.labels is not None else None,
        {name: [items[at] for at in kept] for name, items in golden.outputs.items()},
        golden.whole,
    )


def _by_golden(golden: GoldenSet, default: Session, candidate: Session, rule: AccuracyGate) -> Document:
    """As the gate of the server; row by row, so that a precision's answers do not depend on who shares a batch."""
    ours, theirs = (Subject(one, False, 1, _LONG) for one in (candidate, default))
    gate = Accuracy(rule, golden, lambda: None)
    result = gate.gate(ours, theirs if needs_active(rule, golden) else None)
    return {"passed": result.result != "failed", "detail": result.detail, "evidence": result.evidence}


def _beside(default: Session, candidate: Session, rows: Rows, asked: Document) -> Document:
    """The class that the first output with scores names, and how far all numbers are apart, row by row."""
    least = _SAME_CLASS if asked["min_accuracy"] is None else asked["min_accuracy"]
    most = _APART if asked["max_difference"] is None else asked["max_difference"]
    same: list[bool] = []
    apart: list[float] = []
    for at in range(min(rows.count, asked["samples"])):
        wanted, given = default.run(rows.some(1, at)), candidate.run(rows.some(1, at))
        apart.append(_apart(default.outputs, wanted, given))
        named = _same_class(default.outputs, wanted, given)
        same += [] if named is None else [named]
    share = float(np.mean(same)) if same else None
    mean = float(np.mean(apart))
    sentence = f"answers to {len(apart)} {rows.source} inputs differ by {mean:.2%} from the default's (of {most:.2%})"
    if share is not None:
        sentence += f", the best class is the same in {share:.2%} (at least {least:.2%})"
    evidence = {"samples": len(apart), "inputs": rows.source, "difference": mean, "agreement": share}
    return {"passed": mean <= most and (share is None or share >= least), "detail": sentence, "evidence": evidence}


def _apart(outputs: Sequence[TensorSpec], wanted: Sequence[Array], given: Sequence[Array]) -> float:
    return max((compare_output(s, w, g).error for s, w, g in zip(outputs, wanted, given, strict=True)), default=0.0)


def _same_class(outputs: Sequence[TensorSpec], wanted: Sequence[Array], given: Sequence[Array]) -> bool | None:
    for spec, ours, theirs in zip(outputs, wanted, given, strict=True):
        named = classes(spec, ours)
        if named is not None:
            others = classes(spec, theirs)
            return others is not None and bool(np.array_equal(named, others))
    return None
