"""Frames as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.gateway.door.http2 import frames
from changeover.gateway.door.http2.frames import Broken, Code, Frame, FrameReader, Setting

SOME = [
    frames.settings({Setting.MAX_FRAME_SIZE: 20_000}),
    frames.window_update(3, 70_000),
    frames.frame(frames.DATA, 1, 5, bytes(range(256)) * 20),
    frames.reset(5, Code.CANCEL),
    frames.frame(99, 0, 0, b"unknown"),
]


def _all(reader: FrameReader, most: int = 3) -> list[Frame]:
    found: list[Frame] = []
    while taken := reader.take(most):
        found += taken
    return [Frame(one.kind, one.flags, one.stream, bytes(one.payload)) for one in found]


@given(st.lists(st.integers(0, 5_400), max_size=12))
def test_frames_are_the_same_however_they_are_cut(cuts: list[int]) -> None:
    """Preface and frames split at any bytes give the same frames."""
    raw = frames.PREFACE + b"".join(SOME)
    whole = FrameReader()
    whole.feed(raw)
    reader, found, at = FrameReader(), [], 0
    for cut in [*sorted(min(cut, len(raw)) for cut in cuts), len(raw)]:
        reader.feed(raw[at:cut])
        found += _all(reader)
        at = cut
    assert found == _all(whole)
    assert [one.kind for one in found] == [frames.SETTINGS, frames.WINDOW_UPDATE, frames.DATA, frames.RST_STREAM, 99]
    assert reader.held == 0


@given(st.binary(max_size=200))
def test_any_bytes_give_frames_or_the_one_error(data: bytes) -> None:
    """Behind a good preface nothing but `Broken` is ever raised, and no frame is over the limit."""
    reader = FrameReader()
    reader.feed(frames.PREFACE + data)
    try:
        found = _all(reader)
    except Broken:
        assert any(int.from_bytes(data[at : at + 3], "big") > frames.MAX_FRAME for at in range(len(data)))
        return
    assert sum(9 + len(one.payload) for one in found) + reader.held == len(data)


def test_an_answer_is_three_frames() -> None:
    """Fields, data of several pieces, and the fields that end the stream, also where a length takes two bytes."""
    reader, end = FrameReader(), b"e" * 300
    reader.feed(frames.PREFACE + frames.answer(7, b"head", 9_000, (b"first", memoryview(bytes(8_995))), end))
    assert _all(reader) == [
        Frame(frames.HEADERS, frames.END_HEADERS, 7, b"head"),
        Frame(frames.DATA, 0, 7, b"first" + bytes(8_995)),
        Frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 7, end),
    ]


def test_another_protocol_is_refused_at_its_first_byte() -> None:
    """HTTP/1.1 on this port is told so; half a preface is waited for."""
    reader = FrameReader()
    reader.feed(frames.PREFACE[:10])
    assert reader.take(1) == []
    assert not reader.opened
    reader.feed(b"GET / HTTP/1.1\r\n")
    with pytest.raises(Broken):
        reader.take(1)


def test_a_frame_over_the_limit_is_refused_before_it_has_come() -> None:
    """The length alone tells."""
    reader = FrameReader()
    reader.feed(frames.PREFACE + frames.header(16_385, frames.DATA, 0, 1))
    with pytest.raises(Broken, match="16385 bytes"):
        reader.take(1)


def test_padding() -> None:
    """Padding is taken off; more of it than there is payload is against the rules."""
    assert frames.unpadded(0, b"\x05ab") == b"\x05ab"
    assert frames.unpadded(frames.PADDED, b"\x02abXX") == b"ab"
    assert frames.unpadded(frames.PADDED, b"\x02XX") == b""
    for wrong in (b"", b"\x03XX", b"\xff"):
        with pytest.raises(Broken):
            frames.unpadded(frames.PADDED, wrong)


def test_payloads_of_a_wrong_length_are_refused() -> None:
    """SETTINGS come in sixes, numbers in fours."""
    assert frames.pairs(b"\0\4\0\0\0\7") == [(4, 7)]
    assert frames.number(b"\0\0\1\0", "RST_STREAM") == 256
    for call in (lambda: frames.pairs(b"\0\4\0\0\0"), lambda: frames.number(b"\0\0\1", "RST_STREAM")):
        with pytest.raises(Broken) as caught:
            call()
        assert caught.value.code is Code.FRAME_SIZE_ERROR
        assert caught.value.reason == "http2_protocol"


def test_goaway_tells_line_code_and_text() -> None:
    """As a client reads it; a long text is cut."""
    raw = frames.goaway(7, Code.ENHANCE_YOUR_CALM, "ü" * 2000)
    assert raw[9:17] == (7).to_bytes(4, "big") + (11).to_bytes(4, "big")
    assert len(raw) == 9 + 8 + 1024
