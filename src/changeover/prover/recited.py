"""Recorded sequences and their answers, for the gate `accuracy`: each is run from its begin, and each step compared.

The same `golden/*.npz` whose steps the gate `state` runs (`course`), with what is right for them: one array an output
by its name, or `labels`, sequences on the first axis and their steps on the second. A sequence is one sample of the
measure, for its steps depend on one another; its mark is the mean of its steps'.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from changeover.prover import course, golden
from changeover.prover.gates.accuracy import Accuracy
from changeover.prover.golden import LABELS, Batch, GoldenSet
from changeover.prover.subject import Subject, bounded
from changeover.prover.verdict import failed
from changeover.rollout.plan_gates import AccuracyGate
from changeover.runtime.session import Array
from changeover.runtime.stateless import Stateless
from changeover.runtime.stepping import Stepper
from changeover.tensors import TensorSpec
from changeover.transport.control import GateResult

_NOTHING = "no answers to recorded sequences lie beside the version or the model; the gate 'state' runs their steps"


def accuracy(rule: AccuracyGate, folders: Sequence[str], subject: Subject, alive: Callable[[], None]) -> GateResult:
    """The gate for a sequence model; a minimum that cannot be shown refuses the version.

    Args:
        rule: of the plan.
        folders: in which a golden set may lie.
        subject: the candidate.
        alive: called now and then, as a sign of life.

    Raises:
        ModelRejected: `golden_invalid`, or `golden_run_failed`.
    """
    folder = golden.find(folders)
    found = load(folder, cast(Stateless, subject.session)) if folder is not None else None
    if found is not None and (found.outputs or rule.metric != "agreement"):
        reciter = Reciter(subject.session, subject.batchable, subject.max_batch, subject.run_timeout)
        return Accuracy(rule, found, alive).gate(reciter, None)
    if rule.min is not None:
        return failed("accuracy", "golden_missing", f"the plan has a minimum; {_NOTHING}")
    return GateResult("accuracy", "skipped", _NOTHING)


def load(folder: Path, session: Stateless) -> GoldenSet | None:
    """The recorded sequences with their answers; None where only steps are recorded.

    Raises:
        ModelRejected: `golden_invalid`.
    """
    files = sorted(folder.glob("*.npz"))
    try:
        parts = golden.archives(files)
        names = set(parts[0]) if parts else set()
        outputs, labelled = _answers(names, session), LABELS in names - {spec.name for spec in session.inputs}
        if any(set(part) != names for part in parts):
            raise course.invalid("its files do not hold the same arrays")
        if not outputs and not labelled:
            return None
        made = GoldenSet(folder, golden.digest_of(files), labels=[] if labelled else None)
        for part in parts:
            _take(made, part, session.inputs, outputs)
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise course.invalid(f"it cannot be read: {error}") from error
    return made


def _answers(names: set[str], session: Stateless) -> list[TensorSpec]:
    """The outputs that are recorded; states may be, too, and are not compared."""
    inputs = {spec.name for spec in session.inputs}
    hidden = {name for state in session.layout.states for name in (state.input, state.output)}
    unknown = names - inputs - hidden - {spec.name for spec in session.outputs} - {LABELS}
    if unknown:
        raise course.invalid(f"{min(unknown)!r} is neither an input nor an output of the model, nor {LABELS!r}")
    return [spec for spec in session.outputs if spec.name in names - inputs]


def _take(made: GoldenSet, part: dict[str, Array], inputs: Sequence[TensorSpec], outputs: list[TensorSpec]) -> None:
    """Add the sequences of one file."""
    sequences = course.sequences(part, inputs)
    typed = {spec.name: golden.typed(part[spec.name], spec) for spec in outputs}
    wanted = part[inputs[0].name].shape[:2]
    answers = {**typed, **({LABELS: part[LABELS]} if made.labels is not None else {})}
    for name, array in answers.items():
        if array.shape[:2] != wanted:
            raise course.invalid(f"{name!r} has other sequences or steps than the inputs")
    for at, steps in enumerate(sequences):
        made.lengths.append(len(steps))
        for spec in inputs:
            made.inputs.setdefault(spec.name, []).extend(step[spec.name] for step in steps)
        for name, array in typed.items():
            made.outputs.setdefault(name, []).extend(array[at, : len(steps)])
        if made.labels is not None:
            made.labels += part[LABELS][at, : len(steps)].reshape(len(steps), -1)[:, 0].tolist()


class Reciter(Subject):
    """A version that answers a whole sequence, from its initial states on."""

    def answers(self, batch: Batch) -> dict[str, Array]:
        """All outputs for the steps of one sequence by name, the steps on their first axis. Raises as `Subject`."""
        session, count = cast(Stateless, self.session), len(batch.samples)
        stepper = Stepper(session.whole, session.layout, session.initial)
        states, found = stepper.initial, []
        for at in range(count):
            step = {name: array[at] for name, array in batch.inputs.items()}
            ends = at + 1 == count < course.MOST_STEPS
            with bounded(self.run_timeout):
                answer, states = stepper.step(states, step, start=at == 0, end=ends)
            found.append(answer)
        return {spec.name: _joined([answer[spec.name] for answer in found], spec) for spec in session.outputs}


def _joined(answers: list[Array], spec: TensorSpec) -> Array:
    """One row a step: what a step gives is one row already where the output has rows."""
    rowed = bool(spec.shape) and spec.shape[0] < 0 and all(len(answer) == 1 for answer in answers)
    return np.concatenate(answers) if rowed else np.stack(answers)
