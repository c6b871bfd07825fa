"""How soon a dead worker is replaced, and when trying at once ends."""

from __future__ import annotations

import pytest

from changeover.supervisor.circuit import Cause, Circuit, State, backoff


def test_backoff_grows_to_its_limit() -> None:
    """The first death costs nothing, then 0.1 s doubling to 10 s."""
    assert [backoff(n) for n in (0, 1, 2, 3, 4)] == [0.0, 0.0, 0.1, 0.2, 0.4]
    assert backoff(50) == 10.0


def test_the_fifth_quick_death_opens() -> None:
    """Until then each is a little later; from then on a try a period, which grows to a minute."""
    circuit = Circuit()
    waits = []
    for _ in range(9):
        circuit.died(3.0, Cause.CRASHED, -11)
        waits.append((circuit.state, circuit.wait))
        circuit.tried()
    assert waits[:4] == [(State.CLOSED, w) for w in (0.0, 0.1, 0.2, 0.4)]
    assert waits[4:] == [(State.OPEN, w) for w in (10.0, 20.0, 40.0, 60.0, 60.0)]
    assert circuit.state is State.HALF_OPEN


def test_a_long_life_begins_anew() -> None:
    """A death after ten seconds of service is a first one, however many there were before."""
    circuit = Circuit()
    for _ in range(4):
        circuit.died(0.5, Cause.MEMORY_LIMIT, -9)
    circuit.died(10.0, Cause.CRASHED, -11)
    assert (circuit.state, circuit.deaths, circuit.wait) == (State.CLOSED, 1, 0.0)


def test_a_stable_worker_closes() -> None:
    """All is forgotten but the last cause."""
    circuit = Circuit()
    for _ in range(5):
        circuit.died(0.0, Cause.STOPPED, -9)
    circuit.tried()
    circuit.proved()
    assert (circuit.state, circuit.deaths) == (State.CLOSED, 0)
    assert circuit.to_dict() == {"circuit": "closed", "deaths": 0, "cause": "stopped", "code": -9, "wait": 10.0}


@pytest.mark.parametrize("cause", [c for c in Cause if c is not Cause.KILLED])
def test_all_but_kills_from_outside_count(cause: Cause) -> None:
    """Who kills workers by hand, or on purpose in a test, opens nothing; what the machine itself does, counts."""
    circuit, other = Circuit(), Circuit()
    for _ in range(5):
        circuit.died(0.0, cause, -9)
        other.died(0.0, Cause.KILLED, -9)
    assert (circuit.state, other.state) == (State.OPEN, State.CLOSED)
    assert other.wait == 0.2


def test_a_kill_of_the_tried_worker_keeps_the_circuit_as_it_is() -> None:
    """It has proven nothing: neither that it would live nor that it would die."""
    circuit = Circuit()
    for _ in range(5):
        circuit.died(0.0, Cause.CRASHED, 1)
    circuit.tried()
    circuit.died(1.0, Cause.KILLED, -9)
    assert (circuit.state, circuit.deaths, circuit.wait) == (State.HALF_OPEN, 5, 0.0)
