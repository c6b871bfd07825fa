"""Which cut connections a kill explains."""

from __future__ import annotations

from changeover.bench.breaks import NOTICED_WITHIN, Kill, tell_apart
from changeover.bench.records import Break

KILLS = [
    Kill(20.0, "worker", 7),
    Kill(10.0, "gateway", 8, frozenset({1001, 1002})),
    Kill(12.0, "gateway", 9, frozenset({1003})),
]


def cut(at: float, port: int, *, busy: bool = True) -> Break:
    return Break(at, port, "connection reset", busy, retried=busy)


def test_only_the_connections_that_a_killed_process_held_are_its_own() -> None:
    """The port decides: a connection of another gateway that breaks at the same moment is unexplained."""
    held, foreign = cut(10.1, 1001), cut(10.1, 1003)
    told = tell_apart([held, foreign], KILLS)
    assert (told.by_kill, told.unexplained, told.idle) == ((held,), (foreign,), ())


def test_time_bounds_the_explanation() -> None:
    """What broke before the kill, or long after it on a port used again, is not explained by it."""
    early, late, just = cut(9.9, 1001), cut(10.0 + NOTICED_WITHIN + 0.1, 1001), cut(12.1, 1002)
    told = tell_apart([early, late, just], KILLS)
    assert (told.by_kill, told.unexplained) == ((just,), (early, late))


def test_a_killed_worker_explains_nothing() -> None:
    """Only what held connections can break them."""
    assert len(tell_apart([cut(20.1, 1001)], KILLS).unexplained) == 1


def test_idle_connections_are_apart() -> None:
    """An idle connection costs no request: with a kill it is counted with its kill, without one as idle."""
    told = tell_apart([cut(10.1, 1002, busy=False), cut(15.0, 4000, busy=False)], KILLS)
    assert (len(told.by_kill), told.requests, len(told.idle), told.unexplained) == (1, 0, 1, ())
