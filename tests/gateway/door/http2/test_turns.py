"""Reading in turns."""

from __future__ import annotations

import asyncio

import pytest

from changeover.gateway.door.http2 import frames
from changeover.gateway.door.http2 import turns as module
from changeover.gateway.door.http2.frames import Broken, Frame
from changeover.gateway.door.http2.turns import Turns
from changeover.gateway.door.limits import INBOX_BYTES

PING = frames.frame(frames.PING, 0, 0, bytes(8))


class Transport:
    def __init__(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Out:
    stuck = False


class Reader:
    """Counts what it is told; each frame takes as long as it is made to."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.turns = self.ends = 0
        self.rests: list[int] = []
        self.why = ""

    def begin(self, now: float, until: float) -> None:
        self.turns += 1

    def frame(self, frame: Frame) -> None:
        self.frames.append(frame)
        if frame.kind == frames.GOAWAY:
            raise Broken(frames.Code.PROTOCOL_ERROR, "broken")
        if frame.kind == frames.PRIORITY:
            self.stop()

    def rest(self) -> None:
        self.rests.append(len(self.frames))

    def end(self) -> None:
        self.ends += 1

    def broken(self, broken: Broken) -> None:
        self.why = broken.message
        self.stop()

    def stop(self) -> None:
        self.of.stop()

    of: Turns


def made() -> tuple[Turns, Reader, Transport, Out]:
    transport, out, reader = Transport(), Out(), Reader()
    turns = Turns(transport, out, reader.frame, reader)  # type: ignore[arg-type]
    reader.of = turns
    return turns, reader, transport, out


async def _idle(turns: Turns) -> None:
    for _ in range(100_000):
        if turns.idle:
            return
        await asyncio.sleep(0)
    raise AssertionError("there is always another turn")


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns that a busy machine does not end."""
    monkeypatch.setattr(module, "_TURN_SECONDS", 60.0)


@pytest.mark.usefixtures("unhurried")
def test_a_short_input_is_one_turn() -> None:
    """Read at once; nothing is left."""
    turns, reader, _, _ = made()
    turns.feed(frames.PREFACE + PING * 5)
    assert (len(reader.frames), reader.turns, reader.ends, turns.idle) == (5, 1, 1, True)


@pytest.mark.usefixtures("unhurried")
def test_a_pause_comes_after_frames_that_were_read_together() -> None:
    """Sixteen at most, so that what is done then is little."""
    turns, reader, _, _ = made()
    turns.feed(frames.PREFACE + PING * 40)
    turns.feed(PING)
    assert reader.rests == [16, 32, 40, 41]


def test_a_long_input_takes_several_turns() -> None:
    """Others come between them, and reading is paused until what was read is done."""

    async def run() -> tuple[int, bool, bool]:
        turns, reader, transport, _ = made()
        turns.feed(frames.PREFACE + PING * 100_000)
        paused = not transport.reading
        await _idle(turns)
        assert len(reader.frames) == 100_000
        return reader.turns, paused, transport.reading

    turns, paused, reading = asyncio.run(run())
    assert turns > 3
    assert paused
    assert reading


def test_a_frame_that_takes_long_ends_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one with a packed message: the others come before the next one, and no frame is lost or out of order."""
    monkeypatch.setattr(module, "_TURN_SECONDS", 0.0)

    async def run() -> None:
        turns, reader, _, _ = made()
        turns.feed(frames.PREFACE + b"".join(frames.frame(frames.PING, 0, 0, b"%8d" % at) for at in range(20)))
        assert len(reader.frames) == 1
        turns.feed(frames.frame(frames.PING, 0, 0, b"%8d" % 20))
        assert (len(reader.frames), turns.idle) == (1, False)
        await _idle(turns)
        assert [int(bytes(one.payload)) for one in reader.frames] == list(range(21))
        assert reader.turns >= 21

    asyncio.run(run())


def test_a_turn_that_is_stopped_between_frames_reads_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was cut into frames and waits for the next turn is thrown away as all input."""
    monkeypatch.setattr(module, "_TURN_SECONDS", 0.0)

    async def run() -> None:
        turns, reader, _, _ = made()
        turns.feed(frames.PREFACE + PING * 20)
        turns.stop()
        await _idle(turns)
        assert len(reader.frames) == 1

    asyncio.run(run())


def test_nothing_is_read_while_answers_are_stuck() -> None:
    """Input waits, and more than the inbox pauses the reading; a turn afterwards takes it up."""

    async def run() -> None:
        turns, reader, transport, out = made()
        out.stuck = True
        turns.feed(frames.PREFACE + PING * 10)
        assert reader.frames == []
        turns.feed(PING * (INBOX_BYTES // len(PING) + 1))
        assert not transport.reading
        out.stuck = False
        turns.schedule()
        await _idle(turns)
        assert len(reader.frames) > 1000
        assert transport.reading

    asyncio.run(run())


@pytest.mark.usefixtures("unhurried")
def test_a_broken_rule_ends_the_reading() -> None:
    """The frames behind it are not looked at, nor what comes later."""
    turns, reader, _, _ = made()
    turns.feed(frames.PREFACE + PING + frames.goaway(0, frames.Code.NO_ERROR) + PING)
    turns.feed(PING)
    assert (len(reader.frames), reader.why, reader.ends) == (2, "broken", 0)


@pytest.mark.usefixtures("unhurried")
def test_a_stop_in_the_middle_is_obeyed_at_once() -> None:
    """By a frame that ends the connection in good order."""
    turns, reader, _, _ = made()
    turns.feed(frames.PREFACE + PING + frames.frame(frames.PRIORITY, 0, 1, bytes(5)) + PING)
    assert len(reader.frames) == 2
