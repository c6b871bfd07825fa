"""What the supervisor does when a member dies: a successor, held back by its own place's deaths, and the end of all."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from changeover.settings import Settings
from changeover.supervisor import process
from changeover.supervisor.family import Member, Role
from changeover.supervisor.process import Place, Supervisor
from changeover.transport.link import Kind, Link, pair


class _Holdings:
    """A listening socket alone."""

    def __init__(self) -> None:
        self.http = socket.socket()

    @property
    def open(self) -> bool:
        return self.http.fileno() >= 0

    def close_doors(self) -> None:
        self.http.close()


class House:
    """A supervisor whose members are link ends, and whose timers run when told to."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.supervisor = Supervisor(Settings(state_dir=str(folder)))
        self.holdings = self.supervisor._holdings = _Holdings()  # type: ignore[assignment]
        self.ends: dict[int, Link] = {}
        self.started: list[Place] = []
        self.pauses: list[float] = []
        self.due: list[Callable[[], None]] = []
        self.refuse = 0
        monkeypatch.setattr(self.supervisor, "_start", self._start)
        monkeypatch.setattr(self.supervisor.timers, "later", self._later)

    def close(self) -> None:
        for member in list(self.supervisor.family.members.values()):
            self.supervisor.links.mute(member)
            self.supervisor.family.remove(member)
        for end in self.ends.values():
            end.close()
        self.supervisor.links.close()
        self.holdings.http.close()

    def member(self, role: Role, index: int = 0) -> Member:
        ours, theirs = pair()
        made = self.supervisor.family._add(role, Link(ours))
        made.index = index
        self.ends[made.number] = Link(theirs)
        return made

    def told(self, member: Member) -> list[Kind]:
        """What a member was told since the last look."""
        kinds: list[Kind] = []
        while (message := self.ends[member.number].receive()) is not None:
            kinds.append(message.kind)
        return kinds

    def dies(self, member: Member, code: int = -9) -> None:
        self.supervisor._on_death(member, code)

    def run_timers(self) -> None:
        due, self.due = self.due, []
        for call in due:
            call()

    def _start(self, place: Place) -> None:
        if self.refuse:
            self.refuse -= 1
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self.started.append(place)
        self.member(*place)

    def _later(self, pause: float, call: Callable[[], None]) -> None:
        self.pauses.append(pause)
        self.due.append(call)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A house without processes."""
    made = House(tmp_path, monkeypatch)
    yield made
    made.close()


def test_a_successor_takes_the_place_of_the_dead(house: House) -> None:
    """The gateway beside it keeps its own."""
    first, second = house.member(Role.GATEWAY, 0), house.member(Role.GATEWAY, 1)
    house.dies(second)
    house.run_timers()
    assert house.started == [(Role.GATEWAY, 1)]
    assert sorted(m.index for m in house.supervisor.family.of(Role.GATEWAY)) == [0, 1]
    assert first.number in house.supervisor.family.members


def test_deaths_are_counted_by_place(house: House) -> None:
    """One that crashes again and again is held back, up to a second; the first death of another is not."""
    other = house.member(Role.GATEWAY, 0)
    victim = house.member(Role.GATEWAY, 1)
    for _ in range(8):
        house.dies(victim)
        house.run_timers()
        victim = next(m for m in house.supervisor.family.of(Role.GATEWAY) if m.index == 1)
    house.dies(other)
    assert house.pauses[:3] == [0.0, 0.1, 0.2]
    assert house.pauses[7] == process._GATEWAY_BACKOFF
    assert house.pauses[8] == 0.0


def test_a_successor_that_cannot_be_started_is_tried_again(house: House) -> None:
    """A machine that is out of processes for a moment must not end the whole server."""
    house.refuse = 2
    house.dies(house.member(Role.GATEWAY))
    for _ in range(3):
        house.run_timers()
    assert house.started == [(Role.GATEWAY, 0)]


def test_the_server_ends_with_its_last_gateway(house: House) -> None:
    """Each is told to stop, and the slower one is waited for."""
    gateways = [house.member(Role.GATEWAY, index) for index in range(2)]
    house.supervisor._stop()
    assert [house.told(g) for g in gateways] == [[Kind.STOP], [Kind.STOP]]
    house.dies(gateways[0], 0)
    assert house.supervisor._exit is None
    house.dies(gateways[1], 0)
    assert (house.supervisor._exit, house.started) == (0, [])


@pytest.mark.parametrize("code", [1, -9])
def test_a_gateway_that_is_cut_off_at_the_stop_takes_no_other_along(house: House, code: int) -> None:
    """The others answer what they hold; the exit code tells that something was lost."""
    gateways = [house.member(Role.GATEWAY, index) for index in range(2)]
    house.supervisor._stop()
    house.dies(gateways[0], code)
    assert house.supervisor._exit is None
    house.dies(gateways[1], 0)
    assert house.supervisor._exit == 1


def test_a_stop_between_a_gateways_death_and_its_successor_leaves_nobody_waiting(house: House) -> None:
    """Whoever has connected meanwhile sits in the listening socket: a last gateway answers and goes."""
    house.dies(house.member(Role.GATEWAY))
    house.supervisor._stop()
    assert (house.started, house.supervisor._exit) == ([(Role.GATEWAY, 0)], None)
    last = house.supervisor.family.one(Role.GATEWAY)
    assert last is not None
    assert house.told(last) == [Kind.STOP]
    house.dies(last, 0)
    assert house.supervisor._exit == 0


def test_the_last_gateways_sudden_death_at_the_stop_leaves_nobody_waiting(house: House) -> None:
    """Another one takes in who connected since; one that dies each time ends the server all the same."""
    house.member(Role.GATEWAY)
    house.supervisor._stop()
    for _ in range(process._LAST_GATEWAYS):
        assert house.supervisor._exit is None
        house.dies(house.supervisor.family.of(Role.GATEWAY)[0])
    assert house.supervisor._exit is None
    house.dies(house.supervisor.family.of(Role.GATEWAY)[0])
    assert (house.supervisor._exit, len(house.started)) == (1, process._LAST_GATEWAYS)


def test_after_the_port_is_left_no_gateway_is_started(house: House) -> None:
    """Nobody can wait in a socket that is closed."""
    gateway = house.member(Role.GATEWAY)
    house.supervisor._stop()
    house.due[0]()
    assert house.holdings.http.fileno() == -1
    house.dies(gateway)
    assert (house.supervisor._exit, house.started) == (1, [])
