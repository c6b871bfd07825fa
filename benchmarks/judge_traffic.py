"""A simulator of traffic for the judge: many rollouts at once, two workers with queues, in arrays.

Arrivals come in bursts and follow a day; machine and inputs make service times heavy-tailed and correlated in time;
either every request is on its own or it belongs to a key of Zipf popularity, whose cost and failures are its own. Each
request joins its arm's queue (Lindley's recursion); what waits is batched, so a row in a fuller batch costs less. The
outcome is what the judge gets in the server: a `Window` a second.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from changeover.telemetry.evidence import KEY_CAP, Arm, Pairs, Window
from changeover.telemetry.observations import BUCKETS, PER_DOUBLING, edge

Array = npt.NDArray[Any]
CLASSES = np.array([1, 2, 4, 8, 16, 32])


@dataclass(frozen=True)
class Traffic:
    """What is simulated; rates are a second, times seconds.

    Attributes:
        rate: requests, on average.
        utilisation: of a worker that has all of them, without batching.
        burst: rate in a burst against calm.
        tail: sigma of the log-normal service time; one in fifty takes five times as long.
        drift: sigma of the machine's slow phases, which both workers feel.
        own: sigma of slow phases that a worker has for itself.
        keys: 0, or how many keys of Zipf popularity.
        key_cost: sigma of a key's own cost.
        failures: rate of failures that both versions have.
        bad_keys: share of the keys whose requests mostly fail.
        lumps: a failure takes its whole batch along.
        flips: share of mirrored requests that are answered otherwise.
        day: swing of the rate over the rollout.
        candidate_cost: times what a run costs on the candidate.
        candidate_failures: rate of failures beyond the common one.
        candidate_tail: share of the candidate's runs that take six times as long.
    """

    rate: float = 150.0
    utilisation: float = 0.9
    burst: float = 3.0
    tail: float = 0.35
    drift: float = 0.2
    own: float = 0.0
    keys: int = 0
    key_cost: float = 0.0
    failures: float = 0.0
    bad_keys: float = 0.0
    lumps: bool = False
    flips: float = 0.006
    day: float = 0.3
    candidate_cost: float = 1.0
    candidate_failures: float = 0.0
    candidate_tail: float = 0.0


@dataclass(frozen=True)
class Step:
    """A step of the plan: weight in buckets, seconds, buckets that are mirrored."""

    weight: int
    seconds: int
    mirror: int = 500


PLAN = (Step(0, 10, 1000), Step(100, 30), Step(500, 30), Step(2500, 30), Step(5000, 30), Step(9900, 30, 0))


@dataclass(frozen=True)
class Events:
    """All requests of many rollouts, one row each."""

    rollout: Array
    second: Array
    arm: Array
    latency: Array
    size: Array
    work: Array
    failed: Array
    key: Array
    busy: Array


def simulate(traffic: Traffic, plan: tuple[Step, ...], rollouts: int, random: np.random.Generator) -> Events:
    """Run some rollouts to the end of the plan, whatever the judge would say."""
    seconds = sum(step.seconds for step in plan)
    weight = np.repeat([step.weight for step in plan], [step.seconds for step in plan]) / 10_000
    pace = _pace(traffic, seconds, rollouts, random)
    slow = _slow(traffic.drift, seconds, rollouts, random)
    own = np.stack([_slow(traffic.own, seconds, rollouts, random) for _ in range(2)])
    keys = _Keys(traffic, rollouts, random)
    drawn = _drawn(pace, random)
    busy = np.zeros((rollouts, seconds, 2))
    columns = []
    for row in range(rollouts):
        clock, gap, chances, normal = (part[..., row] for part in drawn)
        second = np.minimum(clock.astype(np.int64), seconds - 1)
        key, draw, cost, bad = keys.pick(row, chances[:, 0])
        arm = (draw < weight[second]).astype(np.int64)
        base = traffic.utilisation / traffic.rate
        service = base * cost * slow[row, second] * own[arm, row, second] * _tail(traffic, chances[:, 1], normal)
        service *= np.where(arm == 1, traffic.candidate_cost, 1.0)
        service *= np.where((arm == 1) & (chances[:, 2] < traffic.candidate_tail), 6.0, 1.0)
        size, batch, backlog = _queued(gap, arm, service, base)
        mine = batch / size
        busy[row] = np.bincount(second * 2 + arm, mine, 2 * seconds).reshape(seconds, 2)
        rate = traffic.failures + np.where(arm == 1, traffic.candidate_failures, 0.0)
        hit = chances[:, 3] < rate / (size if traffic.lumps else 1) + bad
        failed = _lumped(hit, arm, size) if traffic.lumps else hit
        counted = chances[:, 4] * size < 1  # one row in a batch tells of it
        latency = backlog - mine + batch
        alive = int(np.searchsorted(clock, seconds))
        every = (np.full(alive, row), second, arm, _bucket(latency), size, np.where(counted, _bucket(batch), -1),
                 failed, key)  # fmt: skip
        columns.append([column[:alive] for column in every])
    merged = [np.concatenate(parts) for parts in zip(*columns, strict=True)]
    return Events(*merged, busy=np.minimum(busy.max(axis=2), 1.0))


def _drawn(pace: Array, random: np.random.Generator) -> tuple[Array, Array, Array, Array]:
    """All that chance decides of the requests of each rollout, the first axis: until the last rollout is over.

    Returns:
        When a request comes, and how long after the one before, shape (requests, rollouts); five numbers between 0 and
        1, shape (requests, 5, rollouts); a normal one.
    """
    rollouts, seconds = pace.shape
    clock, row = np.zeros(rollouts), np.arange(rollouts)
    drawn: list[tuple[Array, ...]] = []
    while True:
        now = np.minimum(clock.astype(np.int64), seconds - 1)
        gap = random.standard_exponential(rollouts) / pace[row, now]
        clock = clock + gap
        if clock.min() >= seconds:
            break
        first, normal = random.random((2, rollouts)), random.standard_normal(rollouts)
        drawn.append((clock, gap, first, random.random((3, rollouts)), normal))
    clocks, gaps, first, second, normals = (np.stack(parts) for parts in zip(*drawn, strict=True))
    return clocks, gaps, np.concatenate((first, second), axis=1), normals


def _queued(gap: Array, arm: Array, service: Array, base: float) -> tuple[Array, Array, Array]:
    """Each request joins its arm's queue: size of its batch, seconds of the batch, the arm's backlog with it."""
    backlog, classes = [0.0, 0.0], CLASSES.tolist()
    sizes, batches, backlogs = [], [], []
    for passed, place, seconds in zip(gap.tolist(), arm.tolist(), service.tolist(), strict=True):
        backlog = [max(backlog[0] - passed, 0.0), max(backlog[1] - passed, 0.0)]
        size = classes[bisect_left(classes, backlog[place] / base, 0, len(classes) - 1)]
        batch = seconds * (0.4 + 0.6 * size)
        backlog[place] += batch / size
        sizes.append(size)
        batches.append(batch)
        backlogs.append(backlog[place])
    return np.array(sizes), np.array(batches), np.array(backlogs)


def _lumped(hit: Array, arm: Array, size: Array) -> Array:
    """Which requests fail when a failure takes as many along as a batch has rows."""
    debt, failed = [0, 0], []
    for struck, place, rows in zip(hit.tolist(), arm.tolist(), size.tolist(), strict=True):
        if struck and not debt[place]:
            debt[place] = rows
        failed.append(debt[place] > 0)
        debt[place] -= failed[-1]
    return np.array(failed)


class _Keys:
    """Which key a request has, if any: where it goes, what it costs and whether it is broken."""

    def __init__(self, traffic: Traffic, rollouts: int, random: np.random.Generator) -> None:
        self._count = traffic.keys
        if traffic.keys:
            popularity = 1 / np.arange(1, traffic.keys + 1)
            self._reach = np.cumsum(popularity / popularity.sum())
            self._draw = random.random((rollouts, traffic.keys))
            self._cost = np.exp(traffic.key_cost * random.standard_normal((rollouts, traffic.keys)))
            broken = random.random((rollouts, traffic.keys)) < traffic.bad_keys
            self._bad = np.where(broken, 0.8, 0.0)

    def pick(self, row: int, chance: Array) -> tuple[Array, Array, Array | float, Array | float]:
        if not self._count:
            return np.full(len(chance), -1), chance, 1.0, 0.0
        key = np.searchsorted(self._reach, chance)
        return key, self._draw[row, key], self._cost[row, key], self._bad[row, key]


def _pace(traffic: Traffic, seconds: int, rollouts: int, random: np.random.Generator) -> Array:
    """Rate in each second: calm and burst (a quarter of the time, 4 s long on average), on the curve of a day."""
    burst = np.zeros((rollouts, seconds), dtype=bool)
    state = random.random(rollouts) < 0.25
    for second in range(seconds):
        change = random.random(rollouts) < np.where(state, 1 / 4, 1 / 12)
        state = state ^ change
        burst[:, second] = state
    level = np.where(burst, traffic.burst, 1.0)
    phase = random.random((rollouts, 1)) * 2 * np.pi
    level *= 1 + traffic.day * np.sin(np.linspace(0, np.pi, seconds)[None, :] + phase)
    return np.asarray(traffic.rate * level / (0.75 + 0.25 * traffic.burst))


def _slow(sigma: float, seconds: int, rollouts: int, random: np.random.Generator) -> Array:
    """Slow phases, some ten seconds long: an autoregressive logarithm."""
    level, out = np.zeros(rollouts), np.empty((rollouts, seconds))
    for second in range(seconds):
        level = 0.9 * level + sigma * 0.44 * random.standard_normal(rollouts)
        out[:, second] = level
    return np.asarray(np.exp(out))


def _tail(traffic: Traffic, chance: Array, normal: Array) -> Array:
    spike = np.where(chance < 0.02, 5.0, 1.0)
    return np.asarray(np.exp(traffic.tail * normal - traffic.tail**2 / 2) * spike / 1.08)


def _bucket(seconds: Array) -> Array:
    return np.clip((np.log2(np.maximum(seconds, edge(0)) / edge(0)) * PER_DOUBLING).astype(np.int64), 0, BUCKETS - 1)


def windows(
    events: Events, rollout: int, plan: tuple[Step, ...], traffic: Traffic, random: np.random.Generator
) -> Iterator[Window]:
    """What the judge gets of one rollout, second by second."""
    mine = slice(*np.searchsorted(events.rollout, [rollout, rollout + 1]))
    arms = _Arms(events, mine)
    second = 0
    for epoch, step in enumerate(plan, start=1):
        arms.forget_keys()
        for _ in range(step.seconds):
            active, candidate = arms.of(second, 0), arms.of(second, 1)
            mirrored = random.binomial(active.requests - active.failures, step.mirror / 10_000)
            pairs = Pairs(mirrored, random.binomial(mirrored, traffic.flips))
            start, end = second * 1_000_000_000, (second + 1) * 1_000_000_000
            busy = float(events.busy[rollout, second])
            yield Window((epoch, 1, 1), start, end, step.weight, active, candidate, pairs, busy)
            second += 1


class _Arms:
    """The arms of one rollout, second by second, from its events in the order of time."""

    def __init__(self, events: Events, mine: slice) -> None:
        group = events.second[mine] * 2 + events.arm[mine]
        order = np.argsort(group, kind="stable")
        self._ends = [0, *np.cumsum(np.bincount(group, minlength=2 * events.busy.shape[1])).tolist()]
        names = ("latency", "size", "work", "failed", "key")
        self._columns = [getattr(events, name)[mine][order].tolist() for name in names]
        self._keys: tuple[dict[int, tuple[int, int]], ...] = ({}, {})
        self._states: tuple[dict[tuple[int, int], int], ...] = ({}, {})

    def forget_keys(self) -> None:
        """A new stratum begins."""
        self._keys, self._states = ({}, {}), ({}, {})

    def of(self, second: int, arm: int) -> Arm:
        place = slice(*self._ends[second * 2 + arm : second * 2 + arm + 2])
        latency, sizes, runs, failed, keys = (column[place] for column in self._columns)
        work: dict[int, Counter[int]] = {}
        for (size, run), count in Counter(zip(sizes, runs, strict=True)).items():
            if run >= 0:
                work.setdefault(size, Counter())[run] = count
        if keys and keys[0] >= 0:
            self._count(arm, keys, failed)
        return Arm(len(failed), sum(failed), 0, Counter(latency), work, dict(self._states[arm]))

    def _count(self, arm: int, keys: list[int], failed: list[bool]) -> None:
        known, states = self._keys[arm], self._states[arm]
        for key, failure in zip(keys, failed, strict=True):
            state = known.get(key, (0, 0))
            if state[0] == KEY_CAP:
                continue
            if state[0]:
                states[state] -= 1
            known[key] = state = (state[0] + 1, state[1] + failure)
            states[state] = states.get(state, 0) + 1
