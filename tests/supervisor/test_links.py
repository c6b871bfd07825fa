"""What a member may say on its link: a worker runs other people's files, and must not speak as a controller."""

from __future__ import annotations

import os
import selectors
from collections.abc import Iterator
from pathlib import Path

import pytest

from changeover.settings import Settings
from changeover.supervisor.family import Member, Role
from changeover.supervisor.process import Supervisor
from changeover.transport.link import CONTROLLER, Frame, Kind, Link, frame, pair
from tests.descriptors import held


class House:
    """A supervisor without processes; the members' other link ends are here."""

    def __init__(self, folder: Path) -> None:
        self.supervisor = Supervisor(Settings(state_dir=str(folder)))
        self.ends: dict[int, Link] = {}

    def close(self) -> None:
        for member in list(self.supervisor.family.members.values()):
            self.supervisor.links.mute(member)
            self.supervisor.family.remove(member)
        for end in self.ends.values():
            end.close()
        self.supervisor.links.close()

    def member(self, role: Role) -> Member:
        ours, theirs = pair()
        made = self.supervisor.family._add(role, Link(ours))
        self.ends[made.number] = Link(theirs)
        return made

    def say(self, member: Member, message: Frame) -> None:
        """The member says it, and the supervisor listens."""
        self.ends[member.number].send(message)
        self.supervisor.links.serve(member, selectors.EVENT_READ)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A house in which `kill` only notes itself."""
    monkeypatch.setattr(Member, "kill", lambda member, cause="": setattr(member, "reaped", True))
    made = House(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(
    "message",
    [
        frame(Kind.SHUTDOWN),
        frame(Kind.KILL, {"member": 1, "why": "for fun"}),
        frame(Kind.RETIRE, {"loading": 1, "grace": 0}),
        frame(Kind.COMMITTED, {"word": 1, "epoch": 9}, target=2),
        frame(Kind.OBSERVED, {"at_ns": 0, "loadings": []}, target=CONTROLLER),
        frame(Kind.STATUS, {"loading": 8, "state": "loading"}, target=CONTROLLER),
        Frame(Kind.STATUS, b"[" * 100_000),
    ],
    ids=lambda message: message.kind.name,
)
def test_a_worker_that_says_more_than_a_worker_may_is_killed(house: House, message: Frame) -> None:
    """Nobody else hears of it, and the server goes on."""
    controller, gateway, worker = (house.member(r) for r in (Role.CONTROLLER, Role.GATEWAY, Role.WORKER))
    worker.loading = 7
    house.say(worker, message)
    assert [m.reaped for m in (controller, gateway, worker)] == [False, False, True]
    assert house.ends[controller.number].receive() is None
    assert house.ends[gateway.number].receive() is None
    assert not house.supervisor.stopping


def test_descriptors_that_nobody_asked_for_are_closed(house: House) -> None:
    """Or a worker could use up all that the supervisor may have."""
    worker = house.member(Role.WORKER)
    before = held()
    house.say(worker, frame(Kind.STATUS, {"loading": 7, "state": "loading"}, fds=[0, 1]))
    assert worker.reaped
    assert not held() - before


def test_a_question_goes_with_its_descriptors(house: House) -> None:
    """From a gateway to the controller, who gets copies; nothing is kept here, so that the end of either shows."""
    controller, gateway = house.member(Role.CONTROLLER), house.member(Role.GATEWAY)
    before = held()
    reader, writer = os.pipe()
    house.say(gateway, Frame(Kind.ASK, b"{}", target=CONTROLLER, fds=[reader, writer]))
    os.close(reader)
    os.close(writer)
    heard = house.ends[controller.number].receive()
    assert heard is not None
    assert (heard.kind, heard.source, len(heard.fds)) == (Kind.ASK, gateway.number, 2)
    os.write(heard.fds[1], b"x")
    os.close(heard.fds[1])
    assert os.read(heard.fds[0], 2) + os.read(heard.fds[0], 2) == b"x"
    os.close(heard.fds[0])
    assert not held() - before


def test_a_question_without_a_controller_ends(house: House) -> None:
    """Its socket is closed, which the gateway hears at once; more descriptors than a question has are nonsense."""
    gateway = house.member(Role.GATEWAY)
    reader, writer = os.pipe()
    house.say(gateway, Frame(Kind.ASK, b"{}", target=CONTROLLER, fds=[writer]))
    os.close(writer)
    assert os.read(reader, 1) == b""
    assert not gateway.reaped
    house.say(gateway, Frame(Kind.ASK, b"{}", target=CONTROLLER, fds=[reader] * 3))
    assert gateway.reaped
    os.close(reader)


def test_what_a_gateway_says_to_the_controller_arrives(house: House) -> None:
    """With its number as the source, whatever it wrote there."""
    controller, gateway = house.member(Role.CONTROLLER), house.member(Role.GATEWAY)
    house.say(gateway, Frame(Kind.LEASES, b"{}", source=99, target=CONTROLLER))
    heard = house.ends[controller.number].receive()
    assert heard is not None
    assert (heard.kind, heard.source) == (Kind.LEASES, gateway.number)


def test_memory_for_a_sample_goes_from_the_controller_to_a_gateway(house: House) -> None:
    """One piece of it; a gateway may not ask another one for its sample."""
    controller, gateway, other = (house.member(role) for role in (Role.CONTROLLER, Role.GATEWAY, Role.GATEWAY))
    memory = os.memfd_create("sample")
    asked = frame(Kind.SAMPLE, {"model": "m", "place": 0}, target=gateway.number, fds=[memory])
    house.say(controller, asked)
    heard = house.ends[gateway.number].receive()
    assert heard is not None
    assert (heard.kind, heard.json(), len(heard.fds)) == (Kind.SAMPLE, {"model": "m", "place": 0}, 1)
    house.say(other, asked)
    assert house.ends[gateway.number].receive() is None
    assert other.reaped
    house.say(controller, frame(Kind.SAMPLE, {}, target=gateway.number, fds=[memory, memory]))
    assert house.ends[gateway.number].receive() is None
    for descriptor in (memory, *heard.fds):
        os.close(descriptor)
