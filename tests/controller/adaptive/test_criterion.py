"""When something is proposed, with a clock that the test moves."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from changeover.controller.adaptive.conditions import Hardware, Traffic
from changeover.controller.adaptive.criterion import Changed, Criterion, Known, Now, slice_seconds
from changeover.rollout.plan_adaptive import AdaptivePlan

HARDWARE = Hardware(2, "ab", "1.31.1", 8 << 30)
PLAN = AdaptivePlan()
DAY = PLAN.every
USUAL = Traffic(100.0, 2.0)


class Life:
    """A model's life: slices, one a minute; what was proposed, and when."""

    def __init__(self, known: Known | None = None, plan: AdaptivePlan = PLAN, at: float = 1e9) -> None:
        self.criterion, self.plan, self.at = Criterion(known), plan, at
        self.runtime, self.hardware = "r1", HARDWARE
        self.told: list[tuple[float, Changed]] = []

    def go(self, minutes: int, traffic: Traffic | None = USUAL) -> list[Changed]:
        """So many slices; what was proposed in them."""
        before = len(self.told)
        for _ in range(minutes):
            self.at += 60
            changed = self.criterion.look(self.plan, Now(self.runtime, self.hardware, self.at, traffic))
            if changed is not None:
                self.told.append((self.at, changed))
        return [changed for _, changed in self.told[before:]]


def test_the_same_traffic_is_no_reason() -> None:
    """For a week, with what traffic is like: a little more, a little less, nothing at night."""
    life = Life()
    for _ in range(7):
        assert life.go(300) == []
        assert life.go(300, Traffic(180.0, 3.0)) == []
        assert life.go(100, None) == []
        assert life.go(300, Traffic(60.0, 1.5)) == []
    assert life.criterion.known is not None
    assert life.criterion.known.traffic == USUAL


def test_a_rate_that_doubles_for_ten_minutes() -> None:
    """Nine are not enough, nor ten with a break; after ten it is said once, with both numbers."""
    life = Life()
    life.go(10)
    assert life.go(9, Traffic(200.0, 2.0)) == []
    assert life.go(1) == []
    assert life.go(9, Traffic(200.0, 2.0)) == []
    assert life.go(1, Traffic(200.0, 2.0)) == [Changed("traffic", "requests a second: 200.0, were 100.0")]
    assert life.go(2000, Traffic(200.0, 2.0)) == []


def test_batches_that_grow() -> None:
    """At the same rate."""
    life = Life()
    life.go(10)
    assert life.go(10, Traffic(100.0, 8.0)) == [Changed("traffic", "rows of a run (median): 8, were 2")]


def test_traffic_that_swings_is_none() -> None:
    """Always away from what it was, and never on the same side."""
    life = Life()
    life.go(10)
    for _ in range(100):
        assert life.go(5, Traffic(300.0, 2.0)) == life.go(5, Traffic(30.0, 2.0)) == []


def test_never_more_often_than_stated() -> None:
    """A second change within a day waits until the day is over; the control is a plan that allows an hour."""
    for every, minutes in ((DAY, DAY / 60), (3600.0, 60)):
        life = Life(plan=replace(PLAN, every=every))
        life.go(10)
        life.go(10, Traffic(300.0, 2.0))
        life.go(3 * 1440, Traffic(900.0, 2.0))
        first, second = (at for at, _ in life.told)
        assert second - first == minutes * 60


def test_a_quiet_time_begins_the_count_anew() -> None:
    """A candidate takes a part, or nobody asks: what was before is not put together with what is after."""
    life = Life()
    life.go(10)
    assert life.go(9, Traffic(300.0, 2.0)) == life.go(1, None) == life.go(9, Traffic(300.0, 2.0)) == []
    assert life.go(1, Traffic(300.0, 2.0)) != []


def test_other_hardware() -> None:
    """It is said at the first look, without any traffic; what it is then is the reference."""
    life = Life()
    life.go(1, None)
    life.hardware = replace(HARDWARE, cores=8)
    assert life.go(1, None) == [Changed("hardware", "cores: 8, were 2")]
    assert life.go(3000, None) == []


def test_a_restart_proposes_nothing_again() -> None:
    """What is on record is gone on with, the time of the last proposal too."""
    life = Life()
    life.go(10)
    life.go(10, Traffic(300.0, 2.0))
    on_record = msgspec.json.encode(life.criterion.known)
    after = Life(msgspec.json.decode(on_record, type=Known), at=life.at)
    assert after.go(100, Traffic(300.0, 2.0)) == []
    assert after.go(100, USUAL) == []  # it has changed back, and a day is not over
    assert len(after.go(1440, USUAL)) == 1


def test_another_runtime_is_another_reference() -> None:
    """What was tuned meanwhile is for the traffic of now; and still a day has to pass."""
    life = Life()
    life.go(10)
    life.go(10, Traffic(300.0, 2.0))
    life.runtime = "r2"
    assert life.go(100, Traffic(300.0, 2.0)) == []
    assert life.criterion.known is not None
    assert life.criterion.known.proposal is None
    assert life.criterion.known.traffic == Traffic(300.0, 2.0)
    assert life.go(100, USUAL) == []


def test_a_clock_that_was_set_back_does_not_silence_it() -> None:
    """Else it would wait for the year in which the clock once was."""
    life = Life()
    life.go(10)
    life.go(10, Traffic(300.0, 2.0))
    life.at -= 1e8
    assert len(life.go(10, USUAL)) == 1


def test_slices() -> None:
    """A minute by the default; a tenth of a shorter time, and no less than the watch looks."""
    assert slice_seconds(PLAN) == 60
    assert slice_seconds(replace(PLAN, hold=300.0)) == 30
    assert slice_seconds(replace(PLAN, hold=5.0)) == 1
    assert slice_seconds(replace(PLAN, hold=3600.0)) == 60
