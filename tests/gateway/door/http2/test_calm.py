"""How much work for nothing a connection may ask for."""

from __future__ import annotations

import pytest

from changeover.gateway.door.http2 import calm
from changeover.gateway.door.http2.calm import Calm
from changeover.gateway.door.http2.frames import Broken, Code


def test_idle_frames_end_a_connection() -> None:
    """The account empties; the next such frame is one too many."""
    account = Calm(0.0)
    account.idle(calm.FRAMES)
    with pytest.raises(Broken) as caught:
        account.idle()
    assert caught.value.code is Code.ENHANCE_YOUR_CALM


def test_time_calls_and_data_fill_the_account() -> None:
    """Each by its own rate, and never over the brim."""
    account = Calm(100.0)
    account.idle(calm.FRAMES)
    account.pass_time(101.0)
    account.idle(int(calm.FRAMES_A_SECOND))
    account.answered()
    account.idle(calm.FRAMES_A_CALL)
    account.moved(calm.BYTES_A_FRAME - 1)
    account.moved(1)
    account.idle()
    account.pass_time(1e6)
    account.idle(calm.FRAMES)
    with pytest.raises(Broken):
        account.idle()


def test_cancelled_calls_ask_for_another_connection() -> None:
    """So many at once, and as many more as were answered."""
    account = Calm(0.0)
    assert not any(account.reset() for _ in range(calm.RESETS))
    assert account.reset()
    for _ in range(3):
        account.answered()
    assert [account.reset() for _ in range(3)] == [False, False, True]
