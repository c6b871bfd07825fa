"""Taking connections in one by one, and leaving without losing anybody."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import resource
import socket
import threading
import time
from typing import Any

import pytest

from changeover.gateway.door import listener
from changeover.gateway.door.listener import DoorServer
from tests.gateway.door.served import WAIT_SECONDS, Bench, Client, Served, get, post, serving
from tests.held_up import unless_held_up


@pytest.mark.parametrize(("shared", "most"), [(True, 1), (False, 7)])
def test_connections_per_readiness(door: Served, shared: bool, most: int) -> None:
    """One per turn of the loop where other processes want theirs; else a crowd need not wait for as many turns."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=64)
    server = DoorServer(Bench(), sock, shared=shared)
    counts: list[int] = []

    async def watch() -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(7):
                stack.enter_context(socket.create_connection(sock.getsockname()))
            server.start()
            for _ in range(40):
                counts.append(server.counts.accepted)
                await asyncio.sleep(0)
        await server.stop(1.0, duck_seconds=0.0)

    door.wait(watch())
    assert counts[-1] == 7
    assert max(after - before for before, after in itertools.pairwise(counts)) == most


@pytest.mark.parametrize(("seconds", "taken", "rests"), [(3600.0, 8, 1), (0.001, 20, 2)])
def test_a_crowd_is_shared_in_turns(
    door: Served, monkeypatch: pytest.MonkeyPatch, seconds: float, taken: int, rests: int
) -> None:
    """On a shared socket a process rests after eight connections, and goes on by itself when its rest is over."""
    monkeypatch.setattr(listener, "TICK_SECONDS", 3600.0)  # it would end the rest too
    monkeypatch.setattr(listener, "_TURN_SECONDS", seconds)
    sock = socket.create_server(("127.0.0.1", 0), backlog=64)
    server = DoorServer(Bench(), sock, shared=True)
    rested: list[int] = []
    really = server._rest
    monkeypatch.setattr(server, "_rest", lambda: rested.append(server.counts.accepted) or really())

    async def watch() -> int:
        server.start()
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(socket.create_connection(sock.getsockname()))
            end = time.monotonic() + WAIT_SECONDS
            while server.counts.accepted < taken and time.monotonic() < end:  # noqa: ASYNC110 - it is turns that count
                await asyncio.sleep(0)
            for _ in range(100):
                await asyncio.sleep(0)
            return server.counts.accepted

    async def leave() -> None:
        await server.stop(1.0, duck_seconds=0.0)

    assert door.wait(watch()) == taken
    assert rested == [8, 16][:rests]
    door.wait(leave())


def test_connection_limit() -> None:
    """At the limit further connections wait in the kernel and are served when one ends."""
    with serving(connections=2) as limited:
        first, second, third = limited.client(), limited.client(), limited.client()
        for client in (first, second, third):
            client.send(get())
        assert first.answer().status == second.answer().status == 200
        third.sock.settimeout(0.4)
        with pytest.raises(TimeoutError):
            third.answer()
        third.sock.settimeout(WAIT_SECONDS)
        first.sock.close()
        assert third.answer().status == 200
        second.sock.close()
        third.sock.close()


