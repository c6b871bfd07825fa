"""Requests taken out of one connection's input, without a socket."""

from __future__ import annotations

import asyncio
from typing import Any

from changeover.gateway.door.gate import Gate
from changeover.gateway.door.limits import INBOX_BYTES, Limits
from changeover.gateway.door.phase import Phase
from changeover.gateway.door.reading import Reading
from changeover.gateway.door.refusal import Refused
from tests.gateway.door.served import get, post


class Wire:
    """What a reading needs of the transport."""

    def __init__(self) -> None:
        self.stuck = self.ended = self.paused = False
        self.continued = 0

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def send_continue(self) -> None:
        self.continued += 1


class Connection:
    """Takes whole requests and answers each at once, unless it is told to hold them."""

    def __init__(self, **limits: Any) -> None:
        self.gate = Gate(Limits(**limits))
        self.wire = Wire()
        self.phase = Phase.READING
        self.deadline = 0.0
        self.holds = False
        self.wants = True
        self.events: list[str] = []
        self.reading = Reading(self.gate, self.wire, self)  # type: ignore[arg-type]

    def ask(self, received: float) -> bool:
        assert received > 0
        self.events.append(f"ask {self.reading.intake.head.path}")
        return self.wants

    def hand_over(self, received: float) -> None:
        assert received > 0
        self.events.append(f"take {self.reading.intake.head.path} {len(self.reading.intake.body)}")
        self.reading.intake.release()
        if self.holds:
            self.phase = Phase.APP

    def refuse(self, refusal: Refused) -> None:
        self.events.append(f"refuse {refusal.status}")

    def end(self, *, linger: bool) -> None:
        self.events.append(f"end {linger}")


def scenario(connection: Connection, *steps: Any) -> list[str]:
    """Feed bytes and do what else is to be done, with a turn of the loop after each."""

    async def run() -> None:
        for step in steps:
            if isinstance(step, bytes):
                connection.reading.feed(step)
            else:
                step()
            await asyncio.sleep(0)

    asyncio.run(run())
    return connection.events


def test_requests_are_handed_over_as_they_come() -> None:
    """Pipelined ones one after the other; a body that is still to come is asked about."""
    body = post(b"x" * 10)
    events = scenario(Connection(), get("/a") + get("/b"), body[:-1], body[-1:])
    assert events == ["take /a 0", "take /b 0", "ask /echo", "take /echo 10"]


def test_nothing_is_parsed_behind_a_request_in_progress() -> None:
    """What comes meanwhile is kept, and reading is paused when that is much."""
    connection = Connection()
    connection.holds = True
    assert scenario(connection, get("/a"), get("/b")) == ["take /a 0"]
    assert not connection.wire.paused
    scenario(connection, b"x" * INBOX_BYTES)
    assert connection.wire.paused


def test_an_unwanted_body_ends_the_reading() -> None:
    """Nothing of the budget was taken for it."""
    connection = Connection()
    connection.wants = False
    assert scenario(connection, post(b"x" * 100_000)) == ["ask /echo"]
    assert connection.gate.budget.used == 0


def test_the_budget_is_waited_for() -> None:
    """With a deadline and without reading on; then the body goes on, or all is given back."""
    for granted in (True, False):
        connection = Connection(gateway_bytes=100_000)
        connection.gate.budget.charge(100_000)
        scenario(connection, post(b"hello"))
        assert (connection.phase, connection.wire.paused) == (Phase.WAITING, True)
        assert connection.deadline == connection.gate.now + connection.gate.limits.wait_seconds
        if granted:
            events = scenario(connection, lambda c=connection: c.gate.budget.give(100_000))
            assert events == ["take /echo 5"]
        else:
            connection.reading.stop()
            connection.gate.budget.give(100_000)
            assert connection.events == []
        assert connection.gate.budget.used == 0


def test_each_missing_part_has_its_time() -> None:
    """Head and body have a deadline each, which more bytes of the same part do not move."""
    connection = Connection(header_seconds=3.0, body_seconds=5.0)
    now = connection.gate.now
    whole = post(b"x" * 10, "Expect: 100-continue")
    scenario(connection, whole[:9])
    assert connection.deadline == now + 3.0
    connection.gate.now = now + 1
    scenario(connection, whole[9:20])
    assert connection.deadline == now + 3.0
    scenario(connection, whole[20:-10])
    assert connection.deadline == now + 6.0
    assert (connection.wire.continued, connection.reading.due) == (1, now + 6.0)
    connection.gate.now = now + 2
    scenario(connection, whole[-10:-5])
    assert connection.deadline == now + 6.0
    assert connection.reading.due == now + 6.0 + 5 / connection.gate.limits.byte_rate
    scenario(connection, whole[-5:])
    assert connection.reading.due == 0.0


def test_a_client_that_ended_in_the_middle_is_not_waited_for() -> None:
    """What is missing will not come."""
    connection = Connection()
    connection.wire.ended = True
    assert scenario(connection, post(b"hello")[:-1]) == ["ask /echo", "end False"]


def test_many_requests_are_taken_in_turns() -> None:
    """After 64 of them the other connections go first, and then it goes on by itself."""
    connection = Connection()

    async def run() -> list[int]:
        connection.reading.feed(get("/") * 100)
        first = len(connection.events)
        await asyncio.sleep(0)
        return [first, len(connection.events)]

    assert asyncio.run(run()) == [64, 100]
    assert not connection.reading.scheduled


def test_what_is_no_request_is_refused() -> None:
    """After the requests before it."""
    assert scenario(Connection(), get("/a") + b"nonsense\r\n\r\n") == ["take /a 0", "refuse 400"]
