"""Workers that die while they step through sequences: no committed step is lost, none is taken twice."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter_ns

import numpy as np
import pytest

from changeover.runtime.stateless import Stateless
from changeover.sequences.saved import Flag, unpack
from changeover.sequences.slab import Slab
from changeover.sequences.wire import Ask, Status
from changeover.worker.broken import Torn
from tests.worker.sequence_parts import SUM, Died, Gateway, ask, load, memory, running_sum

NAMES = ("a", "b", "c")
KILLS = 40


class Killed(BaseException):
    """Stands for a SIGKILL at a store; nothing may catch it."""


def mortal(kind: type[Slab], last: int) -> type[Slab]:
    """A slab whose writer dies before its n-th store of any kind."""

    class Mortal(kind):  # type: ignore[misc, valid-type]
        stores = 0

        def _put(self, at: int, data: bytes) -> None:
            self._live_on()
            super()._put(at, data)

        def _store(self, slot: int, word: int) -> None:
            self._live_on()
            super()._store(slot, word)

        def touch(self, slot: int, now: int) -> None:
            self._live_on()
            super().touch(slot, now)

        def _live_on(self) -> None:
            if self.stores == last:
                raise Killed
            type(self).stores += 1

    return Mortal


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Stateless:
    """The model that sums up."""
    folder: Path = tmp_path_factory.mktemp("sum")
    return load(folder, running_sum(), SUM)


def results(gateway: Gateway, asks: list[Ask], value: float) -> list[float]:
    """The answers of one message of steps, those that were stored before included."""
    (y, *_), told = gateway.step(asks, np.full((len(asks), 4), value, np.float32))
    assert {one.status for one in told} <= {Status.OK, Status.DUPLICATE}
    return [
        float(unpack(one.body).answer[0].numpy()[0, 0]) if one.status is Status.DUPLICATE else float(y[row, 0])
        for row, one in enumerate(told)
    ]


def summed_over_a_death(session: Stateless, kind: type[Slab], last: int) -> tuple[bool, list[list[float]]]:
    """Three sequences, a worker that dies at a store of their second step, and one that takes over."""
    slab = memory(session.layout.geometry)
    first = Gateway(session, slab, kind)
    found = [results(first, [ask(name, 1, Flag.START) for name in NAMES], 1.0)]
    first.close()
    second = Gateway(session, slab, mortal(kind, last))
    again = [ask(name, 2) for name in NAMES]
    died = False
    try:
        found.append(results(second, again, 10.0))
    except Killed:
        died = True
        third = Gateway(session, slab, kind)
        found.append(results(third, again, 10.0))
        third.close()
    second.close()
    last_one = Gateway(session, slab, kind)
    found.append(results(last_one, [ask(name, 3) for name in NAMES], 100.0))
    last_one.close()
    os.close(slab)
    return died, found


RIGHT = [[1.0] * 3, [11.0] * 3, [111.0] * 3]


def each_store(session: Stateless, kind: type[Slab]) -> list[list[list[float]]]:
    """What comes out with a death before the 1st, 2nd … store, until there is no death any more."""
    seen = []
    for last in range(100):
        died, found = summed_over_a_death(session, kind, last)
        seen.append(found)
        if not died:
            return seen
    raise AssertionError("the stores do not end")


def test_a_death_at_any_store_loses_and_doubles_no_step(session: Stateless) -> None:
    """Of a batch of three, some committed and some not: sent again, each is taken exactly once."""
    seen = each_store(session, Slab)
    assert len(seen) >= 3 * 4
    assert all(found == RIGHT for found in seen)


def test_without_the_commit_word_a_death_is_seen(session: Stateless, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control of the test before."""
    monkeypatch.setattr("changeover.worker.broken._SLOW", 0)
    assert any(found != RIGHT for found in each_store(session, Torn))


def killed_at_random(session: Stateless, kind: type[Slab], within: int) -> tuple[int, list[str]]:
    """Sequences stepped by processes that are killed; how many died with a step in hand, and what was wrong.

    Args:
        session: of the model.
        kind: of slab.
        within: nanoseconds after a message in which its worker is killed.
    """
    chance, slab = random.Random(5), memory(session.layout.geometry)
    gateway = Gateway(session, slab, kind, forked=True)
    sums, wrong, died = dict.fromkeys(NAMES, 0.0), list[str](), 0
    for number in range(1, KILLS + 1):
        asks = [ask(name, number, Flag.START if number == 1 else Flag(0)) for name in chance.sample(NAMES, 3)]
        gateway.on_sent = killer(gateway, chance.randrange(within))
        try:
            found = results(gateway, asks, float(number))
        except Died:
            died += 1
            gateway.close()
            gateway = Gateway(session, slab, kind, forked=True)
            found = results(gateway, asks, float(number))
        else:
            gateway.close()
            gateway = Gateway(session, slab, kind, forked=True)
        for one, y in zip(asks, found, strict=True):
            name = one.tag[1:].decode()
            sums[name] += number
            if y != sums[name]:
                wrong.append(f"step {number} of {name}: {y} instead of {sums[name]}")
                sums[name] = y
    gateway.close()
    os.close(slab)
    return died, wrong


def killer(gateway: Gateway, after: int) -> Callable[[], None]:
    """Kills the worker so many nanoseconds after a message was sent."""

    def kill() -> None:
        until = perf_counter_ns() + after
        while perf_counter_ns() < until:
            pass
        os.kill(gateway.pid, 9)

    return kill


def test_processes_killed_at_random_instructions_lose_and_double_no_step(session: Stateless) -> None:
    """SIGKILL somewhere between the message and a little after its answer, forty times."""
    gateway = Gateway(session, memory(session.layout.geometry), forked=True)
    took = []
    for number in range(1, 11):
        began = perf_counter_ns()
        results(gateway, [ask(name, number, Flag.START if number == 1 else Flag(0)) for name in NAMES], 1.0)
        took.append(perf_counter_ns() - began)
    within = round(median(took) * 1.25)  # one step for which the machine stood still makes them no longer
    gateway.close()
    died, wrong = killed_at_random(session, Slab, within)
    assert died >= KILLS // 8
    assert wrong == []
