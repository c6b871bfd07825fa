"""Connections that end in every state: nothing of them is left, and nobody had to look for it."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from changeover.gateway.door.http2 import frames
from changeover.gateway.door.http2.connection import Http2Door
from changeover.gateway.door.http2.fields import Status
from changeover.gateway.door.http2.message import prefix
from changeover.gateway.door.http2.phase import Phase
from changeover.tls import TlsFiles, server_context
from tests.certificates import Authority
from tests.gateway.door.http2.served import ECHO, HOLD, LARGE, TALK, Served, Wire, serving
from tests.gateway.door.living import living, uncollected

from grpc_door_wire import OPENING, begin, call, data, head  # isort: skip

BUDGET = 1 << 20
LIMITS: dict[str, Any] = {"gateway_bytes": BUDGET, "wait_seconds": 60.0, "linger_seconds": 60.0}
"""No state is left because time passes."""


def said(*parts: bytes) -> bytes:
    """Messages of a talk."""
    return b"".join(prefix(len(part)) + part for part in parts)


BLOCK = head(ECHO, (b"x-long", b"v" * 5000))


def _message(door: Http2Door) -> bool:
    return any(stream.message is not None for stream in door._streams.open.values())


def _waits(door: Http2Door) -> bool:
    return any(stream.on_grant is not None for stream in door._streams.open.values())


STATES: dict[str, tuple[bytes, Callable[[Http2Door], bool]]] = {
    "new": (b"", lambda door: door._phase is Phase.OPEN),
    "answered": (call(1, ECHO, b"x"), lambda door: door._streams.last == 1 and not door._streams.open),
    "mid-frame": (begin(1, ECHO)[:20], lambda door: door._turns._frames.held > 0),
    "mid-head": (frames.frame(frames.HEADERS, 0, 1, BLOCK[:4000]), lambda door: bool(door._in.assembling.stream)),
    "mid-message": (begin(1, ECHO) + data(1, prefix(9000) + bytes(4000), end=False), _message),
    "waiting": (begin(1, ECHO) + data(1, prefix(BUDGET) + bytes(4000), end=False), _waits),
    "with the application": (call(1, HOLD, b"x") + call(3, HOLD, b"y"), lambda door: door.busy == 2),
    "mid-answer": (call(1, LARGE, b"900000"), lambda door: door._out.unsent > 0),
    "talking": (begin(1, TALK) + data(1, said(b"Hold:a", b"b", b"Hold:c")), lambda door: door.busy == 2),
    "talking, mid-message": (begin(1, TALK) + data(1, said(b"b") + b"\0\0", end=False), _message),
    "talking, mid-answer": (begin(1, TALK) + data(1, said(b"Large:90000") * 3), lambda door: door._out.unsent > 0),
    "a lasting answer": (begin(1, TALK) + data(1, said(b"Last:a")), lambda door: bool(door._streams.open)),
    "broken": (frames.frame(frames.PING, 0, 7, bytes(8)), lambda door: door._phase is Phase.LINGER),
}


def half_close(wire: Wire) -> None:
    """No more is sent: with gRPC that is the end."""
    wire.sock.shutdown(socket.SHUT_WR)


def close(wire: Wire) -> None:
    """With what is unread, this is a reset too."""
    wire.sock.close()


def reset(wire: Wire) -> None:
    """Without a word."""
    wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.sock.close()


def bring(served: Served, state: str, tls: ssl.SSLContext | None = None) -> Wire:
    """A connection in this state."""
    sent, there = STATES[state]
    wire = served.wire(opening=OPENING + sent, tls=tls)

    def reached() -> bool:
        return any(isinstance(door, Http2Door) and there(door) for door in served.server._gate.connections)

    served.until(lambda: bool(served.call(reached)), state)
    return wire


def end_all(served: Served, tls: ssl.SSLContext | None = None) -> int:
    """One connection after the other, from every state in every way; returns how many."""
    ways = [close, reset] if tls else [half_close, close, reset]
    for state in STATES:
        taken = BUDGET if state == "waiting" else 0
        served.call(lambda taken=taken: served.server._gate.budget.charge(taken))
        for way in ways:
            wire = bring(served, state, tls)
            way(wire)
            served.until(lambda: not served.server.connections, f"the end of one that was {state}")
            assert served.server.budget_used == taken
            wire.sock.close()
        served.call(lambda taken=taken: served.server._gate.budget.give(taken))
    return len(STATES) * len(ways)


def forget(served: Served) -> None:
    """The application answers late, and lets go."""
    for number, held in enumerate(served.app.held):
        if number % 2:
            served.call(lambda held=held: held.respond([b"late"]))
        else:
            served.call(lambda held=held: held.fail(Status.INTERNAL, "late"))
    served.app.held.clear()
    served.app.seen.clear()


def test_nothing_is_left_of_a_connection() -> None:
    """Whatever it was doing, and however it ended: its memory is free before a collection."""
    with serving(**LIMITS) as served, uncollected():
        before = served.call(living)
        assert end_all(served) == 39
        assert served.server.counts.abandoned > 0
        forget(served)
        served.until(lambda: not served.call(living) - before, f"nothing more than {before}")


def test_nothing_is_left_of_a_connection_with_tls(tmp_path: Path) -> None:
    """Neither with the transport that TLS needs."""
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    tls = server_context(TlsFiles(str(pair.cert), str(pair.key), str(authority.cert)), demand=False, alpn="h2")
    client_tls = authority.client_context()
    client_tls.set_alpn_protocols(["h2"])
    with serving(tls, **LIMITS) as served, uncollected():
        before = served.call(living)
        assert end_all(served, client_tls) == 26
        forget(served)
        served.until(lambda: not served.call(living) - before, f"nothing more than {before}")


def test_nothing_is_left_of_a_talk(door2: Served) -> None:
    """One that has ended goes although its connection stays."""
    with door2.wire() as wire, uncollected():
        for number in range(1, 21, 2):
            wire.send(begin(number, TALK) + data(number, said(b"a", b"Fail:b" if number % 4 == 3 else b"b")))
            wire.wait(number)
        door2.app.seen.clear()
        door2.until(lambda: not {"Stream", "Talk", "Place", "Turn"} & door2.call(living).keys(), "the end of all parts")
        assert door2.server.connections == 1


def test_a_connection_that_keeps_its_parts_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The measure is one: with a reference that is cut, all of them are left until a collection."""
    lost = Http2Door.connection_lost

    def keep(self: Http2Door, exc: Exception | None) -> None:
        streams = self._streams
        lost(self, exc)
        self._streams = streams

    monkeypatch.setattr(Http2Door, "connection_lost", keep)
    with serving() as served, uncollected():
        before = served.call(living)
        for _ in range(5):
            bring(served, "mid-message").sock.close()
            served.until(lambda: not served.server.connections)
        left = served.call(living) - before
        assert left["Http2Door"] == left["Streams"] == left["Outbound"] == 5
