"""Which news of workers take a candidate back at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from changeover.rollout.current import Current
from changeover.rollout.fleet import Death
from changeover.rollout.machine import Phase, Rollout
from changeover.rollout.worker_news import lost
from changeover.transport.control import WorkerHealth


def current(phase: Phase = Phase.PROGRESSING, *, held: bool = False, candidate: int | None = 7) -> Current:
    loading = None if candidate is None else SimpleNamespace(number=candidate, name="4@ab12")
    return cast(Current, SimpleNamespace(candidate=loading, rollout=Rollout("m", "3", "4", phase, held=held)))


@pytest.mark.parametrize(
    ("news", "reason", "words"),
    [
        (Death(7, -9, restarts=True, cause="denounced"), "worker_hung", "hung in a run"),
        (Death(7, -9, restarts=True, cause="memory_limit"), "memory", "runtime.memory_limit"),
        (Death(7, -9, restarts=True, cause="out_of_memory"), "memory", "the machine ran out"),
        (Death(7, 78, restarts=False), "worker_crashed", "exit code 78"),
        (WorkerHealth(7, "open", 5, "crashed", -11), "worker_crash_loop", "5 times in a row, last by SIGSEGV"),
    ],
)
@pytest.mark.parametrize("phase", [Phase.SHADOWING, Phase.PROGRESSING, Phase.PAUSED, Phase.WATCHING])
def test_what_no_test_needs_to_count(news: Any, reason: str, words: str, phase: Phase) -> None:
    """Hang, memory, crash loop, no replacement: with a sentence that names the version."""
    told = lost(current(phase), news)
    assert told is not None
    assert (told.reason, told.by) == (reason, "worker")
    assert told.detail is not None
    assert told.detail.startswith("the worker of version 4@ab12 ")
    assert words in told.detail


@pytest.mark.parametrize(
    "news",
    [
        Death(7, -11, restarts=True, cause="crashed"),
        Death(7, -9, restarts=True, cause="killed"),
        Death(8, -9, restarts=True, cause="denounced"),
        WorkerHealth(7, "closed"),
        WorkerHealth(7, "half_open", 5),
        WorkerHealth(8, "open", 5),
    ],
)
def test_what_is_left_to_the_judge(news: Any) -> None:
    """One death, which the requests in it tell, a circuit that closes, and other versions' workers."""
    assert lost(current(), news) is None


@pytest.mark.parametrize("phase", [Phase.VALIDATING, Phase.PROMOTING, Phase.ROLLING_BACK, Phase.SUCCEEDED])
def test_other_phases_see_to_it_themselves(phase: Phase) -> None:
    """A load is refused, a way back is under way, an end is an end."""
    assert lost(current(phase), Death(7, -9, restarts=True, cause="denounced")) is None
    assert lost(None, Death(7, -9, restarts=True, cause="denounced")) is None
    assert lost(current(candidate=None), Death(7, -9, restarts=True, cause="denounced")) is None


def test_an_operator_s_pause_is_not_overridden_in_silence() -> None:
    """The sentence says so."""
    told = lost(current(Phase.PAUSED, held=True), Death(7, -9, restarts=True, cause="denounced"))
    assert told is not None
    assert told.detail is not None
    assert told.detail.endswith("(although it was in an operator's hands)")
