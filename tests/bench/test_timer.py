"""The exact wake-up."""

from __future__ import annotations

import select
import time
from statistics import median

from changeover.bench.timer import Timer
from tests.best import best


def test_wakes_at_the_moment_and_again() -> None:
    """Edge-triggered and never read, it wakes at each new moment, not before and soon after."""
    timer = Timer()
    epoll = select.epoll()
    epoll.register(timer.fileno(), select.EPOLLIN | select.EPOLLET)

    def lateness() -> float:
        """More than a plain sleep of the same machine in the same moments is."""
        late, asleep = [], []
        for _ in range(20):
            at = time.monotonic() + 0.0023
            timer.wake_at(at)
            assert epoll.poll(60.0) == [(timer.fileno(), select.EPOLLIN)]
            late.append(time.monotonic() - at)
            at = time.monotonic() + 0.0023
            time.sleep(0.0023)  # the control
            asleep.append(time.monotonic() - at)
        assert min(late) >= 0
        return median(late) - median(asleep)

    assert best(lateness, 0.002) < 0.002
    epoll.close()
    timer.close()


def test_a_moment_in_the_past_wakes_at_once() -> None:
    """What is already due does not wait."""
    timer = Timer()
    with select.epoll() as epoll:
        epoll.register(timer.fileno(), select.EPOLLIN | select.EPOLLET)
        timer.wake_at(time.monotonic() - 5)
        assert epoll.poll(1.0)
    timer.close()
