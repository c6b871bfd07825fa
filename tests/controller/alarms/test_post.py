"""One POST to receivers that are well, or not."""

from __future__ import annotations

import asyncio
import time

import pytest

from changeover.controller.alarms.post import NotTaken, post
from tests.controller.alarms.receiver import Receiver


def test_what_is_taken() -> None:
    """The body arrives whole, whatever comes before the status."""
    with Receiver() as receiver:
        asyncio.run(post(receiver.url, b'{"a": 1}', 10))
        assert receiver.got == [{"a": 1}]


@pytest.mark.parametrize(
    ("mood", "for_good"),
    [
        ("refuse", False),
        ("nonsense", False),
        ("500", False),
        ("503", False),
        ("429", False),
        ("404", True),
        ("302", True),
    ],
)
def test_what_is_not_taken(mood: str, for_good: bool) -> None:
    """A refusal by status may be for good; whatever else happens may be well a moment later."""
    with Receiver(mood) as receiver, pytest.raises(NotTaken) as told:
        asyncio.run(post(receiver.url, b"{}", 10))
    assert told.value.for_good is for_good


@pytest.mark.parametrize("mood", ["hang", "drip"])
def test_a_receiver_that_does_not_answer_is_left(mood: str) -> None:
    """The bound is on all of it together, so a byte now and then does not hold it up."""
    with Receiver(mood) as receiver:
        begun = time.monotonic()
        with pytest.raises(NotTaken, match=r"no answer within 0\.5 s"):
            asyncio.run(post(receiver.url, b"{}", 0.5))
        assert time.monotonic() - begun < 10


def test_nobody_there() -> None:
    """A sentence of the system's."""
    with Receiver() as receiver:
        url = receiver.url
    with pytest.raises(NotTaken, match=r"refused|Connect"):
        asyncio.run(post(url, b"{}", 5))
