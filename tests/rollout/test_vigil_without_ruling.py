"""The vigil where no ruling decides: the budget of replays, memory, and a judge that fails."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from changeover.rollout.machine import Event, Phase
from changeover.telemetry.evidence import Arm, Window
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.scripted_judge import says
from tests.rollout.stage import Stage
from tests.rollout.vigil_post import Post, run


def test_an_empty_budget_of_replays_is_a_verdict(
    stage: Stage, fleet: MemoryFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients would begin to see the candidate's failures."""

    async def scenario() -> None:
        post = Post(stage, fleet)
        post.stand()
        seen = Window((5, 2, 1), 0, 1, 500, Arm(), Arm(requests=40, failures=30, shielded=30, spent=3))
        monkeypatch.setattr(fleet, "evidence", lambda *_, **__: seen)
        assert post.look() == (Event.STEP_FAILED, "shield_exhausted", "judge")

    run(scenario)


@pytest.mark.parametrize(("limit", "lost"), [(2048, False), (1024, True)])
def test_memory_over_its_share_takes_it_back(
    stage: Stage, fleet: MemoryFleet, monkeypatch: pytest.MonkeyPatch, limit: int, lost: bool
) -> None:
    """80 % of `runtime.memory_limit`, whatever the judge says."""

    async def scenario() -> None:
        post = Post(stage, fleet)
        plan = post.current.offer.plan
        runtime = msgspec.structs.replace(plan.runtime, memory_limit=limit)
        post.current.offer = replace(post.current.offer, plan=msgspec.structs.replace(plan, runtime=runtime))
        monkeypatch.setattr(fleet, "memory", lambda _: 1000)
        post.stand()
        assert (post.look() == (Event.LOST, "memory", "worker")) is lost

    run(scenario)


def test_without_a_memory_limit_the_machine_s_counts(
    stage: Stage, fleet: MemoryFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """80 % of all that there is, and not before."""

    async def scenario() -> None:
        post = Post(stage, fleet)
        post.stand()
        monkeypatch.setattr(fleet, "machine_memory", lambda: 1000)
        monkeypatch.setattr(fleet, "memory", lambda _: 800)
        assert post.look() is None
        monkeypatch.setattr(fleet, "memory", lambda _: 801)
        heard = post.vigil.look(post.current, post.source, post.candidate)
        assert heard is not None
        assert (heard[0], heard[1].reason) == (Event.LOST, "memory")
        assert heard[1].detail is not None
        assert heard[1].detail.endswith(" has 801 bytes, over 80% of 1,000, all that there is")

    run(scenario)


def test_a_judge_that_raises_holds_the_step(stage: Stage, fleet: MemoryFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine hears of it once; an empty budget of replays is a verdict all the same."""

    async def scenario() -> None:
        post = Post(stage, fleet)
        post.stand()
        monkeypatch.setattr(post.judge, "observe", lambda _: 1 / 0)
        assert post.look() == (Event.UNJUDGED, "judge_failed", None)
        post.current.rollout = replace(post.current.rollout, reason="judge_failed")
        assert post.look() is None
        seen = Window((5, 2, 1), 0, 1, 500, Arm(), Arm(requests=40, failures=30, shielded=30, spent=3))
        monkeypatch.setattr(fleet, "evidence", lambda *_, **__: seen)
        assert post.look() == (Event.STEP_FAILED, "shield_exhausted", "judge")

    run(scenario)


@pytest.mark.parametrize(
    ("failures", "heard"),
    [
        (0, (Event.STEP_FAILED, "shield_exhausted", "judge")),
        (3, (Event.STEP_FAILED, "shield_exhausted", "judge")),
        (20, None),
    ],
)
def test_an_empty_budget_is_no_verdict_where_both_versions_fail(
    stage: Stage,
    fleet: MemoryFleet,
    monkeypatch: pytest.MonkeyPatch,
    failures: int,
    heard: tuple[Event, str, str] | None,
) -> None:
    """A machine that stands still makes both late: one in ten and one in five is alike, three in two hundred is not."""

    async def scenario() -> None:
        post = Post(stage, fleet)
        post.stand()
        arms = Arm(requests=200, failures=failures), Arm(requests=100, failures=20, shielded=20, spent=3)
        monkeypatch.setattr(fleet, "evidence", lambda *_, **__: Window((5, 2, 1), 0, 1, 5000, *arms))
        assert post.look() == heard

    run(scenario)


@pytest.mark.parametrize("phase", [Phase.PROGRESSING, Phase.PAUSED, Phase.WATCHING])
def test_a_judge_is_sound_again_after_ten_windows(
    stage: Stage, fleet: MemoryFleet, monkeypatch: pytest.MonkeyPatch, phase: Phase
) -> None:
    """In a row, and said once: one that fails now and then would fill the history; what is missing comes first."""

    async def scenario() -> None:
        post = Post(stage, fleet, phase=phase)
        post.stand()
        post.current.rollout = replace(post.current.rollout, reason="judge_failed")
        with monkeypatch.context() as broken:
            assert [post.look() for _ in range(9)] == [None] * 9
            broken.setattr(post.judge, "observe", lambda _: 1 / 0)
            assert post.look() is None
        assert [post.look() for _ in range(9)] == [None] * 9
        assert post.look() == (Event.JUDGED, None, None)
        post.current.rollout = replace(post.current.rollout, reason=None)
        assert post.look() is None
        post.current.rollout = replace(post.current.rollout, reason="judge_failed")
        post.judge.says = says("failed", "error_rate")
        assert post.look() == (Event.STEP_FAILED, "error_rate", "judge")

    run(scenario)
