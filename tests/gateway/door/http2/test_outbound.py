"""Answers within the client's windows."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from changeover.gateway.door.http2 import frames
from changeover.gateway.door.http2.fields import HEAD, TAIL_OK
from changeover.gateway.door.http2.frames import Broken, FrameReader, Setting
from changeover.gateway.door.http2.message import PREFIX, prefix
from tests.gateway.door.http2.outgoing import Out, stream
from tests.needed import needed

WHOLE = [frames.HEADERS, frames.DATA, frames.HEADERS]


def test_a_small_answer_is_one_write() -> None:
    """Fields, message and status; nothing is held for it."""
    made = Out()
    assert made.out.answer(stream(1), HEAD, (b"ab", memoryview(b"c")), TAIL_OK)
    assert made.sent() == {1: (WHOLE, prefix(3) + b"abc")}
    assert made.out.unsent == made.gate.budget.used == 0


def test_an_answer_is_cut_into_frames_the_client_takes() -> None:
    """16,384 bytes at most, until its settings say more."""
    made = Out()
    assert not made.out.answer(stream(1), HEAD, (bytes(40_000),), TAIL_OK)
    assert made.gate.budget.used == 40_005
    assert [one.id for one in made.out.pump()] == [1]
    assert made.sent()[1][0] == [frames.HEADERS, frames.DATA, frames.DATA, frames.DATA, frames.HEADERS]
    wide = Out()
    wide.out.settle({Setting.MAX_FRAME_SIZE: 1 << 20}, {})
    assert wide.out.answer(stream(1), HEAD, (bytes(40_000),), TAIL_OK)
    data = frames.header(40_005, frames.DATA, 0, 1) + prefix(40_000) + bytes(40_000)
    assert data in wide.transport.written


@given(st.lists(st.integers(0, 50_000), min_size=1, max_size=8), st.lists(st.integers(1, 70_000), max_size=20))
@settings(max_examples=60, deadline=None)
def test_an_answer_of_many_messages_comes_whole(sizes: list[int], updates: list[int]) -> None:
    """Whatever the windows are meanwhile: one head, all messages in their order, and then the end."""
    made, talking, most = Out(), stream(1), frames.DEFAULT_WINDOW
    said = [bytes((at,)) * size for at, size in enumerate(sizes)]
    for at, message in enumerate(said):
        made.out.say(talking, HEAD if at == 0 else b"", (message,))
        for amount in updates[at : at + 1]:
            made.out.open(talking, amount)
            made.out.open(None, amount)
            most += amount
        made.out.pump()
        assert len(made.sent().get(1, ([], b""))[1]) <= most
    made.out.end(talking, TAIL_OK)
    made.out.open(talking, 1 << 20)
    made.out.open(None, 1 << 20)
    made.out.pump()
    kinds, body = made.sent()[1]
    assert body == b"".join(prefix(len(message)) + message for message in said)
    assert (kinds[0], kinds[-1], kinds.count(frames.HEADERS)) == (frames.HEADERS, frames.HEADERS, 2)
    assert made.out.unsent == made.gate.budget.used == 0


def test_streams_take_turns() -> None:
    """Of two large answers none has to wait for the end of the other."""
    made = Out()
    made.out.settle({Setting.INITIAL_WINDOW_SIZE: 1 << 20}, {})
    made.out.open(None, 1 << 20)
    for number in (1, 3):
        made.out.answer(stream(number), HEAD, (bytes(300_000),), TAIL_OK)
    made.out.pump()
    reader = FrameReader()
    reader.feed(frames.PREFACE + bytes(made.transport.written))
    order = [frame.stream for frame in reader.take(1000) if frame.kind == frames.DATA]
    assert order[:8] == [1, 1, 1, 1, 3, 3, 3, 3]
    assert len(made.sent()[1][1]) == len(made.sent()[3][1]) == 300_005


def test_a_shut_stream_does_not_hold_up_the_others() -> None:
    """Neither a small answer behind it nor a large one."""
    made = Out()
    shut = stream(1)
    shut.window = -frames.DEFAULT_WINDOW
    made.out.answer(shut, HEAD, (b"x" * 100,), TAIL_OK)
    assert made.out.answer(stream(3), HEAD, (b"small",), TAIL_OK)
    made.out.answer(stream(5), HEAD, (bytes(20_000),), TAIL_OK)
    assert [one.id for one in made.out.pump()] == [5]
    assert made.sent()[1] == ([frames.HEADERS], b"")
    assert made.out.open(shut, 105)
    assert [one.id for one in made.out.pump()] == [1]


def test_nothing_is_sent_while_the_transport_is_full() -> None:
    """A small answer too waits then, on the budget's account, and is given back when nobody wants it."""
    made = Out()
    made.out.stuck = True
    one = stream(1)
    assert not made.out.answer(one, HEAD, (b"x",), TAIL_OK)
    assert made.out.pump() == []
    assert made.transport.written == b""
    made.out.drop(one)
    assert made.gate.budget.used == made.out.unsent == 0


