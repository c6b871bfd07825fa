"""The accuracy gate: a golden set's inputs through the candidate, and how often or how closely it is right.

`top1`, `topk`: the label is the best, or among the `k` best, of the scores. `tolerance`: every value of every recorded
output is within `tolerance`, absolute plus relative. `cosine`: the smallest between a recorded output and the answer's.
`agreement`: the same top-1 class as recorded, or as the active version where nothing is recorded. Labels without a
minimum are judged against the active version on the same samples: significantly more of them wrong is refused.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from typing import Any, Final

import numpy as np

from changeover.errors import ModelRejected, ModelRunFailed
from changeover.prover import intervals
from changeover.prover.comparison import classes, compare_output, cosines, numbers, scored
from changeover.prover.golden import Batch, GoldenSet, alike, batches, recorded
from changeover.prover.subject import Subject
from changeover.prover.verdict import failed
from changeover.rollout.plan_gates import AccuracyGate
from changeover.runtime.session import Array
from changeover.tensors import TensorSpec
from changeover.transport.control import GateResult

_BUDGET: Final = 120.0
"""Seconds of processor time; what was looked at until then is a random sample of the set."""
_LEAST: Final = {"tolerance": 1.0, "cosine": 0.99, "agreement": 0.99}
_ALPHA: Final = 0.01
Answers = dict[str, Array]
_NEEDS: Final = {"top1": "labels", "topk": "labels", "tolerance": "outputs", "cosine": "outputs"}


def metric_of(rule: AccuracyGate, golden: GoldenSet) -> str:
    """The metric asked for, else the one that the set is made for.

    Raises:
        ModelRejected: the set does not have what the metric needs (`golden_invalid`).
    """
    metric = rule.metric or ("top1" if golden.labels is not None else "tolerance")
    needs = _NEEDS.get(metric)
    if (needs == "labels" and golden.labels is None) or (needs == "outputs" and not golden.outputs):
        raise ModelRejected(f"the golden set has no {needs}, which the metric {metric} needs", reason="golden_invalid")
    return metric


def needs_active(rule: AccuracyGate, golden: GoldenSet) -> bool:
    """Whether the active version has to answer too."""
    metric = metric_of(rule, golden)
    return (metric == "agreement" and not golden.outputs) or (metric in ("top1", "topk") and rule.min is None)


def unshown(rule: AccuracyGate, why: str) -> GateResult:
    """The active version does not answer: a minimum that cannot be shown refuses the version."""
    if rule.min is not None:
        return failed("accuracy", "golden_run_failed", f"the plan has a minimum; {why}")
    return GateResult("accuracy", "skipped", why)


class Accuracy:
    """One golden set under one rule.

    Args:
        alive: called now and then, as a sign of life.
    """

    def __init__(self, rule: AccuracyGate, golden: GoldenSet, alive: Callable[[], None]) -> None:
        self._rule = rule
        self._golden = golden
        self._alive = alive
        self._metric = metric_of(rule, golden)
        self._largest = (0.0, 0.0)
        self._fitted = False
        self._misfit: str | None = None
        self._mark: Callable[[Subject, Batch, Answers], Array] = {
            "top1": self._hits,
            "topk": self._hits,
            "tolerance": self._within,
            "cosine": self._cosine,
            "agreement": self._agreeing,
        }[self._metric]

    def gate(self, candidate: Subject, active: Subject | None) -> GateResult:
        """Run the set through the candidate, and through the active version where that is given.

        Raises:
            ModelRejected: `golden_invalid`, or `golden_run_failed`.
        """
        by_active = self._metric == "agreement" and not self._golden.outputs
        if by_active and active is None:
            return GateResult("accuracy", "skipped", "no version serves with which the candidate could agree")
        marks: list[Array] = []
        rivals: list[Array] = []
        until = time.thread_time() + _BUDGET
        for batch in batches(self._golden, candidate.session.inputs, candidate.rows):
            given = _answers(candidate, batch)
            self._note_errors(candidate, batch, given)
            if by_active and active is not None:
                marks += _compared(candidate, given, active, batch)
            else:
                marks.append(self._unit(self._marks(candidate, batch, given)))
                rivals += self._rivals(active, batch) if active is not None else []
            self._alive()
            if time.thread_time() > until:
                break
        if not marks:
            return unshown(self._rule, "the active version fails on all of the golden set")
        if self._misfit is not None and not self._fitted:
            raise _unfit(self._misfit)
        return self._judged(np.concatenate(marks), np.concatenate(rivals) if rivals else None)

    def _unit(self, marks: Array) -> Array:
        """What is counted: samples, or a sequence with the mean of its steps."""
        return np.array([marks.mean()]) if self._golden.lengths else marks

    def _marks(self, subject: Subject, batch: Batch, given: Answers) -> Array:
        """The marks of what can be laid beside what was recorded; an answer of another shape is a wrong one."""
        fits = self._fitting(batch, given)
        self._fitted = self._fitted or bool(fits.any())
        if fits.all():
            return self._mark(subject, batch, given)
        marks = np.zeros(len(fits))
        if fits.any():
            part = batch.only(fits)
            marks[fits] = self._mark(subject, part, {name: array[fits] for name, array in given.items()})
        return marks

    def _fitting(self, batch: Batch, given: Answers) -> Array:
        """Of each sample, whether the answer has the shapes that were recorded, as far as the metric asks for them."""
        fits = np.ones(len(batch.samples), bool)
        if self._metric not in ("top1", "topk"):
            for name in self._golden.outputs.keys() & given.keys():
                fits &= self._fits(name, batch, given)
        return fits

    def _fits(self, name: str, batch: Batch, given: Answers) -> Array:
        count, shape = len(batch.samples), given[name].shape
        shape = shape[1:] if count > 1 else shape
        wanted = [self._golden.outputs[name][sample].shape for sample in batch.samples]
        fits = np.array([alike(one, shape) for one in wanted])
        if not fits.all():
            self._misfit = f"output {name!r} was recorded as {list(wanted[int(fits.argmin())])} and is {list(shape)}"
        return fits

    def _rivals(self, active: Subject, batch: Batch) -> list[Array]:
        """Marks of the active version; a sample on which it fails is one that it has wrong."""
        try:
            return [self._mark(active, batch, active.answers(batch))]
        except ModelRunFailed:
            if len(batch.samples) == 1:
                return [np.zeros(1)]
            return [mark for one in batch.singles() for mark in self._rivals(active, one)]

    def _note_errors(self, subject: Subject, batch: Batch, given: Answers) -> None:
        """The largest errors of any value, for the record: a tolerance is chosen by them."""
        for spec in subject.session.outputs:
            if spec.name in self._golden.outputs and self._fits(spec.name, batch, given).all():
                wanted = recorded(self._golden, spec.name, batch.samples, given[spec.name])
                found = compare_output(spec, wanted, given[spec.name])
                self._largest = max(self._largest[0], found.max_abs), max(self._largest[1], found.max_rel)

    # -- one mark a sample ---------------------------------------------------------------------------------

    def _hits(self, subject: Subject, batch: Batch, given: Answers) -> Array:
        labels = np.array([(self._golden.labels or [])[sample] for sample in batch.samples])
        if self._metric == "topk":
            best = _best(subject, given, self._rule.k)
            return np.asarray((best == labels[:, np.newaxis]).any(axis=1))
        _, named = _classified(subject, given)
        return np.asarray(named.astype(str) == labels.astype(str) if named.dtype == object else named == labels)

    def _pairs(self, subject: Subject, batch: Batch, given: Answers) -> list[tuple[Array, Array]]:
        """Recorded and given numbers of each recorded output, a row a sample; texts as 0 and whether they differ."""
        pairs = []
        for spec in subject.session.outputs:
            if spec.name not in self._golden.outputs:
                continue
            array = given[spec.name]
            wanted = recorded(self._golden, spec.name, batch.samples, array)
            if array.dtype == object:
                pair = np.zeros(array.shape), (wanted != array).astype(float)
            else:
                pair = numbers(spec, wanted), numbers(spec, array)
            pairs.append((pair[0].reshape(len(batch.samples), -1), pair[1].reshape(len(batch.samples), -1)))
        return pairs

    def _within(self, subject: Subject, batch: Batch, given: Answers) -> Array:
        near = self._rule.tolerance
        rows = [
            np.isclose(array, wanted, rtol=near, atol=near, equal_nan=True).all(axis=1)
            for wanted, array in self._pairs(subject, batch, given)
        ]
        return np.asarray(np.logical_and.reduce(rows))

    def _cosine(self, subject: Subject, batch: Batch, given: Answers) -> Array:
        return np.asarray(np.minimum.reduce([cosines(w, a) for w, a in self._pairs(subject, batch, given)]))

    def _agreeing(self, subject: Subject, batch: Batch, given: Answers) -> Array:
        known = self._golden.outputs.keys() & given.keys()
        wanted = {name: recorded(self._golden, name, batch.samples, given[name]) for name in known}
        return _same_classes(subject, given, wanted)

    # -- judging -------------------------------------------------------------------------------------------

    def _judged(self, marks: Array, rivals: Array | None) -> GateResult:
        golden, metric, count = self._golden, self._metric, len(marks)
        value = float(marks.mean())
        scores = metric == "cosine" or bool(golden.lengths)
        low, high = intervals.mean(marks) if scores else intervals.share(int(marks.sum()), count)
        least = self._rule.min if self._rule.min is not None else _LEAST.get(metric)
        evidence: dict[str, Any] = {
            "metric": metric, "value": round(value, 6), "low": round(low, 6), "high": round(high, 6), "min": least,
            "samples": count, "of": len(golden.lengths) or golden.samples, "golden": golden.digest[:16],
            "interval": "bootstrap" if scores else "clopper-pearson",
        }  # fmt: skip
        if golden.outputs:
            names = ("max_abs", "max_rel")
            evidence |= {n: v if math.isfinite(v) else None for n, v in zip(names, self._largest, strict=True)}
        if metric in ("tolerance", "topk"):
            evidence["tolerance" if metric == "tolerance" else "k"] = getattr(self._rule, _PARAMETER[metric])
        unit = "sequences" if golden.lengths else "samples"
        sentence = f"{metric} {value:.4g} on {count:,} {unit} (95 % between {low:.4g} and {high:.4g})"
        if least is not None:
            if value < least:
                return failed("accuracy", "accuracy_low", f"{sentence}, below {least:g}", evidence)
            return GateResult("accuracy", "passed", f"{sentence}, at least {least:g} asked for", evidence)
        if rivals is None:
            return GateResult("accuracy", "passed", f"{sentence}; the plan sets no minimum", evidence)
        return _against(sentence, evidence, marks.astype(bool), rivals.astype(bool))


_PARAMETER: Final = {"tolerance": "tolerance", "topk": "k"}


def _against(sentence: str, evidence: dict[str, Any], ours: Array, theirs: Array) -> GateResult:
    """The exact test of McNemar, one-sided: of what only one version has right, is too much the old one's?"""
    worse, better = int((theirs & ~ours).sum()), int((ours & ~theirs).sum())
    chance = intervals.at_least(worse, worse + better, 0.5)
    evidence |= {"active": round(float(theirs.mean()), 6), "worse": worse, "better": better, "p": round(chance, 6)}
    beside = f"{sentence}, the active version {theirs.mean():.4g}"
    if chance < _ALPHA:
        return failed("accuracy", "accuracy_worse", f"{beside}: {worse} became wrong, {better} right", evidence)
    return GateResult("accuracy", "passed", f"{beside}, which is not significantly better", evidence)


