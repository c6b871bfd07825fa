"""Packed bodies: what comes out, and that a small one cannot become a large one."""

from __future__ import annotations

import gzip
import os
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from changeover.errors import InvalidRequest, Overloaded, TooLarge
from changeover.protocol.content_coding import Unpacking

BODY = bytes(range(256)) * 40


def unpacked(body: memoryview, coding: bytes, most: int, take: Callable[[int], bool] = lambda _: True) -> memoryview:
    """All steps."""
    unpacking = Unpacking(body, coding, most, take)
    while (found := unpacking.step()) is None:
        pass
    return found


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        (b"gzip", gzip.compress(BODY)),
        (b"deflate", zlib.compress(BODY)),
        (b"deflate", gzip.compress(BODY)),
        (b" GZIP ", gzip.compress(BODY)),
    ],
)
def test_the_body_comes_out_as_it_went_in(coding: bytes, packed: bytes) -> None:
    """Whichever container it is, and exactly as large as it may be."""
    assert bytes(unpacked(memoryview(packed), coding, len(BODY))) == BODY


@pytest.mark.parametrize(
    ("coding", "packed", "reason"),
    [
        (b"br", BODY, "unknown_content_encoding"),
        (b"gzip, gzip", gzip.compress(BODY), "unknown_content_encoding"),
        (b"gzip", BODY, "malformed_content_encoding"),
        (b"gzip", b"", "malformed_content_encoding"),
        (b"gzip", gzip.compress(BODY)[:-1], "malformed_content_encoding"),
        (b"gzip", gzip.compress(BODY) + b"more", "malformed_content_encoding"),
        (b"deflate", zlib.compress(BODY)[:-4] + b"sums", "malformed_content_encoding"),
    ],
)
def test_what_is_no_packed_body_is_refused(coding: bytes, packed: bytes, reason: str) -> None:
    """With a word for it."""
    with pytest.raises(InvalidRequest) as refused:
        unpacked(memoryview(packed), coding, len(BODY))
    assert refused.value.reason == reason


def test_no_more_is_unpacked_than_there_may_be() -> None:
    """64 MiB in 64 KiB are refused at the limit's cost, not at theirs."""
    bomb = memoryview(gzip.compress(bytes(64 << 20)))
    assert len(bomb) < 1 << 17
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge) as refused:
            unpacked(bomb, b"gzip", 1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert refused.value.reason == "too_large"
    assert len(unpacked(bomb, b"gzip", 64 << 20)) == 64 << 20, "the limit alone refused it"


def test_every_byte_that_comes_out_was_asked_for() -> None:
    """In pieces, so that what has no room is not unpacked to its end."""
    body, taken = bytes(5 << 20), list[int]()

    def take(size: int) -> bool:
        taken.append(size)
        return sum(taken) <= room

    room = len(body)
    assert bytes(unpacked(memoryview(gzip.compress(body)), b"gzip", 64 << 20, take)) == body
    assert (sum(taken), max(taken)) == (len(body), 1 << 20)
    room = 2 << 20
    taken.clear()
    with pytest.raises(Overloaded):
        unpacked(memoryview(gzip.compress(body)), b"gzip", 64 << 20, take)
    assert sum(taken) == 3 << 20


def test_a_body_that_does_not_pack_comes_out_too() -> None:
    """More goes in than one step takes, and less comes out than goes in."""
    body = os.urandom(300_000)
    assert bytes(unpacked(memoryview(zlib.compress(body)), b"deflate", len(body))) == body


def test_what_goes_in_bounds_a_step_as_what_comes_out() -> None:
    """A mebibyte of blocks with nothing in them, and one byte behind them: others have their turn meanwhile."""
    end = b"\1\1\0\xfe\xffx" + zlib.adler32(b"x").to_bytes(4, "big")
    body = b"\x78\x9c" + b"\0\0\0\xff\xff" * ((1 << 20) // 5) + end
    unpacking, steps = Unpacking(memoryview(body), b"deflate", 1 << 20, lambda _: True), 1
    while (found := unpacking.step()) is None:
        steps += 1
    assert (bytes(found), steps) == (b"x", 17)
