"""The vigil: what the judge is shown and asked, and what the machine hears of its rulings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from changeover.rollout.machine import Event, Phase
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.scripted_judge import says
from tests.rollout.stage import Stage
from tests.rollout.vigil_post import PLAN, Post, run


def test_the_judge_is_asked_with_the_step_s_own_numbers(stage: Stage, fleet: MemoryFleet) -> None:
    """Seconds since the table, least requests, hold, max_hold, the next weight; windows do not overlap."""

    async def scenario() -> None:
        post = Post(stage, fleet)
        post.stand()
        post.now += 7
        assert post.look() is None
        assert post.judge.asked == [(7.0, 50, 10.0, 3600.0, 10_000)]
        assert fleet.looks == [(1, 2, 5)]
        first = post.judge.seen[0]
        assert first.start_ns == 1_000
        post.look()
        assert post.judge.seen[1].start_ns == first.end_ns
        assert post.current.held == 7.0
        assert post.current.totals.requests == {"active": 200, "candidate": 0}
        assert post.current.memory == {"windows": 2}

    run(scenario)


@pytest.mark.parametrize(
    ("word", "reason", "heard"),
    [
        ("waiting", None, None),
        ("clear", None, (Event.STEP_CLEAR, None, "plan")),
        ("passed", None, (Event.STEP_CLEAR, None, "plan")),
        ("inconclusive", None, (Event.STEP_INCONCLUSIVE, "inconclusive", "plan")),
        ("failed", "error_rate", (Event.STEP_FAILED, "error_rate", "judge")),
    ],
)
def test_a_ruling_becomes_an_event(
    stage: Stage, fleet: MemoryFleet, word: str, reason: str | None, heard: tuple[Event, str | None, str] | None
) -> None:
    """With who decided, and why."""

    async def scenario() -> None:
        post = Post(stage, fleet)
        post.stand()
        post.judge.says = says(word, reason)
        assert post.look() == heard
        assert post.current.ruling is not None

    run(scenario)


@pytest.mark.parametrize("phase", [Phase.PAUSED, Phase.WATCHING])
def test_only_a_failure_moves_what_does_not_climb(stage: Stage, fleet: MemoryFleet, phase: Phase) -> None:
    """Paused, or in the undo window: nothing goes up, and a verdict takes it back and says whose hands it was in."""

    async def scenario() -> None:
        post = Post(stage, fleet, phase=phase)
        post.current.rollout = replace(post.current.rollout, held=True)
        post.stand()
        for word in ("clear", "inconclusive"):
            post.judge.says = says(word)
            assert post.look() is None
        assert post.judge.asked[0][1:] == (0, float("inf"), float("inf"), None)
        post.judge.says = says("failed", "error_rate")
        heard = post.vigil.look(post.current, post.source, post.candidate)
        assert heard is not None
        assert heard[1].detail is not None
        assert "operator" in heard[1].detail

    run(scenario)


def test_one_judge_for_the_whole_rollout(stage: Stage, fleet: MemoryFleet) -> None:
    """A new step is a new stratum, no new judge; a new term's judge goes on from the memory."""

    async def scenario() -> None:
        post = Post(stage, fleet)
        for epoch in (5, 7):
            post.stand(epoch)
            post.look()
        assert len(post.made) == 1
        assert fleet.looks == [(1, 2, 5), (1, 2, 7)]
        assert post.judge.remembered is None
        again = Post(stage, fleet)
        again.current.memory = {"windows": 4}
        again.stand()
        again.look()
        assert again.judge.remembered == {"windows": 4}

    run(scenario)


def test_a_step_that_could_not_be_taken_is_not_tried_each_second(stage: Stage, fleet: MemoryFleet) -> None:
    """For ten seconds only a failure is heard."""

    async def scenario() -> None:
        post = Post(stage, fleet)
        post.stand()
        post.vigil.put_off()
        post.judge.says = says("clear")
        assert post.look() is None
        post.judge.says = says("failed", "error_rate")
        assert post.look() is not None
        post.now += 10
        post.judge.says = says("clear")
        assert post.look() is not None

    run(scenario)


def test_nothing_is_judged_before_a_table_is_in_force(stage: Stage, fleet: MemoryFleet) -> None:
    """After a restart that could not store one."""

    async def scenario() -> None:
        post = Post(stage, fleet)
        assert not post.vigil.stands(post.current)
        assert post.look() is None
        assert not fleet.looks
        post.stand()
        assert post.vigil.stands(post.current)

    run(scenario)


def test_without_a_control_a_verdict_is_an_alarm(
    stage: Stage, fleet: MemoryFleet, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted, shown and said once; nothing is taken back."""

    async def scenario() -> None:
        post = Post(stage, fleet, "rollout: {strategy: instant}", Phase.WATCHING)
        post.stand()
        for _ in range(2):
            post.judge.says = says("failed", "error_rate")
            assert post.look() is None
        assert post.current.totals.requests["active"] == 200
        assert len([r for r in caplog.records if "nothing is held back" in r.message]) == 1

    run(scenario)


@pytest.mark.parametrize(
    ("text", "phase", "wanted"),
    [
        (PLAN, Phase.PROGRESSING, True),
        (PLAN, Phase.PAUSED, True),
        (PLAN, Phase.WATCHING, True),
        (PLAN, Phase.VALIDATING, False),
        (PLAN, Phase.ROLLED_BACK, False),
        ("rollout: {strategy: instant}", Phase.WATCHING, True),
    ],
)
def test_when_there_is_something_to_look_at(
    stage: Stage, fleet: MemoryFleet, text: str, phase: Phase, wanted: bool
) -> None:
    """At a step, and in the undo window, with a control or without."""

    async def scenario() -> None:
        post = Post(stage, fleet, text, phase)
        assert post.vigil.wanted(post.current) is wanted

    run(scenario)
