"""The gateways' board: what is written is read, by other processes too, and a damaged area is told."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
from collections.abc import Iterator

import pytest

from changeover.errors import Internal, Overloaded
from changeover.transport.board import AREA, COMMON, MOST, Board, create_board


@pytest.fixture
def memory() -> Iterator[int]:
    """A board for two gateways."""
    fd = create_board(2)
    yield fd
    os.close(fd)


def test_each_area_has_the_text_written_last(memory: int) -> None:
    """And its number grows with each text; the others stay as they are."""
    mine, theirs = Board(memory), Board(memory)
    assert list(mine.areas) == [1, 2]
    assert (theirs.read(1), theirs.number(1)) == (b"", 0)
    for number, text in enumerate([b"a", b"", b"x" * MOST, b"end"], 1):
        mine.write(1, text)
        assert (theirs.read(1), theirs.number(1)) == (text, number)
    assert theirs.read(2) == b""


def test_a_text_that_does_not_fit_is_refused(memory: int) -> None:
    """And what was there stays."""
    board = Board(memory)
    board.write(2, b"before")
    with pytest.raises(Internal) as refused:
        board.write(2, b"x" * (MOST + 1))
    assert (refused.value.reason, board.read(2)) == ("board_full", b"before")


def test_damage_is_told(memory: int) -> None:
    """Bytes that do not have their checksum are not read as a text."""
    board = Board(memory)
    board.write(1, b"a text of some length")
    os.pwrite(memory, b"\xff", AREA + 64 + MOST + 3)
    with pytest.raises(Internal) as refused:
        board.read(1)
    assert refused.value.reason == "board_damaged"


def _add(memory: int, times: int) -> None:
    board = Board(memory)
    done = 0
    while done < times:
        try:
            board.change(lambda text: b"%d" % (int(text or b"0") + 1))
            done += 1
        except Overloaded:
            os.sched_yield()


def test_what_several_gateways_change_is_changed_by_one_at_a_time(memory: int) -> None:
    """Two processes that count together lose nothing."""
    others = [multiprocessing.get_context("fork").Process(target=_add, args=(memory, 500)) for _ in range(2)]
    for other in others:
        other.start()
    for other in others:
        other.join(60)
    assert Board(memory).read(COMMON) == b"1000"


def test_whoever_holds_the_common_area_keeps_others_out(memory: int) -> None:
    """They are told to come again, and nothing is changed."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        fcntl.lockf(memory, fcntl.LOCK_EX)
        os.write(theirs, b"!")
        signal.pause()
        os._exit(0)
    try:
        assert os.read(ours, 1) == b"!"
        with pytest.raises(Overloaded) as refused:
            Board(memory).change(lambda _: b"mine")
        assert (refused.value.reason, Board(memory).read(COMMON)) == ("board_busy", b"")
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(ours)
        os.close(theirs)
    Board(memory).change(lambda _: b"mine")
    assert Board(memory).read(COMMON) == b"mine"
