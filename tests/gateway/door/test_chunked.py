"""Chunked bodies: strict framing, bounded turns, bounded extensions and trailers."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.gateway.door.chunked import TURN_CHUNKS, ChunkedBody
from changeover.gateway.door.refusal import Refused

_LIMIT = 1 << 22


def decode(data: bytes, pieces: int | None = None) -> tuple[bytes, bytes]:
    """The decoded body and what was left over, fed in one piece or in pieces of a size."""
    body = ChunkedBody(_LIMIT)
    rest = b""
    size = pieces or len(data)
    for start in range(0, len(data), size):
        rest += data[start : start + size]
        while not body.done:
            taken = body.feed(rest, 0)
            rest = rest[taken:]
            if not body.turn_over:
                break
    assert body.done
    return bytes(body.view()), rest


def encode(chunks: list[bytes], extension: bytes = b"", trailers: bytes = b"") -> bytes:
    framed = [b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks]
    return b"".join(framed) + b"0\r\n" + trailers + b"\r\n"


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=12), st.integers(1, 40), st.binary(max_size=9))
def test_any_split_gives_the_same(chunks: list[bytes], size: int, after: bytes) -> None:
    """However the bytes arrive, the body is the same and what follows it stays untouched."""
    wire = encode(chunks, b";a=b" if len(chunks) % 2 else b"", b"X-T: 1\r\n" if len(chunks) % 3 else b"")
    body, rest = decode(wire + after, size)
    assert body == b"".join(chunks)
    assert rest == after


@pytest.mark.parametrize(
    "wire",
    [
        b"x\r\n", b"-1\r\n", b"+1\r\nx\r\n", b"0x1\r\nx\r\n", b" 1\r\nx\r\n", b"1 \r\nx\r\n", b"1\nx\r\n",
        b"1\r\nxy\r\n", b"1\r\nx\n0\r\n\r\n", b"1\r\nx0\r\n\r\n", b"123456789\r\n", b"\r\n", b";a\r\n",
        b"1;a\nb\r\nx\r\n", b"1;\x00\r\nx\r\n", b"1\rx", b"0\r\nno colon\r\n\r\n", b"0\r\nX : 1\r\n\r\n",
        b"0\r\n folded: 1\r\n\r\n", b"0\r\nX: a\nb\r\n\r\n", b"1_0\r\n",
    ],
)  # fmt: skip
def test_bad_framing(wire: bytes) -> None:
    """Anything but hexadecimal size, CRLF, data, CRLF is refused at once."""
    with pytest.raises(Refused) as caught:
        ChunkedBody(_LIMIT).feed(wire, 0)
    assert caught.value.status == 400


def test_limit() -> None:
    """A chunk that would go over the limit is refused before its data is read."""
    body = ChunkedBody(10)
    with pytest.raises(Refused) as caught:
        body.feed(b"5\r\nabcde\r\n6\r\n", 0)
    assert caught.value.status == 413
    assert body.received == 5


def test_extension_flood() -> None:
    """Extensions are read over up to 1 KiB a body, in one chunk or in many, whole or not."""
    assert decode(encode([b"a"] * 10, b";" + b"x" * 50))[0] == b"a" * 10
    for wire in (encode([b"a"], b";" + b"x" * 1100), b"1;" + b"x" * 2000, encode([b"a"] * 2000, b";x")):
        with pytest.raises(Refused):
            decode(wire)


def test_trailer_flood() -> None:
    """Trailers are bounded, whole or not."""
    for wire in (b"0\r\n" + b"X: 1\r\n" * 3000, b"0\r\nX: " + b"x" * 9000):
        with pytest.raises(Refused) as caught:
            ChunkedBody(_LIMIT).feed(wire, 0)
        assert caught.value.status == 431


def test_turns_are_bounded() -> None:
    """A call takes a bounded number of chunks, and says that there is more to do."""
    wire = encode([b"x"] * (TURN_CHUNKS + 10))
    body = ChunkedBody(_LIMIT)
    at = body.feed(wire, 0)
    assert body.turn_over
    assert body.received == TURN_CHUNKS
    assert body.feed(wire, at) == len(wire)
    assert body.done


def test_one_byte_chunks_cost_linear_time() -> None:
    """Ten times the one-byte chunks cost about ten times the time, far from a hundred."""

    def seconds(count: int) -> float:
        wire = encode([b"x"] * count)
        began = time.thread_time()
        assert len(decode(wire, 65536)[0]) == count
        return time.thread_time() - began

    small = min(seconds(20_000) for _ in range(3))
    assert min(seconds(200_000) for _ in range(2)) < 40 * small