def _answers(subject: Subject, batch: Batch) -> Answers:
    try:
        return subject.answers(batch)
    except ModelRunFailed as error:
        raise ModelRejected(f"a run on the golden set failed: {error.message}", reason="golden_run_failed") from error


def _classified(subject: Subject, given: Answers, among: Collection[str] | None = None) -> tuple[TensorSpec, Array]:
    """The first output (of these) that names classes, and the classes."""
    for spec in subject.session.outputs:
        if among is None or spec.name in among:
            named = classes(spec, given[spec.name])
            if named is not None:
                return spec, named
    raise _unfit("no output of the model names a class or gives scores of classes")


def _best(subject: Subject, given: Answers, k: int) -> Array:
    """The `k` best classes of each sample, of the first output that scores them: a label beside it is no score."""
    for spec in subject.session.outputs:
        array = given[spec.name]
        if scored(spec, array):
            scores = numbers(spec, array).reshape(len(array), -1)
            best: Array = np.argsort(-np.nan_to_num(scores, nan=-np.inf), axis=1, kind="stable")[:, :k]
            return best
    raise _unfit("no output has the scores that topk needs")


def _compared(candidate: Subject, given: Answers, active: Subject, batch: Batch) -> list[Array]:
    """Marks of agreement with the active version; samples on which that fails say nothing."""
    try:
        return [_same_classes(candidate, given, active.answers(batch))]
    except ModelRunFailed:
        if len(batch.samples) == 1:
            return []
        rows = [{name: array[at : at + 1] for name, array in given.items()} for at in range(len(batch.samples))]
        return [
            mark
            for one, row in zip(batch.singles(), rows, strict=True)
            for mark in _compared(candidate, row, active, one)
        ]


def _same_classes(subject: Subject, given: Answers, wanted: Answers) -> Array:
    spec, named = _classified(subject, given, wanted)
    return np.asarray(named == classes(spec, wanted[spec.name]))


def _unfit(what: str) -> ModelRejected:
    return ModelRejected(f"the golden set cannot be used: {what}", reason="golden_invalid")
