"""What all gateways know: changed by one, seen by the others."""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec
import pytest

from changeover.errors import Conflict, Internal
from changeover.gateway.common import Common, Known, Region
from changeover.transport.board import COMMON, Board, create_board


@pytest.fixture
def memory() -> Iterator[int]:
    """A board for two gateways."""
    fd = create_board(2)
    yield fd
    os.close(fd)


def test_what_one_gateway_is_told_all_know(memory: int) -> None:
    """At their next look, and a change takes in what others have changed."""
    one, two = Common(Board(memory)), Common(Board(memory))
    assert one.known == two.known == Known()
    one.change(lambda known: msgspec.structs.replace(known, log={"log_info": False}))
    two.change(lambda known: msgspec.structs.replace(known, regions={"r": Region("/r", 0, 8, 1, 2)}))
    assert one.known == two.known == Known({"log_info": False}, {"r": Region("/r", 0, 8, 1, 2)})


def test_a_change_that_is_refused_changes_nothing(memory: int) -> None:
    """And the next one is let in."""
    common = Common(Board(memory))

    def refuse(_: Known) -> Known:
        raise Conflict("no")

    with pytest.raises(Conflict):
        common.change(refuse)
    common.change(lambda known: msgspec.structs.replace(known, log={"log_info": True}))
    assert common.known.log == {"log_info": True}


def test_nonsense_is_not_believed(memory: int) -> None:
    """What was known before stays, and no change is built upon it."""
    common = Common(Board(memory))
    common.change(lambda known: msgspec.structs.replace(known, log={"log_info": True}))
    assert common.known.log == {"log_info": True}
    Board(memory).write(COMMON, b'{"log": 3}')
    assert common.known.log == {"log_info": True}
    with pytest.raises(Internal) as refused:
        common.change(lambda known: known)
    assert refused.value.reason == "board_damaged"
