"""The state of a loading's sequences: who gets the memory, and how long it is kept."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from changeover.sequences.slab import Slab
from changeover.supervisor.family import Member
from changeover.supervisor.workers import Workers
from changeover.transport.link import Frame, Kind, Link
from tests.supervisor.house import Crew

SLAB = [4, 100]


def frames(crew: Crew, member: Member) -> list[Frame]:
    """All that a member got, with its descriptors."""
    found = []
    while (message := crew.ends[member.number].receive()) is not None:
        found.append(message)
    return found


def forked(crew: Crew, **told: object) -> Member:
    """The worker that the zygote was asked for, ready; the test has the other end of its link."""
    (fork,) = frames(crew, crew.zygote)
    worker = crew.worker(1)
    crew.ends[worker.number] = Link(socket.socket(fileno=fork.fds[0]))
    return crew.up(1, 4711, **told)


def spawned(crew: Crew) -> Member:
    """A worker of a sequence model that is ready, and a gateway that waits for it."""
    crew.workers.spawn({"loading": 1, "spec": {"model": "m"}})
    crew.workers.open(crew.gateway, 1, None)
    return forked(crew, slab=SLAB)


def test_worker_and_gateways_get_the_same_memory(crew: Crew) -> None:
    """The worker before its first channel and for writing, the gateway with its channel and to read."""
    worker = spawned(crew)
    _, slab, opened = frames(crew, worker)
    assert (slab.kind, opened.kind) == (Kind.SLAB, Kind.CHANNEL)
    writer = Slab(slab.fds[0], Slab(slab.fds[0]).geometry)
    (seen,) = frames(crew, crew.gateway)
    assert len(seen.fds) == 3
    reader = Slab(seen.fds[2])
    writer.claim(0, bytes(16), b"tag")
    assert not list(reader.briefs())
    writer.count(3)
    assert reader.live == 3
    with pytest.raises(PermissionError):
        Slab(seen.fds[2], reader.geometry)


def test_the_next_worker_gets_what_the_last_one_left(crew: Crew) -> None:
    """A death changes nothing; the end of the loading closes it."""
    worker = spawned(crew)
    fd = frames(crew, worker)[1].fds[0]
    Slab(fd, Slab(fd).geometry).count(2)
    crew.workers.died(worker, -9)
    crew.timers[-1][1]()
    replacement = forked(crew, slab=SLAB)
    _, given = frames(crew, replacement)
    assert Slab(given.fds[0]).live == 2
    held = crew.workers.loadings[1].slab
    assert held is not None
    crew.workers.retire(1, 1.0)
    crew.workers.died(replacement, 0)
    for kept in held:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(kept)


def test_a_controller_is_shown_a_slab(crew: Crew) -> None:
    """To read; of a loading without one it gets nothing."""
    spawned(crew)
    frames(crew, crew.controller)
    for number in (1, 9):
        crew.workers.show(crew.controller, number)
    shown, nothing = frames(crew, crew.controller)
    assert (shown.kind, shown.json(), len(shown.fds)) == (Kind.SLAB, {"loading": 1}, 1)
    assert Slab(shown.fds[0]).live == 0
    assert (nothing.json(), list(nothing.fds)) == ({"loading": 9}, [])


def test_a_worker_without_room_for_its_slab_is_replaced(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor lives on."""

    def full(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("changeover.supervisor.loading.page.sealed_memfd", full)
    worker = spawned(crew)
    assert [number for number, _ in crew.killed] == [worker.number]
    assert isinstance(crew.workers, Workers)
