"""Workers that die again and again: the circuit, and who is told of it."""

from __future__ import annotations

import pytest

from changeover.transport.link import Kind
from tests.supervisor.house import Crew


def crash(crew: Crew, times: int) -> None:
    """The worker of loading 1 is ready and dies at once, again and again."""
    for pid in range(4711, 4711 + times):
        worker = crew.up(1, pid)
        crew.workers.died(worker, -11)
        crew.timers[-1][1]()  # the delay is over


def test_five_quick_deaths_open_the_circuit(crew: Crew) -> None:
    """Gateways hear of it once it is open, the next try is 10 s away, and whoever asks meanwhile hears it too."""
    crew.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    crash(crew, 4)
    crew.workers.open(crew.gateway, 1, None)
    assert [k for k, _ in crew.heard(crew.gateway)] == []
    crew.workers.died(crew.up(1, 4800), -11)
    told = [body for kind, body in crew.heard(crew.gateway) if kind is Kind.HEALTH]
    assert [(b["circuit"], b["deaths"], round(b["wait"])) for b in told] == [("open", 5, 10)]
    assert crew.timers[-1][0] == 10.0
    crew.workers.open(crew.gateway, 1, None)
    ((kind, body),) = crew.heard(crew.gateway)
    assert (kind, body["circuit"]) == (Kind.HEALTH, "open")
    assert crew.workers.loadings[1].snapshot()["health"]["circuit"] == "open"


def test_an_open_circuit_tries_one_worker_a_period_and_a_stable_one_closes_it(crew: Crew) -> None:
    """10 s, then 20 s; who waits gets the channel of the worker that is tried, and 10 s later all is well."""
    crew.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    crash(crew, 5)
    circuit = crew.workers.loadings[1].circuit
    assert circuit.state == "half_open"
    crew.workers.died(crew.up(1, 4800), -6)
    assert (circuit.state, crew.timers[-1][0]) == ("open", 20.0)
    crew.timers[-1][1]()
    crew.workers.open(crew.gateway, 1, None)
    crew.heard(crew.gateway)
    crew.heard(crew.controller)
    crew.up(1, 4801)
    assert [k for k, _ in crew.heard(crew.gateway)] == [Kind.CHANNEL]
    delay, prove = crew.timers[-1]
    assert delay == 10.0
    prove()
    assert crew.heard(crew.controller)[-1][1]["circuit"] == "closed"
    crew.workers.died(crew.worker(1), -11)
    assert crew.timers[-1][0] == 0.0


def test_nobody_waits_for_a_worker_that_is_only_tried(crew: Crew) -> None:
    """Half open, a gateway that asks is told to refuse, as long as the worker is not ready."""
    crew.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    crash(crew, 5)
    crew.heard(crew.gateway)
    tried = crew.worker(1)
    tried.pid = 4800
    crew.workers.named(tried)
    crew.workers.open(crew.gateway, 1, None)
    assert crew.workers.loadings[1].circuit.state == "half_open"
    assert [(k, b["circuit"]) for k, b in crew.heard(crew.gateway)] == [(Kind.HEALTH, "open")]
    crew.up(1, 4800)
    assert [k for k, _ in crew.heard(crew.gateway)] == [Kind.CHANNEL]


def test_kills_from_outside_open_no_circuit(crew: Crew) -> None:
    """A hundred SIGKILLs are no sign of a bad model: each worker is replaced within 0.2 s."""
    crew.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    crew.workers.open(crew.gateway, 1, None)
    for pid in range(100):
        worker = crew.up(1, 5000 + pid)
        told = [body["blameless"] for kind, body in crew.heard(crew.gateway) if kind is Kind.CHANNEL]
        assert told == [pid > 0]  # the requests that the last one had in hand
        crew.workers.died(worker, -9)
        crew.workers.open(crew.gateway, 1, worker.number)
        delay, start = crew.timers[-1]
        assert delay <= 0.2
        start()
    assert crew.workers.loadings[1].circuit.state == "closed"
    assert not [k for k, _ in crew.heard(crew.gateway)]


@pytest.mark.parametrize(("first", "next_one", "blameless"), [(-9, 1, True), (-11, -9, False)])
def test_a_replacement_that_never_was_ready_changes_nobodys_blame(
    crew: Crew, first: int, next_one: int, blameless: bool
) -> None:
    """What was in hand was the last ready worker's: how its successor died while loading says nothing of it."""
    crew.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    crew.workers.died(crew.up(1, 4711), first)
    crew.timers[-1][1]()
    loads = crew.worker(1)
    loads.pid = 4712
    crew.workers.named(loads)
    crew.workers.died(loads, next_one)
    crew.workers.open(crew.gateway, 1, None)
    crew.timers[-1][1]()
    crew.up(1, 4713)
    told = [body["blameless"] for kind, body in crew.heard(crew.gateway) if kind is Kind.CHANNEL]
    assert told == [blameless]
