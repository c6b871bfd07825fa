"""Hearing the judge: what the last term left, and a judge that raises."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from changeover.rollout.course import Course, Place
from changeover.rollout.current import Current
from changeover.rollout.driver import Driver
from changeover.rollout.hearing import JUDGE_FAILED, Hearing
from changeover.rollout.judge import Finding, Ruling, Verdict
from changeover.rollout.machine import Phase, Rollout
from changeover.rollout.plan import parse_plan
from changeover.rollout.receipt import Receipt
from changeover.telemetry.evidence import Arm, Pairs, Window
from tests.rollout.canary import judged, stands, tick
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.scripted_judge import ScriptedJudge
from tests.rollout.stage import MODEL, Stage, play

PLAN = "rollout: {strategy: canary, steps: [shadow, {weight: 5%, hold: 10s, min_requests: 50}], max_hold: 1h}\n"


class Court:
    """A hearing with a judge in a test's hands; `fails` is raised by each window that it is shown."""

    def __init__(self, stage: Stage, fleet: MemoryFleet) -> None:
        self.judges: list[ScriptedJudge] = []
        self.fails: Exception | None = None
        self.hearing = Hearing()
        self.hearing.make = lambda _: self._make()
        plan = parse_plan(PLAN)
        offer = replace(stage.offer(2), plan=plan)
        rollout = Rollout(MODEL, "1", "2", Phase.PROGRESSING, course=Course.of(plan.rollout), goal=Place(1, 500))
        receipt = Receipt(MODEL, "r-000002", offer, None, fleet)
        self.current = Current("r-000002", offer, rollout, receipt, 60.0, stopped=None)  # type: ignore[arg-type]

    def _make(self) -> ScriptedJudge:
        judge = ScriptedJudge()
        take = judge.observe

        def observe(window: Window) -> None:
            take(window)
            if self.fails is not None:
                raise self.fails

        judge.observe = observe  # type: ignore[method-assign]
        self.judges.append(judge)
        return judge

    def hear(self, requests: int = 10) -> Ruling:
        return self.hearing.hear(self.current, counted(7, requests))


class Counting(ScriptedJudge):
    """Remembers how many pairs it has seen, and of which table."""

    @property
    def pairs(self) -> int:
        return sum(window.pairs.compared for window in self.seen) + int((self.remembered or {}).get("pairs", 0))

    def memory(self) -> dict[str, object]:
        before = (self.remembered or {}).get("epoch", 0)
        return {"epoch": self.seen[-1].stratum[0] if self.seen else before, "pairs": self.pairs}


@pytest.fixture
def court(stage: Stage, fleet: MemoryFleet) -> Court:
    return Court(stage, fleet)


def counted(epoch: int, requests: int = 10, weight: int = 500) -> Window:
    arms = Arm(90, latency={3: 90}), Arm(requests, 2, latency={3: requests})
    return Window((epoch, 2, 1), 0, 9_000, weight, *arms)


def under(*epochs: int) -> Callable[[int], Window]:
    """What the gateways tell of each table: of some nothing."""
    return lambda epoch: counted(epoch) if epoch in epochs else Window((epoch, 2, 1), 0, 9_000, 0)


def test_what_the_last_term_left_counts_once(court: Court) -> None:
    """As one window before all others, without times."""
    court.hearing.inherit(5)
    assert court.hearing.take_over(court.current, under(5))
    assert not court.hearing.take_over(court.current, under(5))
    (first,) = court.judges[0].seen
    assert (first.seconds, first.candidate, first.active) == (0.0, Arm(10, 2), Arm(90))
    assert court.current.memory == {"windows": 1}  # what is to go on record now


def test_what_is_on_record_does_not_count_again(court: Court) -> None:
    """The memory of that table, or of a later one, knows it; nothing is left to record."""
    court.current.memory = {"epoch": 5}
    court.hearing.inherit(5)
    assert not court.hearing.take_over(court.current, under(3, 4, 5))
    assert not court.judges


def test_what_terms_left_that_recorded_nothing_counts(court: Court) -> None:
    """Each table's counts are a window, in their order; one that the gateways told nothing of is none."""
    court.current.memory = {"epoch": 2}
    court.hearing.inherit(6)
    assert court.hearing.take_over(court.current, under(1, 2, 3, 5, 6))
    assert [window.stratum[0] for window in court.judges[0].seen] == [3, 5, 6]


