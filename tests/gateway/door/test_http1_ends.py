"""Connections that end in every state: nothing of them is left, and nobody had to look for it."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from changeover.gateway.door.http1 import Http1Door
from changeover.gateway.door.phase import Phase
from changeover.tls import TlsFiles, server_context
from tests.certificates import Authority
from tests.gateway.door.living import living, uncollected
from tests.gateway.door.served import CHUNKED_HEAD, Client, Served, get, post, serving

BUDGET = 1 << 20
LIMITS: dict[str, Any] = {"gateway_bytes": BUDGET, "wait_seconds": 60.0, "linger_seconds": 60.0}
"""No state is left because time passes."""
STATES: dict[str, tuple[bytes, Callable[[Http1Door], bool]]] = {
    "new": (b"", lambda _: True),
    "idle": (get("/known"), lambda door: door.phase is Phase.READING and bool(door._gate.counts.requests)),
    "mid-head": (b"POST /mod", lambda door: bool(door._reading.intake.inbox)),
    "mid-body": (post(b"x" * 5000)[:3000], lambda door: door._reading.intake.in_body),
    "mid-chunk": (CHUNKED_HEAD + b"5\r\nab", lambda door: door._reading.intake.received > 0),
    "waiting": (post(bytes(BUDGET))[:3000], lambda door: door.phase is Phase.WAITING),
    "with the application": (post(b"x", path="/hold"), lambda door: door.phase is Phase.APP),
    "pipelined": (post(b"x", path="/hold") + get() * 3, lambda door: len(door._reading.intake.inbox) > 0),
    "mid-answer": (get("/large?9000000"), lambda door: door._wire.stuck),
    "refused": (b"NONSENSE\r\n\r\n", lambda door: door.phase >= Phase.LINGER),
}


def half_close(client: Client) -> None:
    """No more is sent; what is answered is read."""
    client.sock.shutdown(socket.SHUT_WR)


def close(client: Client) -> None:
    """With what is unread, this is a reset too."""
    client.sock.close()


def reset(client: Client) -> None:
    """Without a word."""
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sock.close()


def bring(served: Served, state: str, tls: ssl.SSLContext | None = None) -> Client:
    """A connection in this state."""
    sent, there = STATES[state]
    client = served.client(receive_buffer=4096, tls=tls)
    if sent:
        client.send(sent)
    if state == "idle":
        client.answer()

    def reached() -> bool:
        return any(isinstance(door, Http1Door) and there(door) for door in served.server._gate.connections)

    served.until(lambda: bool(served.call(reached)), state)
    return client


def end_all(served: Served, tls: ssl.SSLContext | None = None) -> int:
    """One connection after the other, from every state in every way; returns how many."""
    ways = [close, reset] if tls else [half_close, close, reset]
    for state in STATES:
        taken = BUDGET if state == "waiting" else 0
        for way in ways:
            served.call(lambda taken=taken: served.server._gate.budget.charge(taken))
            client = bring(served, state, tls)
            way(client)
            served.call(lambda taken=taken: served.server._gate.budget.give(taken))
            if way is half_close:
                served.until(lambda: all(door._wire.ended for door in _doors(served)), "the half-close")
                if state != "pipelined":
                    served.call(lambda: [held.respond(200, b"", [b"late"]) for held in served.app.held])
                client.sock.close()
            served.until(lambda: not served.server.connections, f"the end of one that was {state}")
            assert served.server.budget_used == 0
    return len(STATES) * len(ways)


def _doors(served: Served) -> list[Http1Door]:
    return [door for door in list(served.server._gate.connections) if isinstance(door, Http1Door)]


def forget(served: Served) -> None:
    """The application answers late, and lets go."""
    for held in served.app.held:
        served.call(lambda held=held: held.respond(200, b"", [b"late"]))
        held.abandoned = None  # as who answers does: it holds the request
    served.app.held.clear()
    served.app.seen.clear()


def test_nothing_is_left_of_a_connection() -> None:
    """Whatever it was doing, and however it ended: its memory is free before a collection."""
    with serving(probe_seconds=0.1, **LIMITS) as served:
        bring(served, "idle").sock.close()
        served.until(lambda: not served.server.connections)
        forget(served)
        with uncollected():
            before = served.call(living)
            assert end_all(served) == 30
            forget(served)
            served.until(lambda: not served.call(living) - before, f"nothing more than {before}")
        assert served.server.budget_used == 0


def test_nothing_is_left_of_a_connection_with_tls(tmp_path: Path) -> None:
    """Neither with the transport that TLS needs."""
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    tls = server_context(TlsFiles(str(pair.cert), str(pair.key), str(authority.cert)), demand=False)
    with serving(tls, **LIMITS) as served:
        client_tls = authority.client_context()
        bring(served, "idle", client_tls).sock.close()
        served.until(lambda: not served.server.connections)
        forget(served)
        with uncollected():
            before = served.call(living)
            assert end_all(served, client_tls) == 20
            forget(served)
            served.until(lambda: not served.call(living) - before, f"nothing more than {before}")


def test_a_connection_that_keeps_its_parts_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The measure is one: with the reference that is cut, all of them are left until a collection."""
    lost = Http1Door.connection_lost

    def keep(self: Http1Door, exc: Exception | None) -> None:
        reading = self._reading
        lost(self, exc)
        self._reading = reading

    monkeypatch.setattr(Http1Door, "connection_lost", keep)
    with serving() as served, uncollected():
        before = served.call(living)
        for _ in range(5):
            bring(served, "mid-head").sock.close()
            served.until(lambda: not served.server.connections)
        left = served.call(living) - before
        assert left["Http1Door"] == left["Reading"] == left["Intake"] == 5
