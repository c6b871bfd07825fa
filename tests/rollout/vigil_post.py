"""A vigil with a clock and a judge in a test's hands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from changeover.rollout.course import Course, Place
from changeover.rollout.current import Current
from changeover.rollout.loading import Loading
from changeover.rollout.machine import Event, Phase, Rollout
from changeover.rollout.offer import Offer
from changeover.rollout.plan import Plan, parse_plan
from changeover.rollout.receipt import Receipt
from changeover.rollout.tables import Draft, Share, split
from changeover.rollout.vigil import Vigil
from changeover.transport.control import LoadingEntry
from tests.rollout.memory_fleet import MemoryFleet, signature
from tests.rollout.scripted_judge import ScriptedJudge
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