def test_a_table_that_is_forgotten_had_the_step_s_weight(court: Court) -> None:
    """A share of nothing would make requests of mirrors; what was mirrored stays what it was."""
    court.hearing.inherit(4)
    mirrored = Window((2, 2, 1), 0, 9_000, 0, Arm(90), Arm(), Pairs(20, 1))
    tables = {2: mirrored, 3: counted(3, weight=0), 4: counted(4, weight=300)}
    assert court.hearing.take_over(court.current, lambda epoch: tables.get(epoch, Window((epoch, 2, 1), 0, 9_000, 0)))
    assert [window.weight for window in court.judges[0].seen] == [0, 300, 300]


def test_a_judge_that_raises_is_said_once(court: Court, caplog: pytest.LogCaptureFixture) -> None:
    """With a stable reason; it goes on from what the last good one knew, and that is said too."""
    caplog.set_level(logging.WARNING, "changeover")
    assert court.hear() == ScriptedJudge().says
    court.fails = ZeroDivisionError("float division by zero")
    for _ in range(3):
        ruling = court.hear()
        assert (ruling.verdict, ruling.reason) == (Verdict.WAITING, JUDGE_FAILED)
        assert "ZeroDivisionError: float division by zero" in ruling.detail
    assert court.current.memory == {"windows": 1}
    court.fails = None
    assert court.hear().reason == "needs_more"
    assert court.judges[-1].remembered == {"windows": 1}
    said = [record.getMessage() for record in caplog.records]
    assert [("the judge failed" in line, "the judge judges" in line) for line in said] == [(True, False), (False, True)]
    assert caplog.records[0].exc_info is not None


def test_a_memory_that_cannot_be_read_holds_the_step(court: Court, monkeypatch: pytest.MonkeyPatch) -> None:
    """As another release may have left it: the new term goes on, and does not forget it by beginning anew."""

    def unreadable(_: ScriptedJudge, memory: dict[str, object]) -> None:
        raise KeyError("capital")

    monkeypatch.setattr(ScriptedJudge, "remember", unreadable)
    court.current.memory = {"epoch": 5}
    court.hearing.inherit(6)
    assert court.hearing.take_over(court.current, under(6))
    assert court.hear().reason == JUDGE_FAILED
    assert court.current.memory == {"epoch": 5}


def test_evidence_that_is_no_number_is_none(court: Court, monkeypatch: pytest.MonkeyPatch) -> None:
    """No comparison with it ever holds, so it would convict nobody."""
    finding = Finding("errors", Verdict.WAITING, float("nan"), None, 0.0, None, 0.001, "nothing")
    monkeypatch.setattr(ScriptedJudge, "ruling", lambda *_: Ruling(Verdict.CLEAR, "clear", "well", (finding,)))
    assert court.hear().reason == JUDGE_FAILED


def test_the_controller_outlives_its_judge(stage: Stage, fleet: MemoryFleet) -> None:
    """The step is held and the record says why; it goes on when the judge does, and people may end it meanwhile."""

    async def scenario(driver: Driver) -> None:
        judge = judged(driver)
        await driver.offer(stage.offer(1))
        await driver.offer(stage.canary(2))
        await driver.idle()
        judge.observe = lambda _: 1 / 0  # type: ignore[assignment, method-assign, return-value]
        for _ in range(2):
            await tick(driver, judge, "clear")
            assert stands(driver) == (Phase.SHADOWING, "shadow")
        record = driver.journal.rollouts.of(MODEL)[0]
        assert record.record["reason"] == JUDGE_FAILED
        history = record.record["history"]
        assert [entry["event"] for entry in history][-2:] == ["proven", "unjudged"]  # type: ignore[attr-defined]
        judge = judged(driver)
        await tick(driver, judge, "clear")
        assert stands(driver) == (Phase.PROGRESSING, "5%")
        assert driver.current is not None
        assert driver.current.rollout.reason is None
        judge.observe = lambda _: 1 / 0  # type: ignore[assignment, method-assign, return-value]
        driver.vigil.hearing._judge = judge
        await tick(driver, judge)
        await driver.abort()
        assert stands(driver)[0] is Phase.ROLLED_BACK

    with stage.journal() as journal:
        play(stage.driver(fleet, journal), scenario)


