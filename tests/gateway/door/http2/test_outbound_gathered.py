"""What is written in one turn of the loop."""

from __future__ import annotations

from collections.abc import Callable

from changeover.gateway.door.http2.calm import Calm
from changeover.gateway.door.http2.fields import HEAD, TAIL_OK
from changeover.gateway.door.http2.frames import Setting
from changeover.gateway.door.http2.outbound import Outbound
from tests.gateway.door.http2.outgoing import Out, stream


class Later(Out):
    """Writes when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.due: list[Callable[[], None]] = []
        self.out = Outbound(self.gate, self.transport, Calm(0.0), self.due.append)  # type: ignore[arg-type]


def test_what_is_written_in_one_turn_is_one_write() -> None:
    """In its order; a large answer behind it comes behind it, and what is over 64 KiB waits for nothing."""
    made = Later()
    made.out.settle({Setting.INITIAL_WINDOW_SIZE: 1 << 20}, {})
    made.out.open(None, 1 << 20)
    for number in (1, 3):
        assert made.out.answer(stream(number), HEAD, (b"abc",), TAIL_OK)
    assert (made.transport.writes, len(made.due)) == (0, 1)
    made.due.pop()()
    assert (made.transport.writes, list(made.sent())) == (1, [1, 3])
    made.out.answer(stream(5), HEAD, (b"abc",), TAIL_OK)
    made.out.answer(stream(7), HEAD, (bytes(100_000),), TAIL_OK)
    made.out.pump()
    assert list(made.sent()) == [1, 3, 5, 7]
    for number in (9, 11, 13, 15, 17):
        assert made.out.answer(stream(number), HEAD, (bytes(16_000),), TAIL_OK)
    assert list(made.sent())[-1] == 17, "although nobody came back to it"


def test_what_was_gathered_goes_out_at_the_end() -> None:
    """And nothing after it; a transport that is closing gets nothing any more."""
    made = Later()
    made.out.answer(stream(1), HEAD, (b"abc",), TAIL_OK)
    made.out.close()
    made.out.answer(stream(3), HEAD, (b"abc",), TAIL_OK)
    made.due.pop()()
    assert (made.transport.writes, list(made.sent()), made.due) == (1, [1], [])
    gone = Later()
    gone.out.answer(stream(1), HEAD, (b"abc",), TAIL_OK)
    gone.transport.closing = True
    gone.due.pop()()
    assert gone.transport.writes == 0
