"""A simulator of traffic for the judge: many rollouts at once, two workers with queues, in arrays.

Arrivals come in bursts and follow a day; machine and inputs make service times heavy-tailed and correlated in time;
either every request is on its own or it belongs to a key of Zipf popularity, whose cost and failures are its own. Each
request joins its arm's queue (Lindley's recursion); what waits is batched, so a row in a fuller batch costs less. The
outcome is what the judge gets in the server: a `Window` a second.
"""

from __future__ import annotations

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
    base = traffic.utilisation / traffic.rate
    clock, backlog = np.zeros(rollouts), np.zeros((2, rollouts))
    busy = np.zeros((rollouts, seconds, 2))
    row = np.arange(rollouts)
    columns: list[tuple[Array, ...]] = []
    debt = np.zeros((2, rollouts), dtype=np.int64)
    while True:
        now = np.minimum(clock.astype(np.int64), seconds - 1)
        gap = random.standard_exponential(rollouts) / pace[row, now]
        clock += gap
        alive = clock < seconds
        if not alive.any():
            break
        second = np.minimum(clock.astype(np.int64), seconds - 1)
        key, draw, cost, bad = keys.pick(random)
        arm = (draw < weight[second]).astype(np.int64)
        backlog = np.maximum(backlog - gap, 0.0)
        service = base * cost * slow[row, second] * own[arm, row, second] * _tail(traffic, rollouts, random)
        service *= np.where(arm == 1, traffic.candidate_cost, 1.0)
        service *= np.where((arm == 1) & (random.random(rollouts) < traffic.candidate_tail), 6.0, 1.0)
        waiting = backlog[arm, row] / base
        place = np.searchsorted(CLASSES[:-1], waiting, side="left")
        size = CLASSES[place]
        batch = service * (0.4 + 0.6 * size)
        mine = batch / size
        backlog[arm, row] += mine
        busy[row, second, arm] += mine
        rate = traffic.failures + np.where(arm == 1, traffic.candidate_failures, 0.0)
        lump = size if traffic.lumps else 1
        hit = random.random(rollouts) < rate / lump + bad
        debt[arm, row] = np.where(hit & (debt[arm, row] == 0), lump, debt[arm, row])
        failed = debt[arm, row] > 0
        debt[arm, row] -= failed
        counted = random.random(rollouts) * size < 1  # one row in a batch tells of it
        latency = backlog[arm, row] - mine + batch
        columns.append((row[alive], second[alive], arm[alive], _bucket(latency[alive]), size[alive],
                        np.where(counted, _bucket(batch), -1)[alive], failed[alive], key[alive]))  # fmt: skip
    merged = [np.concatenate(parts) for parts in zip(*columns, strict=True)]
    order = np.argsort(merged[0], kind="stable")
    merged = [column[order] for column in merged]
    return Events(*merged, busy=np.minimum(busy.max(axis=2), 1.0))


class _Keys:
    """Which key a request has, if any: where it goes, what it costs and whether it is broken."""

    def __init__(self, traffic: Traffic, rollouts: int, random: np.random.Generator) -> None:
        self._count, self._rollouts = traffic.keys, rollouts
        if traffic.keys:
            popularity = 1 / np.arange(1, traffic.keys + 1)
            self._reach = np.cumsum(popularity / popularity.sum())
            self._draw = random.random((rollouts, traffic.keys))
            self._cost = np.exp(traffic.key_cost * random.standard_normal((rollouts, traffic.keys)))
            broken = random.random((rollouts, traffic.keys)) < traffic.bad_keys
            self._bad = np.where(broken, 0.8, 0.0)

    def pick(self, random: np.random.Generator) -> tuple[Array, Array, Array | float, Array | float]:
        if not self._count:
            return np.full(self._rollouts, -1), random.random(self._rollouts), 1.0, 0.0
        key = np.searchsorted(self._reach, random.random(self._rollouts))
        row = np.arange(self._rollouts)
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


def _tail(traffic: Traffic, rollouts: int, random: np.random.Generator) -> Array:
    spike = np.where(random.random(rollouts) < 0.02, 5.0, 1.0)
    return np.asarray(np.exp(traffic.tail * random.standard_normal(rollouts) - traffic.tail**2 / 2) * spike / 1.08)


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
        self._group = group[order]
        names = ("latency", "size", "work", "failed", "key")
        self._columns = {name: getattr(events, name)[mine][order] for name in names}
        self._keys: tuple[dict[int, tuple[int, int]], ...] = ({}, {})
        self._states: tuple[dict[tuple[int, int], int], ...] = ({}, {})

    def forget_keys(self) -> None:
        """A new stratum begins."""
        self._keys, self._states = ({}, {}), ({}, {})

    def of(self, second: int, arm: int) -> Arm:
        place = slice(*np.searchsorted(self._group, [second * 2 + arm, second * 2 + arm + 1]))
        part = {name: column[place] for name, column in self._columns.items()}
        work = {}
        for size in np.unique(part["size"]):
            run = part["work"][(part["size"] == size) & (part["work"] >= 0)]
            if len(run):
                work[int(size)] = _sparse(run)
        requests, failures = len(part["failed"]), int(part["failed"].sum())
        if requests and part["key"][0] >= 0:
            self._count(arm, part["key"].tolist(), part["failed"].tolist())
        return Arm(requests, failures, 0, _sparse(part["latency"]), work, dict(self._states[arm]))

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


def _sparse(buckets: Array) -> dict[int, int]:
    values, counts = np.unique(buckets, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))
