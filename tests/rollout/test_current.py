"""A rollout in hand: what its place gets, what is counted there, and its history."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from changeover.rollout.course import Course, Place
from changeover.rollout.current import Current
from changeover.rollout.judge import Finding, Ruling, Verdict
from changeover.rollout.machine import Event, Phase, Rollout, Told
from changeover.rollout.receipt import Receipt
from changeover.rollout.tables import Share
from changeover.telemetry.evidence import Arm, Pairs, Window
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.stage import MODEL, Stage


@pytest.fixture
def made(stage: Stage, fleet: MemoryFleet) -> Callable[[], Current]:
    def make() -> Current:
        offer = stage.canary(2, "steps: [{weight: shadow, mirror: 10%}, 5%]")
        rollout = Rollout(MODEL, "1", "2", Phase.PROGRESSING, course=Course.of(offer.plan.rollout))
        receipt = Receipt(MODEL, "r-000002", offer, None, fleet)
        return Current("r-000002", offer, replace(rollout, goal=Place(1, 500), stands=Place(1, 500)), receipt, 60.0)

    return make


def test_a_place_has_its_share(made: Callable[[], Current]) -> None:
    """The shadow copies and gives nothing; a step gives and copies nothing; by hand it is what was asked for."""

    async def scenario() -> None:
        current = made()
        assert current.share == Share(500, "5%", 0, shield=True, finite=True)
        current.rollout = replace(current.rollout, goal=Place(0, 0))
        assert current.share == Share(0, "shadow", 1000, shield=True, finite=True)
        current.rollout = replace(current.rollout, goal=Place(0, 250))
        assert current.share == Share(250, "2.5%", 0, shield=True, finite=True)

    asyncio.run(scenario())


def test_what_is_counted_is_what_the_certificate_says(made: Callable[[], Current]) -> None:
    """Sums over windows, and the findings as values that the journal takes."""

    async def scenario() -> None:
        current = made()
        window = Window((5, 2, 1), 0, 1, 500, Arm(95, 1), Arm(5, 2, 2), Pairs(compared=4, flips=1))
        for _ in range(2):
            current.totals.add(window)
        finding = Finding("errors", Verdict.FAILED, math.inf, 0.4, 0.1, None, 0.001, "2 of 5 failed")
        current.ruling = Ruling(Verdict.FAILED, "error_rate", "too many", (finding,))
        numbers = current.numbers
        assert numbers["requests"] == {"active": 190, "candidate": 10}
        assert (numbers["failures"], numbers["shielded"]) == ({"active": 2, "candidate": 4}, 4)
        assert (numbers["compared"], numbers["flips"]) == (8, 2)
        assert msgspec.json.decode(msgspec.json.encode(numbers))["findings"][0]["test"] == "errors"

    asyncio.run(scenario())


def test_the_history_only_grows(made: Callable[[], Current]) -> None:
    """A transition adds to it; a step in force adds nothing; what could not be promised is taken out again."""

    async def scenario() -> None:
        current = made()
        before, first = current.rollout, current.history
        current.rollout = replace(before, phase=Phase.PAUSED, held=True, by="operator")
        assert current.moved(before, Event.PAUSE_ASKED)
        assert [(e["phase"], e["step"], e["by"]) for e in current.history] == [("paused", "5%", "operator")]
        assert first == []
        paused = current.rollout
        current.rollout = replace(paused, stands=None)
        assert not current.moved(paused, Event.SWITCHED)
        current.taken_back(paused)
        assert (current.rollout, len(current.history)) == (paused, 1), "nothing was added, so nothing is taken out"
        current.rollout = replace(paused, held=False)
        assert current.moved(paused, Event.RESUME_ASKED)
        assert len(current.history) == 2
        current.taken_back(paused)
        assert (current.rollout, len(current.history)) == (paused, 1)

    asyncio.run(scenario())


def test_a_switch_that_is_tried_for_days_does_not_fill_the_history(made: Callable[[], Current]) -> None:
    """The first attempt is there and the last, each with what came of it; what is asked by hand is there each time."""

    async def scenario() -> None:
        current = made()
        stands, up = current.rollout, replace(current.rollout, phase=Phase.PROMOTING, goal=Place(2, 10_000), by="plan")
        for attempt in range(100):
            current.rollout = replace(up, detail=None)
            assert current.moved(stands, Event.STEP_CLEAR)
            current.rollout = replace(stands, reason="prepare_failed", detail=f"epoch {attempt}")
            assert current.moved(up, Event.NOT_SWITCHED)
        told = [(entry["event"], entry["detail"]) for entry in current.history]
        assert told[:2] == [("step_clear", None), ("not_switched", "epoch 0")]
        assert told[2:] == [("step_clear", None), ("not_switched", "epoch 99")]
        for _ in range(3):
            before = current.rollout
            current.rollout = replace(before, phase=Phase.PAUSED, held=True, by="operator")
            current.moved(before, Event.PAUSE_ASKED)
            current.rollout = before
            current.moved(replace(before, phase=Phase.PAUSED), Event.NOT_SWITCHED)
        assert [entry["event"] for entry in current.history].count("pause_asked") == 3

    asyncio.run(scenario())


def test_the_first_who_stops_a_load_counts(made: Callable[[], Current]) -> None:
    """Later ones change nothing."""

    async def scenario() -> None:
        current = made()
        current.stop(Event.ABORT_ASKED, Told("aborted"))
        current.stop(Event.SUPERSEDED, Told("superseded"))
        assert current.stopped.result() == (Event.ABORT_ASKED, Told("aborted"))

    asyncio.run(scenario())
