"""The guard: three long windows in a row, against what is fair."""

from __future__ import annotations

import numpy as np

from changeover.rollout.judge.guard import Guard
from tests.rollout.judge.seen import Side, Story, costs


def watch(guard: Guard, story: Story, times: float, windows: int, rates: tuple[int, int] = (30, 270)) -> Guard:
    """So many seconds with a candidate that is so many times slower end to end."""
    random = np.random.default_rng(story.second)
    for _ in range(windows):
        ours, theirs = costs(random, rates[0], 0.02 * times), costs(random, rates[1], 0.02)
        guard.observe(story.window(Side(rates[0], latency=ours), Side(rates[1], latency=theirs)))
    return guard


def test_three_slow_windows_in_a_row_fail() -> None:
    """Twice as slow for thirty seconds, not for twenty."""
    story = Story()
    guard = watch(Guard(0.5), story, 2.0, 29)
    assert not guard.failed
    assert watch(guard, story, 2.0, 1).failed
    assert "3 windows" in guard.finding().detail


def test_a_good_window_between_begins_anew() -> None:
    """Two slow windows, a good one, two slow ones: nothing."""
    guard, story = Guard(0.5), Story()
    for times in (2.0, 2.0, 1.0, 2.0, 2.0):
        watch(guard, story, times, 10)
    assert not guard.failed


def test_a_window_that_says_nothing_is_no_slow_one() -> None:
    """A burst was slow at p99; the calm after it has too few requests for a p99, and no burst is held against it."""
    story = Story()
    guard = watch(Guard(0.5), story, 2.0, 10, (150, 300))
    assert guard.finding().against
    watch(guard, story, 1.0, 10, (30, 270))
    assert not guard.finding().against


def test_less_than_the_limit_is_fine() -> None:
    """1.3 times for two minutes."""
    assert not watch(Guard(0.5), Story(), 1.3, 120).failed


def test_small_models_have_three_milliseconds() -> None:
    """An excess of a millisecond is none, whatever its ratio."""
    random, guard, story = np.random.default_rng(1), Guard(0.5), Story()
    for _ in range(60):
        ours, theirs = costs(random, 30, 0.0009), costs(random, 270, 0.0003)
        guard.observe(story.window(Side(30, latency=ours), Side(270, latency=theirs)))
    assert not guard.failed


def test_few_requests_are_gathered() -> None:
    """A window of the guard's ends with 200 requests of the candidate."""
    guard = watch(Guard(0.5), Story(weight=100), 3.0, 90, (2, 198))
    assert not guard.failed
    assert "too few" in guard.finding().detail


def test_all_the_traffic_is_measured_by_the_models_own_baseline() -> None:
    """A candidate with 99 % is as slow as the active version was with as much; slower than both, it fails."""
    story = Story(weight=100)
    guard, random = Guard(0.5), np.random.default_rng(3)
    for times, fails in ((1.0, False), (1.2, False), (2.0, True)):
        if story.second == 0:
            busy, idle = costs(random, 297, 0.06), costs(random, 3, 0.01)
            for _ in range(70):
                guard.observe(story.window(Side(3, latency=idle), Side(297, latency=busy)))
            story.weight, story.stratum = 9_900, (2, 1, 1)
        for _ in range(30):
            busy, idle = costs(random, 297, 0.06 * times), costs(random, 3, 0.01)
            guard.observe(story.window(Side(297, latency=busy), Side(3, latency=idle)))
        assert guard.failed is fails


def test_a_rate_never_seen_has_no_baseline() -> None:
    """The busier candidate of a traffic that has doubled since is not measured by the rest of the active version."""
    guard, story = Guard(0.5), Story(weight=9_900)
    assert not watch(guard, story, 5.0, 60, (300, 30)).failed
    assert "too few" in guard.finding().detail


def test_a_saturated_worker_is_not_compared_across_time() -> None:
    """With most of the traffic and no capacity left, a queue is no sign of a slower model."""
    guard, story = Guard(0.5), Story(weight=100)
    watch(guard, story, 1.0, 60, (3, 297))
    story.weight, story.stratum, story.busy = 9_900, (2, 1, 1), 0.97
    assert not watch(guard, story, 5.0, 60, (297, 3)).failed
    story.busy = 0.6
    assert watch(guard, story, 5.0, 40, (297, 3)).failed


def test_a_memory_goes_on() -> None:
    """Two slow windows before it and one after it are three."""
    one, other, story = Guard(0.5), Guard(0.5), Story()
    watch(one, story, 2.0, 20)
    other.remember(one.memory())
    assert watch(other, story, 2.0, 10).failed
