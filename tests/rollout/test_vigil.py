"""The vigil: what the judge is shown and asked, and what the machine hears of its rulings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import msgspec
import pytest

from changeover.rollout.course import Course, Place
from changeover.rollout.current import Current
from changeover.rollout.loading import Loading
from changeover.rollout.machine import Event, Phase, Rollout
from changeover.rollout.offer import Offer
from changeover.rollout.plan import Plan, parse_plan
from changeover.rollout.receipt import Receipt
from changeover.rollout.tables import Draft, Share, split
from changeover.rollout.vigil import Vigil
from changeover.telemetry.evidence import Arm, Window
from changeover.transport.control import LoadingEntry
from tests.rollout.memory_fleet import MemoryFleet, signature
from tests.rollout.scripted_judge import ScriptedJudge, says
from tests.rollout.stage import MODEL, WORD, Stage

PLAN = "rollout: {strategy: canary, steps: [shadow, {weight: 5%, hold: 10s, min_requests: 50}], max_hold: 1h}\n"
ENTRIES = [LoadingEntry(n, str(n), "d" * 64, signature(), 32, 30.0) for n in (1, 2)]


class Post:
    """A vigil with a clock and a judge in a test's hands, over a rollout from version 1 to 2."""

    def __init__(self, stage: Stage, fleet: MemoryFleet, text: str = PLAN, phase: Phase = Phase.PROGRESSING) -> None:
        self.now = 100.0
        self.judge = ScriptedJudge()
        self.vigil = Vigil(MODEL, fleet)
        self.vigil.clock = lambda: self.now
        self.vigil.hearing.make = self.make
        self.made: list[Plan] = []
        plan = parse_plan(text)
        offer = Offer(2, stage.artifact(2, text), plan, "push")
        self.source = Loading(1, 1, stage.artifact(1), plan)
        self.candidate = Loading(2, 2, offer.artifact, plan)
        rollout = Rollout(MODEL, "1", "2", phase, course=Course.of(plan.rollout), goal=Place(1, 500))
        self.current = Current("r-000002", offer, rollout, Receipt(MODEL, "r-000002", offer, self.source, fleet), 60.0)

    def make(self, plan: Plan) -> ScriptedJudge:
        self.made.append(plan)
        return self.judge

    def stand(self, epoch: int = 5) -> None:
        self.vigil.stand(self.current, split(Draft(MODEL, WORD, epoch), *ENTRIES, Share(500, "5%")), 1_000)

    def look(self) -> tuple[Event, str | None, str | None] | None:
        heard = self.vigil.look(self.current, self.source, self.candidate)
        return None if heard is None else (heard[0], heard[1].reason, heard[1].by)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


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


def test_an_empty_budget_of_replays_is_a_verdict(
    stage: Stage, fleet: MemoryFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients would begin to see the candidate's failures."""

    async def scenario() -> None:
        post = Post(stage, fleet)
        post.stand()
        seen = Window((5, 2, 1), 0, 1, 500, Arm(), Arm(requests=40, failures=30, shielded=30, spent=3))
        monkeypatch.setattr(fleet, "evidence", lambda *_: seen)
        assert post.look() == (Event.STEP_FAILED, "shield_exhausted", "judge")

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
        monkeypatch.setattr(fleet, "evidence", lambda *_: seen)
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
        monkeypatch.setattr(fleet, "evidence", lambda *_: Window((5, 2, 1), 0, 1, 5000, *arms))
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
