"""Steps of sequences: states gathered from the slab as rows of one run, and committed from what came out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from changeover.errors import Internal, ModelRunFailed
from changeover.runtime.session import Array
from changeover.runtime.stateless import Stateless
from changeover.runtime.stepping import States
from changeover.sequences.declared import StateLayout
from changeover.sequences.wire import Ask, Status, Told
from changeover.tensors import Datatype, Tensor, TensorSpec, from_numpy
from changeover.worker.records import Records, Step

Feeds = list[dict[str, Array]]


class Ran(NamedTuple):
    """What a message of steps came to: public outputs a run, an answer a record, and the time of the runs."""

    results: list[list[Array]]
    told: list[Told]
    wall_ns: int
    cpu_ns: int


@dataclass(slots=True)
class _Row:
    """One step on its way: its place, its inputs, and the state before it."""

    at: int
    step: Step
    feeds: dict[str, Array]
    states: States


class Steps:
    """Runs steps.

    Args:
        session: of the loaded version.
        records: of its slab.
        finite: NaN and infinities in outputs or states are no step.
    """

    def __init__(self, session: Stateless, records: Records, *, finite: bool) -> None:
        self.records = records
        self._session = session
        self._finite = finite
        self._layouts = session.layout.states
        self._specs = [TensorSpec(s.input, Datatype[s.datatype], tuple(s.shape)) for s in self._layouts]

    def run(self, runs: Feeds, asks: Sequence[Ask]) -> Ran:
        """Take the steps of one message; what fails in the model fails all of them, and nothing is committed.

        Args:
            runs: the public inputs, a row a record in one run, or a run a record.
            asks: the records.

        Raises:
            ModelRunFailed: the session raised, or its answer is not what was declared.
            Internal: records and rows do not match.
        """
        rows = self._rows(runs, len(asks))
        begun = self.records.begin(asks)
        try:
            return self._run(rows, begun, len(runs))
        finally:
            self.records.end(asks)

    def _rows(self, runs: Feeds, count: int) -> Feeds:
        """The inputs of each record."""
        if len(runs) == count and (len(runs) > 1 or not self._session.together):
            return runs
        if len(runs) != 1 or any(len(array) != count for array in runs[0].values()):
            raise Internal(f"{count} records do not match their rows", reason="channel_malformed")
        return [{name: array[at : at + 1] for name, array in runs[0].items()} for at in range(count)]

    def _run(self, rows: Feeds, begun: list[Step | Told], runs: int) -> Ran:
        work = [_Row(at, step, rows[at], self._before(step)) for at, step in enumerate(begun) if isinstance(step, Step)]
        wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
        done = [self._together(group) for group in self._groups(work, runs)]
        wall, cpu = time.perf_counter_ns() - wall, time.thread_time_ns() - cpu
        told = [one if isinstance(one, Told) else Told(Status.NOT_FINITE) for one in begun]
        answers: list[list[Array] | None] = [None] * len(begun)
        for row, answer, states in itertools.chain.from_iterable(done):
            told[row.at] = self._committed(row, answer, states)
            if told[row.at].status is Status.OK:
                answers[row.at] = answer
        return Ran(self._results(answers, runs), told, wall, cpu)

    def _before(self, step: Step) -> States:
        if step.before is None:
            return self._session.initial
        return {tensor.name: tensor.numpy() for tensor in step.before.states}

    def _groups(self, work: list[_Row], runs: int) -> list[list[_Row]]:
        """Steps that go together: those whose states have the same shapes."""
        if runs > 1 or not self._session.together:
            return [[row] for row in work]
        groups: dict[tuple[tuple[int, ...], ...], list[_Row]] = {}
        for row in work:
            groups.setdefault(tuple(row.states[s.input].shape for s in self._layouts), []).append(row)
        return list(groups.values())

    def _together(self, group: list[_Row]) -> list[tuple[_Row, list[Array], States]]:
        """One run; answer and next states of each row that may be committed: one that is not finite may not."""
        session = self._session
        first = group[0].feeds
        public = first if len(group) == 1 else {n: np.concatenate([row.feeds[n] for row in group]) for n in first}
        told = [(row.step.ask.flags, row.step.ask.tag) for row in group]
        feeds = session.feeds(public, session.gathered([row.states for row in group]), told)
        answer, states = session.parted(session.whole.run_feeds(feeds))
        self._require_rows(answer, states, len(group))
        cut = [answer] if len(group) == 1 else [[a[at : at + 1] for a in answer] for at in range(len(group))]
        rows = zip(group, cut, session.scattered(states, len(group)), strict=True)
        if not self._finite or all(_finite(array) for array in (*answer, *states.values())):
            return list(rows)
        return [row for row in rows if all(_finite(array) for array in (*row[1], *row[2].values()))]

    def _require_rows(self, answer: list[Array], states: States, rows: int) -> None:
        """Before anything is cut: a session answers in what shape it likes, whatever its model declares.

        Raises:
            ModelRunFailed: an output or a state has not a row for each step (`output_undeclared`).
        """
        if self._session.together and any(array.ndim == 0 for array in answer):
            raise ModelRunFailed("an output came without rows", reason="output_undeclared")
        if rows == 1:
            return
        if any(len(array) != rows for array in answer):
            raise ModelRunFailed("the outputs have another number of rows than the inputs", reason="output_undeclared")
        for state in self._layouts:
            shape, axis = states[state.input].shape, state.axis or 0
            if len(shape) <= axis or shape[axis] != rows:
                raise ModelRunFailed(
                    f"state output {state.output} came as {list(shape)} for {rows} sequences on axis {axis}",
                    reason="output_undeclared",
                )

    def _committed(self, row: _Row, answer: list[Array], states: States) -> Told:
        for state in self._layouts:
            _require_shape(state, states[state.input])
            if states[state.input].size > state.most:
                return Told(Status.TOO_LARGE)
        after = _tensors(self._specs, [states[spec.name] for spec in self._specs])
        given: list[Tensor] = []
        if self._session.layout.replay:
            given = _tensors(self._session.inputs, [row.feeds[spec.name] for spec in self._session.inputs])
        return self.records.commit(row.step, after, _tensors(self._session.outputs, answer), given)

    def _results(self, answers: list[list[Array] | None], runs: int) -> list[list[Array]]:
        """The outputs as they travel: rows of what did not run are zeros."""
        pattern = next((answer for answer in answers if answer is not None), None)
        if pattern is None:
            pattern = [np.zeros([abs(d) for d in s.shape], s.datatype.numpy) for s in self._session.outputs]
        nothing = [
            np.zeros_like(array) if array.dtype != object else np.full(array.shape, "", object) for array in pattern
        ]
        each = [answer if answer is not None else nothing for answer in answers]
        if runs > 1 or not self._session.together:
            return each
        if any(a.shape != b.shape for answer in each for a, b in zip(answer, pattern, strict=True)):
            raise ModelRunFailed("steps of one batch answer in different shapes", reason="output_undeclared")
        return [[np.concatenate([answer[at] for answer in each]) for at in range(len(pattern))]]


def _tensors(specs: Sequence[TensorSpec], arrays: Sequence[Array]) -> list[Tensor]:
    return [from_numpy(spec.name, array, spec.datatype) for spec, array in zip(specs, arrays, strict=True)]


def _finite(array: Array) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _require_shape(state: StateLayout, array: Array) -> None:
    if len(array.shape) != len(state.shape) or any(
        d not in (-1, s) for s, d in zip(array.shape, state.shape, strict=True)
    ):
        raise ModelRunFailed(
            f"state output {state.output} came as {list(array.shape)} for one sequence, {state.shape} is declared",
            reason="output_undeclared",
        )