def test_terms_that_end_in_one_step_leave_what_they_knew(stage: Stage, fleet: MemoryFleet) -> None:
    """What a term took over from the last one's table is on record before it can end in its turn."""
    judges: list[Counting] = []
    counts: dict[int, int] = {}

    def evidence(_: str, active: int, candidate: int, epoch: int, since_ns: int, *, row: bool = False) -> Window:
        seen = counts.get(epoch, 0) if since_ns == 0 else 0
        return Window((epoch, candidate, active), since_ns, since_ns + 1, 0, Arm(90), Arm(), Pairs(seen))

    def known(driver: Driver) -> Counting:
        judge = Counting()
        driver.vigil.hearing.make = lambda _: judge
        judges.append(judge)
        return judge

    async def first(driver: Driver) -> None:
        known(driver)
        await driver.offer(stage.offer(1))
        await driver.offer(stage.canary(2))
        await driver.idle()
        counts[driver.epoch] = 100

    async def later(driver: Driver) -> None:
        judge = known(driver)
        await driver.taken_over.wait()
        await driver.idle()
        counts[driver.epoch] = 100
        await tick(driver, judge, "waiting")

    fleet.evidence = evidence  # type: ignore[method-assign]
    for script in (first, later, later, later):
        fleet.new_term()
        with stage.journal("one.sqlite") as journal:
            play(stage.driver(fleet, journal), script)
        for epoch in sorted(counts)[:-1]:
            del counts[epoch]  # the gateways keep what is newest
    assert [judge.pairs for judge in judges[1:]] == [100, 200, 300]


def test_what_came_after_a_record_in_the_middle_of_a_step_counts(stage: Stage, fleet: MemoryFleet) -> None:
    """A pause, or a judge that failed, puts the rollout on record; the next term knows all of the step, and once."""
    counted: dict[int, int] = {}
    shown: dict[int, int] = {}

    def evidence(_: str, active: int, candidate: int, epoch: int, since_ns: int, *, row: bool = False) -> Window:
        pairs = counted.get(epoch, 0) - (shown.get(epoch, 0) if since_ns else 0)
        shown[epoch] = counted.get(epoch, 0)
        return Window((epoch, candidate, active), since_ns, since_ns + 1, 0, Arm(90), Arm(), Pairs(pairs))

    judges: list[Counting] = []

    def known(driver: Driver) -> Counting:
        judges.append(Counting())
        driver.vigil.hearing.make = lambda _: judges[-1]
        return judges[-1]

    async def first(driver: Driver) -> None:
        judge = known(driver)
        await driver.offer(stage.offer(1))
        await driver.offer(stage.canary(2))
        await driver.idle()
        for _ in range(2):
            counted[driver.epoch] = counted.get(driver.epoch, 0) + 10
            await tick(driver, judge)
            await driver.pause()
        assert judge.pairs == 20
        counted[driver.epoch] += 300
        await tick(driver, judge)

    async def later(driver: Driver) -> None:
        judge = known(driver)
        await driver.taken_over.wait()
        await driver.idle()
        await tick(driver, judge)

    fleet.evidence = evidence  # type: ignore[method-assign]
    for script in (first, later, later):
        fleet.new_term()
        with stage.journal("one.sqlite") as journal:
            play(stage.driver(fleet, journal), script)
    assert [judge.pairs for judge in judges] == [320, 320, 320]


def test_after_a_restart_of_the_machine_the_record_is_all_there_is(stage: Stage, fleet: MemoryFleet) -> None:
    """No gateway tells anything again: what the judge knew when the rollout was paused counts on."""
    judges: list[Counting] = []

    async def first(driver: Driver) -> None:
        judges.append(Counting())
        driver.vigil.hearing.make = lambda _: judges[0]
        await driver.offer(stage.offer(1))
        await driver.offer(stage.canary(2))
        await driver.idle()
        fleet.evidence = lambda _m, a, c, epoch, since, **_: Window((epoch, c, a), since, since + 1, 0, pairs=Pairs(10))  # type: ignore[method-assign]
        await tick(driver, judges[0])
        await driver.pause()

    async def later(driver: Driver) -> None:
        judges.append(Counting())
        driver.vigil.hearing.make = lambda _: judges[1]
        await driver.taken_over.wait()
        await driver.idle()
        await tick(driver, judges[1])

    for script in (first, later):
        with stage.journal("one.sqlite") as journal:
            play(stage.driver(fleet, journal), script)
        fleet = MemoryFleet()
    assert [judge.pairs for judge in judges] == [10, 10]
