"""Provers, with a supervisor's messages taken from real links and no process behind them."""

from __future__ import annotations

import os
from typing import Any

import pytest

from changeover.supervisor.circuit import Cause
from changeover.supervisor.family import Member, Role
from changeover.supervisor.provers import Provers
from changeover.transport.link import Kind, frame
from changeover.transport.page import SAMPLE_AREA
from tests.supervisor.house import House

SPEC: dict[str, Any] = {"worker": {"model": "m"}}


class Nursery(House):
    """A house with provers."""

    def __init__(self) -> None:
        super().__init__()
        self.provers = Provers(self.family, self.later)

    def prover(self) -> Member:
        (found,) = self.family.of(Role.PROVER)
        return self.watched(found)

    def status(self, member: Member, state: str, loading: int = 1) -> None:
        self.provers.proved(member, frame(Kind.PROVED, {"loading": loading, "gate": "load", "state": state}))


@pytest.fixture
def house(loose_members: None) -> Nursery:
    """Provers, and nobody to fork them."""
    return Nursery()


@pytest.fixture
def zygote(house: Nursery) -> Member:
    return house.member(Role.ZYGOTE, ready=True)


def test_one_prover_a_loading(house: Nursery, zygote: Member) -> None:
    """Asked for twice it is forked once, quiet from its first instruction on."""
    for _ in range(2):
        house.provers.prove({"loading": 1, "spec": SPEC})
    ((kind, body),) = house.heard(zygote)
    assert (kind, body["role"], body["quiet"]) == (Kind.FORK, "prover", True)


def test_a_sample_is_asked_of_the_gateways_in_service(house: Nursery, zygote: Member) -> None:
    """Each gets the memory and a place in it, the prover the same memory; nobody is asked for nothing."""
    joining, *serving = [house.member(Role.GATEWAY, ready=ready) for ready in (False, True, True)]
    house.provers.prove({"loading": 1, "spec": {**SPEC, "sample": True}})
    given = []
    for place, gateway in enumerate(serving):
        message = house.ends[gateway.number].receive()
        assert message is not None
        assert (message.kind, message.json()) == (Kind.SAMPLE, {"model": "m", "place": place})
        given += message.fds
    assert len({os.fstat(fd).st_ino for fd in given}) == 1
    assert os.fstat(given[0]).st_size == 2 * SAMPLE_AREA
    for fd in given:
        os.close(fd)
    house.provers.prove({"loading": 2, "spec": SPEC})
    assert [house.heard(gateway) for gateway in (joining, *serving)] == [[], [], []]


def test_a_prover_waits_for_a_zygote(house: Nursery) -> None:
    """It is looked again; one that is not wanted any more is not forked then."""
    house.provers.prove({"loading": 1, "spec": SPEC})
    assert house.family.of(Role.PROVER) == []
    zygote = house.member(Role.ZYGOTE, ready=True)
    again = [call for delay, call in house.timers if delay < 0.1]
    again[-1]()
    assert [kind for kind, _ in house.heard(zygote)] == [Kind.FORK]


def test_reports_are_handed_on(house: Nursery, zygote: Member) -> None:
    """Those on its own loading; after the last one its end is nothing to warn of."""
    house.provers.prove({"loading": 1, "spec": SPEC})
    prover = house.prover()
    house.status(prover, "loading")
    assert not house.provers.is_retiring(prover)
    house.status(prover, "ready")
    assert house.provers.is_retiring(prover)
    assert [body["state"] for kind, body in house.heard(house.controller) if kind is Kind.PROVED] == [
        "loading",
        "ready",
    ]
    with pytest.raises(ValueError, match="loading 2"):
        house.status(prover, "loading", 2)
    with pytest.raises(ValueError, match="promoted"):
        house.status(prover, "promoted")


def test_a_death_is_told_and_nothing_replaced(house: Nursery, zygote: Member) -> None:
    """With its cause: SIGKILL from nobody here is one from outside."""
    house.provers.prove({"loading": 1, "spec": SPEC})
    prover = house.prover()
    house.family.remove(prover)
    house.provers.died(prover, -9)
    ((kind, body),) = house.heard(house.controller)
    assert (kind, body["role"], body["loading"], body["code"], body["cause"], body["restart"]) == (
        Kind.DIED, "prover", 1, -9, "killed", False,
    )  # fmt: skip
    assert house.family.of(Role.PROVER) == []
    house.provers.prove({"loading": 1, "spec": SPEC})
    assert len(house.family.of(Role.PROVER)) == 1


def test_an_end_that_is_asked_for(house: Nursery, zygote: Member) -> None:
    """By the controller for one loading, for all with the controller's own death; a loading without one is no error."""
    house.provers.end(7)
    house.provers.prove({"loading": 1, "spec": SPEC})
    prover = house.prover()
    house.provers.end_all()
    assert house.killed == [(prover.number, Cause.DENOUNCED)]
    assert house.provers.is_retiring(prover)
    house.provers.named(prover)  # it was being forked: now it has a pid
    assert len(house.killed) == 2


def test_an_end_before_the_fork(house: Nursery) -> None:
    """There is no process: the loading is told as lost at once, and the fork does not come."""
    house.provers.prove({"loading": 1, "spec": SPEC})
    house.provers.end(1)
    assert [kind for kind, _ in house.heard(house.controller)] == [Kind.DIED]
    zygote = house.member(Role.ZYGOTE, ready=True)
    for _, call in house.timers[:]:
        call()
    assert house.heard(zygote) == []


def test_a_machine_without_room(house: Nursery, zygote: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as killed from outside: the controller may try again."""

    def no_room(*_: object) -> Member:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(house.family, "fork", no_room)
    house.provers.prove({"loading": 1, "spec": SPEC})
    ((kind, body),) = house.heard(house.controller)
    assert (kind, body["cause"]) == (Kind.DIED, "killed")


def test_a_zygote_that_forks_nobody_is_killed(house: Nursery, zygote: Member) -> None:
    """It is stopped, or hangs."""
    house.watched(zygote)
    house.provers.prove({"loading": 1, "spec": SPEC})
    (expect,) = [call for delay, call in house.timers if delay == 5.0]
    expect()
    assert house.killed == [(zygote.number, Cause.STOPPED)]
