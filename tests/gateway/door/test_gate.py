"""What connections share."""

from __future__ import annotations

import time

from changeover.gateway.door.gate import Counts, Gate
from changeover.gateway.door.limits import Limits
from tests.gateway.door.served import Served, get, serving


def test_tick_takes_the_time() -> None:
    """The coarse clock is the monotonic one at the last tick, and the date line is of this second."""
    gate = Gate(Limits())
    before = gate.now
    time.sleep(0.01)
    gate.tick()
    assert before < gate.now <= time.monotonic()
    assert b"GMT" in gate.stamp.line(200)


def test_counts(door: Served) -> None:
    """Connections, requests and refusals are counted once each."""
    with door.client() as client:
        client.send(get() * 3 + b"BROKEN\r\n\r\n")
        for _ in range(4):
            client.answer()
    door.until(lambda: door.server.connections == 0)
    assert door.server.counts == Counts(accepted=1, requests=3, refused=1)


def test_close_idle_spares_the_busy() -> None:
    """Only connections without a request, quiet long enough, are closed."""
    with serving() as door, door.client() as busy, door.client() as idle:
        busy.send(get("/hold"))
        idle.send(get())
        idle.answer()
        door.until(lambda: door.server.in_flight == 1)
        door.call(lambda: door.server._gate.close_idle(60.0))
        assert door.server.connections == 2
        door.call(lambda: door.server._gate.close_idle(0.0))
        assert idle.ended()
        door.until(lambda: door.server.connections == 1)
        door.call(lambda: door.app.held[0].respond(200, b"", ()))
        assert busy.answer().status == 200