def test_no_descriptor_left(door: Served, caplog: pytest.LogCaptureFixture) -> None:
    """Without a free descriptor the connection waits in the kernel, and is served once there is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with door.client() as probe:
        probe.send(get())
        probe.answer()
        with socket.socket() as sock:
            sock.settimeout(WAIT_SECONDS)
            lowest = os.dup(0)
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
            try:
                sock.connect(("127.0.0.1", door.port))
                sock.sendall(get())
                door.until(lambda: "no connection can be taken" in caplog.text, "the warning")
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert sock.recv(100).startswith(b"HTTP/1.1 200 ")


def test_lame_duck_says_close_and_listens_on(door: Served) -> None:
    """A lame duck takes new connections and ends each with its answer."""
    with door.client() as old:
        old.send(get())
        assert "connection" not in old.answer().headers
        door.call(door.server.lame_duck)
        old.send(get())
        assert old.answer().headers["connection"] == "close"
        assert old.ended()
    with door.client() as new:
        new.send(get())
        assert new.answer().headers["connection"] == "close"


def test_lame_duck_answers_what_is_pipelined(door: Served) -> None:
    """Requests sent before the client could know are all answered; the last answer says close."""
    door.call(door.server.lame_duck)
    with door.client() as client:
        client.send(b"".join(post(b"%d" % number) for number in range(300)))
        answers = [client.answer() for _ in range(300)]
        assert [answer.body for answer in answers] == [b"%d" % number for number in range(300)]
        assert answers[-1].headers["connection"] == "close"
        assert client.ended()


@unless_held_up(0.3)
def test_stop_answers_what_is_in_flight() -> None:
    """A request in progress is answered during the stop, which then ends early."""
    with serving() as door, door.client() as client:
        client.send(get("/hold"))
        door.until(lambda: len(door.app.held) == 1)
        stopping = door.begin(door.server.stop(5.0, duck_seconds=0.1))
        time.sleep(0.5)
        assert not stopping.done()
        door.call(lambda: door.app.held[0].respond(200, b"", (b"in time",)))
        assert client.answer().body == b"in time"
        client.sock.close()
        assert stopping.result(1.0) == 0


def test_stop_cuts_off_at_the_deadline(door: Served) -> None:
    """What is not answered by the deadline is cut, counted and told to the application."""
    with door.client() as client:
        client.send(get("/hold"))
        door.until(lambda: len(door.app.held) == 1)
        assert door.wait(door.server.stop(0.5, duck_seconds=0.1)) == 1
        assert client.ended()
    assert door.app.abandoned == ["/hold"]


@unless_held_up(0.3)
def test_idle_connections_close_and_young_ones_have_their_time() -> None:
    """After the lame duck idle connections end; one that has just come may still send its request."""
    with serving() as door:
        with door.client() as idle:
            idle.send(get())
            idle.answer()
            stopping = door.begin(door.server.stop(5.0, duck_seconds=1.6))
            time.sleep(0.8)
            with door.client() as young:
                assert idle.ended()
                young.send(get())
                assert young.answer().headers["connection"] == "close"
        assert stopping.result(2.0) == 0


def test_connections_in_the_kernels_queue_are_served(door: Served) -> None:
    """Clients whose handshake is done, but who were not taken yet, are answered during the stop."""
    clients: list[Client] = []

    async def crowd_then_stop() -> int:
        for _ in range(50):
            client = door.client()
            client.send(get())
            clients.append(client)
        return await door.server.stop(3.0, duck_seconds=0.0)

    assert door.wait(crowd_then_stop()) == 0
    for client in clients:
        assert client.answer().status == 200
        client.sock.close()


@unless_held_up(0.3)
def test_last_listener_leaves_no_half_open_door() -> None:
    """While the last ones are taken in, a new handshake does not finish; afterwards it is refused."""
    held_off, really = threading.Event(), listener._hold_off_handshakes
    with pytest.MonkeyPatch.context() as patched, serving() as door:
        patched.setattr(listener, "_hold_off_handshakes", lambda sock: really(sock) and not held_off.set())
        patched.setattr(listener, "_SETTLE_SECONDS", 1.0)
        stopping = door.begin(door.server.stop(3.0, duck_seconds=0.0))
        assert held_off.wait(WAIT_SECONDS)
        with socket.socket() as late:
            late.settimeout(0.1)
            with pytest.raises(TimeoutError):
                late.connect(("127.0.0.1", door.port))
        assert stopping.result(2.0) == 0
        with pytest.raises(ConnectionRefusedError):
            door.client()


def test_other_listeners_go_on() -> None:
    """A gateway that leaves a shared socket loses nobody: the other one takes every new connection."""
    with serving() as staying:
        other = DoorServer(Bench(), staying.sock.dup())
        staying.call(other.start)
        leaving = staying.begin(other.stop(2.0, last=False, duck_seconds=0.1))
        for _ in range(50):
            with staying.client() as client:
                client.send(get())
                assert client.answer().status == 200
        assert leaving.result(3.0) == 0
        with staying.client() as client:
            client.send(get())
            assert client.answer().status == 200
        staying.until(lambda: staying.server.connections == 0)


def test_stop_under_load_loses_nothing() -> None:
    """Clients that send all the time, on kept and on fresh connections, miss no answer during a stop."""
    with serving() as door:
        lost: list[str] = []
        answered = [0] * 8
        threads = [threading.Thread(target=_hammer, args=(door.port, n, answered, lost)) for n in range(8)]
        for thread in threads:
            thread.start()
        door.until(lambda: min(answered) > 10, "traffic")
        assert door.wait(door.server.stop(5.0, duck_seconds=0.5)) == 0
        for thread in threads:
            thread.join(5.0)
            assert not thread.is_alive()
        assert lost == []


def _hammer(port: int, number: int, answered: list[int], lost: list[str]) -> None:
    """Send requests until a connection is refused; every one that was sent must be answered."""
    for round_ in range(100_000):
        try:
            client = Client(port)
        except ConnectionRefusedError:
            return
        with client:
            for _ in range(1 if number % 2 else 10_000):
                try:
                    client.send(post(b"%d" % round_))
                    answer = client.answer()
                except (OSError, AssertionError) as error:
                    lost.append(repr(error))
                    return
                answered[number] += 1
                if answer.headers.get("connection") == "close":
                    break


@pytest.mark.parametrize("number", [errno.EPROTO, errno.ENETDOWN, errno.EHOSTUNREACH])
def test_a_connection_that_the_network_lost_is_none(door: Served, number: int) -> None:
    """Accept reports errors of the connection itself; they end neither the listening nor the leaving."""

    class Lossy(socket.socket):
        def accept(self) -> tuple[socket.socket, Any]:
            raise OSError(number, os.strerror(number))

    async def leave() -> int:
        with socket.create_server(("127.0.0.1", 0)) as made:
            server = DoorServer(Bench(), Lossy(fileno=made.detach()))
        server.start()
        return await server.stop(1.0, duck_seconds=0.0)

    assert door.wait(leave()) == 0
