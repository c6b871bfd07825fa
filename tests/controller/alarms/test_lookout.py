"""The lookout: every condition, made to come true on drivers and a fleet in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from changeover.controller.alarms import lookout as module
from changeover.controller.alarms.condition import Condition, Key
from changeover.controller.alarms.lookout import Lookout
from changeover.controller.fleet import Fleet
from changeover.rollout.driver import Driver
from changeover.rollout.machine import Phase
from changeover.runtime.machine import Memory
from changeover.telemetry.observations import bucket
from changeover.transport.control import WorkerHealth
from changeover.transport.reports import Observations, Observed
from tests.rollout.canary import judged
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.stage import MODEL, Stage, play


class Scene:
    """A driver with version 1, a canary to version 2 (or other bytes of 1) at 25 %, and a lookout over it."""

    def __init__(self, folder: Path, *, newer: int = 2, **settings: object) -> None:
        self.stage = Stage(folder, **settings)
        self.fleet = MemoryFleet()
        self.lookout = Lookout(self.stage.settings, cast(Fleet, self.fleet))
        self.driver: Driver
        self._told: dict[int, tuple[int, int, dict[int, int]]] = {}
        self._seconds = 0
        self._newer = newer

    def play(self, script: Callable[[Scene], Awaitable[None]]) -> None:
        """A rollout under way, then the script."""

        async def both(driver: Driver) -> None:
            self.driver = driver
            judged(driver)
            await driver.offer(self.stage.offer(1))
            await driver.idle()
            await driver.offer(self.stage.canary(self._newer, "steps: [25%]", "b"))
            await driver.idle()
            await script(self)

        with self.stage.journal() as journal:
            play(self.stage.driver(self.fleet, journal), both)

    def second(self, *, old: tuple[int, float] = (0, 0.0), new: tuple[int, float] = (0, 0.0), failed: int = 0) -> None:
        """A second in which each version answered so many requests in so many seconds; `failed` are of the new one."""
        self._seconds += 1
        numbers = sorted(self.driver.loader.live)
        for number, (answers, latency), bad in zip(numbers, (old, new), (0, failed), strict=False):
            count, failures, histogram = self._told.get(number, (0, 0, {}))
            if answers:
                histogram = {**histogram, bucket(latency): histogram.get(bucket(latency), 0) + answers}
            self._told[number] = count + answers, failures + bad, histogram
            seen = Observed(number, MODEL, count + answers, failures + bad, 0, histogram)
            self.fleet.observatory.record(1, Observations(self._seconds * 10**9, [seen]))
        self.fleet.observatory.pulse.tick(1.0)

    def look(self, firing: dict[Key, float | None] | None = None) -> dict[str, Condition]:
        """The conditions by their keys."""
        return {str(c.key): c for c in self.lookout.look({MODEL: self.driver}, firing or {})}


def test_a_candidate_that_is_slower(tmp_path: Path) -> None:
    """Beside the active version in the same seconds; unknown without traffic, and well when both are slow."""

    async def script(scene: Scene) -> None:
        key = f"latency_over_other/{MODEL}/2"
        assert scene.look()[key].bad is None
        scene.second(old=(100, 0.010), new=(50, 0.011))
        assert scene.look()[key].bad is False
        scene.second(old=(100, 0.010), new=(50, 0.020))
        found = scene.look()[key]
        assert (found.bad, found.rollout) == (True, scene.driver.current.id if scene.driver.current else None)
        assert "beside 1@" in found.detail
        scene.second(old=(100, 0.020), new=(50, 0.021))
        assert scene.look()[key].bad is False

    Scene(tmp_path).play(script)


def test_a_version_that_is_slower_than_it_was(tmp_path: Path) -> None:
    """After a minute it is known what is normal; while it fires, what was normal then is what counts."""

    async def script(scene: Scene) -> None:
        key = Key("latency_over_past", MODEL, "1")
        for _ in range(60):
            assert scene.look()[str(key)].bad is None
            scene.second(old=(100, 0.010))
        assert scene.look()[str(key)].bad is False
        scene.second(old=(100, 0.017))
        found = scene.look()[str(key)]
        assert found.bad is True
        assert found.baseline == pytest.approx(0.010, rel=0.02)
        assert scene.look({key: 0.002})[str(key)].limit == pytest.approx(0.003)

    Scene(tmp_path).play(script)


def test_failures(tmp_path: Path) -> None:
    """Three and more than a thousandth: of the last seconds, or of the last minute; two of a hundred are none yet."""

    async def script(scene: Scene) -> None:
        key = f"errors/{MODEL}/2"
        assert scene.look()[key].bad is None
        scene.second(new=(100, 0.01), failed=2)
        assert scene.look()[key].bad is False
        scene.second(new=(900, 0.01), failed=1)
        found = scene.look()[key]
        assert (found.bad, found.value) == (True, pytest.approx(3 / 1003, abs=1e-6))
        assert found.detail.startswith("3 of 1,003 requests failed in the last 5 s (0.30%)")
        for _ in range(10):
            scene.second(new=(100, 0.01))
        assert "in the last 60 s" in scene.look()[key].detail
        assert scene.look()[key].bad is True
        for _ in range(60):
            scene.second(new=(100, 0.01))
        assert scene.look()[key].bad is False
        assert scene.look()[f"errors/{MODEL}/1"].bad is None

    Scene(tmp_path).play(script)


def test_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the control group, or of the machine."""

    async def script(scene: Scene) -> None:
        for free, of, bad in ((30, "cgroup", False), (10, "cgroup", True), (10, "host", True)):
            monkeypatch.setattr(module.machine, "memory", lambda f=free, o=of: Memory(100, f, o))  # type: ignore[misc]
            found = scene.look()["memory"]
            assert found.bad is bad
            assert ("control group's" in found.detail) == (of == "cgroup")

    Scene(tmp_path).play(script)