def test_the_budget_counts_what_is_in_memory() -> None:
    """Of an answer that is sent but for its last byte only the piece of that byte is left, and charged."""
    made, one = Out(), stream(1)
    made.out.open(None, 1 << 24)
    made.out.answer(one, HEAD, (b"x" * 3, memoryview(bytes(4 << 20)).cast("B", (1 << 10, 1 << 12)), b"y"), TAIL_OK)
    assert made.gate.budget.used == (4 << 20) + 9
    made.out.open(one, (4 << 20) + 8 - frames.DEFAULT_WINDOW)
    assert made.out.pump() == []
    assert one.out is not None
    held = sum(map(len, one.out))
    assert 0 < made.gate.budget.used == made.out.unsent == held <= 1 << 16
    made.out.open(one, 1)
    assert made.out.pump() == [one]
    assert made.sent()[1][1] == prefix((4 << 20) + 4) + b"xxx" + bytes(4 << 20) + b"y"
    assert made.gate.budget.used == 0


def test_a_piece_is_charged_until_its_last_byte_was_sent() -> None:
    """Many answers of which a little is left are as many pieces in memory."""
    made, one = Out(), stream(1)
    one.window = 40_000 - frames.DEFAULT_WINDOW
    made.out.answer(one, HEAD, (bytes(40_000),), TAIL_OK)
    made.out.pump()
    assert made.gate.budget.used == 40_005
    made.out.drop(one)
    assert made.gate.budget.used == made.out.unsent == 0


def test_what_the_transport_holds_is_charged_while_it_is_too_much() -> None:
    """From the pause until all of it was sent."""
    made = Out()
    made.transport.waiting = 300_000
    made.out.pause()
    assert (made.out.stuck, made.gate.budget.used) == (True, 300_000)
    made.transport.waiting = 0
    made.out.resume()
    assert (made.out.stuck, made.gate.budget.used) == (False, 0)


@pytest.mark.parametrize(
    "wrong", [{Setting.INITIAL_WINDOW_SIZE: 2**31}, {Setting.MAX_FRAME_SIZE: 16_383}, {Setting.MAX_FRAME_SIZE: 2**24},
              {Setting.ENABLE_PUSH: 2}]
)  # fmt: skip
def test_settings_out_of_range(wrong: dict[int, int]) -> None:
    """They end the connection."""
    with pytest.raises(Broken):
        Out().out.settle(wrong, {})


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 40_000), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 30_000)), max_size=60),
    st.integers(0, 70_000),
)
def test_windows_are_kept_to_and_everything_arrives(
    sizes: list[int], grants: list[tuple[int, int]], initial: int
) -> None:
    """However the client opens its windows: never a byte over them, and in the end all answers whole and in order."""
    made = Out()
    made.out.settle({Setting.INITIAL_WINDOW_SIZE: initial}, {})
    streams = [stream(2 * number + 1) for number in range(len(sizes))]
    room = dict.fromkeys((one.id for one in streams), initial)
    total = frames.DEFAULT_WINDOW
    bodies = {one.id: bytes([one.id]) * size for one, size in zip(streams, sizes, strict=True)}
    for one in streams:
        made.out.answer(one, HEAD, (bodies[one.id],), TAIL_OK)
    for number, amount in [*grants, *((n, 50_000) for n in range(1, 6)), (0, 1 << 20)]:
        one = streams[(number - 1) % len(streams)] if number else None
        made.out.open(one, amount)
        if one is None:
            total += amount
        else:
            room[one.id] += amount
        made.out.pump()
        sent = made.sent()
        assert all(len(sent.get(one.id, ([], b""))[1]) <= room[one.id] for one in streams)
        assert sum(len(data) for _, data in sent.values()) <= total
    for one in streams:
        made.out.open(one, 100_000)
    made.out.pump()
    assert {number: data for number, (_, data) in made.sent().items()} == {
        number: prefix(len(body)) + body for number, body in bodies.items()
    }
    assert made.out.unsent == made.gate.budget.used == 0
    assert len(prefix(0)) == PREFIX


@pytest.mark.parametrize("size", [0, 4095, 4096, 65536])
@pytest.mark.parametrize("way", ["small", "large", "failed", "begun"])
def test_a_client_that_wants_a_smaller_table_is_told_that_it_has_it(size: int, way: str) -> None:
    """By the next block, of whatever kind (RFC 9113 section 4.3.1); its decoder refuses the answer otherwise."""
    made, one, two = Out(), stream(1), stream(3)
    decoder = needed("hpack").Decoder()
    if way == "begun":
        one.window = 10 - frames.DEFAULT_WINDOW
        made.out.answer(one, HEAD, (bytes(20),), TAIL_OK)
        made.out.pump()
        for block in made.blocks():
            decoder.decode(block)
    told = len(made.blocks())
    made.out.settle({Setting.HEADER_TABLE_SIZE: size}, {})
    decoder.max_allowed_table_size = size
    if way == "begun":
        made.out.open(one, 100)
    elif way == "failed":
        made.out.answer(one, HEAD + TAIL_OK, None, b"")
    else:
        made.out.answer(one, HEAD, (bytes(10 if way == "small" else 20_000),), TAIL_OK)
    made.out.pump()
    made.out.answer(two, HEAD, (b"x",), TAIL_OK)
    blocks = made.blocks()[told:]
    assert [block[:1] == b"\x20" for block in blocks] == [size < 4096, *[False] * (len(blocks) - 1)]
    fields = [field for block in blocks for field in decoder.decode(block)]
    assert fields.count(("grpc-status", "0")) == 2