def test_a_rollout_that_stands_still(tmp_path: Path) -> None:
    """Beyond the setting and its step's hold; not when somebody has it in hand, but a way back is always short."""

    async def script(scene: Scene) -> None:
        current = scene.driver.current
        assert current is not None
        key = f"rollout_stuck/{MODEL}/2"
        assert scene.look()[key].bad is False

        def began(seconds: float, **state: Any) -> bool | None:
            at = (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            told = SimpleNamespace(id="r-1", history=[{"at": at}], step=current.step, rollout=None)
            fields = {
                "phase": Phase.PROGRESSING,
                "held": False,
                "step": "25%",
                "target": "2",
                "course": current.rollout.course,
            }
            told.rollout = SimpleNamespace(**fields | state)
            driver = SimpleNamespace(model=MODEL, current=told)
            (found,) = scene.lookout._stuck(cast(Driver, driver))
            return found.bad

        assert current.step.hold is not None
        assert began(599 + current.step.hold) is False
        assert began(601 + current.step.hold) is True
        assert began(100_000, held=True) is False
        assert began(61, phase=Phase.ROLLING_BACK, held=True) is True

    Scene(tmp_path, alert_stuck=600.0).play(script)


def test_a_worker_that_dies_again_and_again(tmp_path: Path) -> None:
    """As its circuit says."""

    async def script(scene: Scene) -> None:
        number = min(scene.driver.loader.live)
        key = f"worker_crash_loop/{MODEL}/1"
        assert scene.look()[key].bad is False
        health = WorkerHealth(number, "open", 5, "crashed", -11)
        scene.fleet.workers[number] = SimpleNamespace(health=(health, 0))
        found = scene.look()[key]
        assert found.bad is True
        assert "died 5 times in a row" in found.detail

    Scene(tmp_path).play(script)


def test_an_anomaly(tmp_path: Path) -> None:
    """Of the model's own history, after five minutes of it: twice the latency in ten seconds; it is an alarm only."""

    async def script(scene: Scene) -> None:
        latency, errors = f"latency_anomaly/{MODEL}", f"errors_anomaly/{MODEL}"
        for _ in range(311):
            scene.second(old=(50, 0.010))
            told = scene.look()
        assert (told[latency].bad, told[errors].bad) == (False, False)
        for _ in range(10):
            scene.second(old=(50, 0.014), new=(5, 0.010), failed=2)
            told = scene.look()
        assert (told[latency].bad, told[errors].bad) == (True, True)
        assert scene.driver.current is not None
        assert scene.driver.current.rollout.phase is Phase.PROGRESSING

    Scene(tmp_path, alert_latency=5.0).play(script)


def test_each_can_be_turned_off(tmp_path: Path) -> None:
    """By a 0; a crash loop is always told."""

    async def script(scene: Scene) -> None:
        assert {key.partition("/")[0] for key in scene.look()} == {"worker_crash_loop"}

    off = {f"alert_{name}": 0.0 for name in ("latency", "errors", "memory", "stuck", "anomaly")}
    Scene(tmp_path, **off).play(script)


def test_two_with_the_same_number_do_not_hide_each_other(tmp_path: Path) -> None:
    """Other bytes under the number that serves: the one that fails is named by its digest too."""

    async def script(scene: Scene) -> None:
        assert scene.driver.active is not None
        assert scene.driver.candidate is not None
        active, candidate = scene.driver.active.name, scene.driver.candidate.name
        scene.second(old=(50, 0.010), new=(50, 0.010), failed=10)
        found = scene.look()
        assert (found[f"errors/{MODEL}/{active}"].bad, found[f"errors/{MODEL}/{candidate}"].bad) == (False, True)
        assert f"latency_over_other/{MODEL}/{candidate}" in found
        assert f"errors/{MODEL}/1" not in found

    Scene(tmp_path, newer=1).play(script)
