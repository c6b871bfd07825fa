"""What the control API shows of a model: roles from the table in force, states from the journal."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic_ns
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from changeover.controller import views
from changeover.controller.faults import Faults
from changeover.controller.fleet import Fleet, WorkerState
from changeover.controller.observatory import Observatory
from changeover.lifecycle import artifacts
from changeover.rollout.driver import Driver
from changeover.transport.control import Fault, WorkerHealth
from tests.rollout.memory_fleet import Fate, MemoryFleet
from tests.rollout.stage import MODEL, Stage, play, until

Shown = dict[str, Any]
Script = Callable[[Driver, Callable[[], Shown]], Awaitable[None]]


def known(driver: Driver) -> views.Recorded:
    """What the journal and the store say now."""
    return views.recorded(driver.model, driver.journal, frozenset(artifacts.digests(driver.store)))


def shown_while(tmp_path: Path, fleet: MemoryFleet, offered: list[tuple[int, float]], script: Script) -> None:
    """Offer versions with their windows, then look; the processes are this test's own."""
    stage = Stage(tmp_path)

    def processes() -> Fleet:
        workers = {n: WorkerState(n, MODEL, pid=os.getpid(), incarnations=2) for n in fleet.alive}
        faults = Faults({(MODEL, "2"): (Fault("slow"), Fault("error"))})
        return cast(Fleet, SimpleNamespace(workers=workers, faults=faults, observatory=Observatory()))

    async def whole(driver: Driver) -> None:
        for version, window in offered:
            offer = stage.offer(version, window)
            await asyncio.to_thread(driver.journal.versions.add, MODEL, version, offer.artifact.digest, "push")
            await driver.offer(offer)
        if Fate.SILENT not in fleet.fates.values():
            await driver.idle()
        await script(driver, lambda: views.model(driver, known(driver), processes()))

    with stage.journal() as journal:
        play(stage.driver(fleet, journal), whole)


@pytest.fixture
def fleet() -> MemoryFleet:
    return MemoryFleet()


def test_a_model_in_its_undo_window(tmp_path: Path, fleet: MemoryFleet) -> None:
    """Active and standby with their workers, the signature, and until when an undo is possible."""

    async def script(driver: Driver, shown: Callable[[], Shown]) -> None:
        told = shown()
        assert (told["name"], told["state"], told["epoch"]) == (MODEL, "ready", driver.epoch)
        assert (told["active"], told["standby"], told["candidate"]) == ("2", "1", None)
        assert told["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
        assert told["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}]
        assert told["runtime"]["max_batch"] == 32
        options = told["runtime"]["session"]
        assert (options["arena"], options["prepacking"], len(options["custom_ops"])) == (True, True, 0)
        rows = told["versions"]
        assert [(r["version"], r["role"], r["state"]) for r in rows] == [
            ("2", "active", "ready"),
            ("1", "standby", "ready"),
        ]
        assert rows[0]["name"] == f"2@{rows[0]['digest'][:4]}"
        assert (rows[0]["worker"]["pid"], rows[0]["worker"]["incarnation"]) == (os.getpid(), 2)
        assert rows[0]["worker"]["rss_bytes"] > 1 << 20
        assert (rows[0]["traffic"]["requests_per_s"], rows[0]["traffic"]["p99_ms"]) == (0.0, None)
        assert [r["faults"] for r in rows] == [["slow", "error"], []]
        rollout = told["rollout"]
        assert (rollout["from"]["version"], rollout["to"]["version"], rollout["phase"]) == ("1", "2", "watching")
        assert rollout["undo_until"] is not None
        msgspec.json.encode(told)

    shown_while(tmp_path, fleet, [(1, 0.0), (2, 60.0)], script)


def test_a_crash_loop_is_shown(tmp_path: Path, fleet: MemoryFleet) -> None:
    """Where no worker lives the circuit is still told: deaths, the last one, seconds to the next try."""
    told = WorkerHealth(0, "open", 5, "crashed", -11, 20.0)

    async def script(driver: Driver, shown: Callable[[], Shown]) -> None:
        assert driver.active is not None
        number = driver.active.number
        worker = WorkerState(number, MODEL, health=(told, monotonic_ns() - 8_000_000_000))
        processes = cast(Fleet, SimpleNamespace(workers={number: worker}, faults=Faults(), observatory=Observatory()))
        seen = views.model(driver, known(driver), processes)
        assert seen["state"] == "crash_loop"
        row = seen["versions"][0]["worker"]
        assert (row["pid"], row["circuit"], row["deaths"]) == (None, "open", 5)
        assert row["last_death"] == {"cause": "crashed", "code": -11}
        assert 10 < row["next_try"] <= 12

    shown_while(tmp_path, fleet, [(1, 0.0)], script)


def test_after_an_undo(tmp_path: Path, fleet: MemoryFleet) -> None:
    """The version taken back is released, has no worker, and can no longer be undone."""

    async def script(driver: Driver, shown: Callable[[], Shown]) -> None:
        await driver.undo()
        told = shown()
        assert (told["active"], told["standby"]) == ("1", None)
        assert next((r["version"], r["role"], r["state"], r["worker"]) for r in told["versions"]) == (
            "2",
            "none",
            "released",
            None,
        )
        assert (told["rollout"]["phase"], told["rollout"]["undo_until"]) == ("rolled_back", None)

    shown_while(tmp_path, fleet, [(1, 0.0), (2, 60.0)], script)


def test_a_refused_first_version(tmp_path: Path, fleet: MemoryFleet) -> None:
    """The model is unavailable; the version and its rollout say why."""

    async def script(driver: Driver, shown: Callable[[], Shown]) -> None:
        told = shown()
        assert (told["state"], told["active"], told["epoch"]) == ("unavailable", None, 0)
        assert told["inputs"] == told["outputs"] == []
        row = told["versions"][0]
        assert (row["state"], row["reason"]) == ("failed", "output_not_finite")
        assert row["detail"] == told["rollout"]["detail"] == "the output y holds NaN"
        assert told["rollout"]["reason"] == "output_not_finite"
        assert told["rollout"]["from"] is None

    fleet.fates["1"] = Fate.FAILS
    shown_while(tmp_path, fleet, [(1, 0.0)], script)


def test_a_candidate_that_loads(tmp_path: Path, fleet: MemoryFleet) -> None:
    """A model without an active version is loading then, and the candidate is shown by its role."""

    async def script(driver: Driver, shown: Callable[[], Shown]) -> None:
        await until(lambda: driver.candidate is not None and driver.candidate.state == "validating")
        told = shown()
        assert (told["state"], told["candidate"], told["active"]) == ("loading", "1", None)
        assert [(r["role"], r["state"]) for r in told["versions"]] == [("candidate", "validating")]
        assert told["rollout"]["phase"] == "validating"
        await driver.idle()

    fleet.fates["1"] = Fate.SILENT
    shown_while(tmp_path, fleet, [(1, 0.0)], script)


def test_a_model_that_nothing_was_done_for(tmp_path: Path, fleet: MemoryFleet) -> None:
    """No version, no rollout."""

    async def script(_: Driver, shown: Callable[[], Shown]) -> None:
        told = shown()
        assert (told["state"], told["versions"], told["rollout"]) == ("unavailable", [], None)

    shown_while(tmp_path, fleet, [], script)


def test_resident_memory() -> None:
    """Of a living process its bytes, of none 0."""
    assert views.resident(os.getpid()) > 1 << 20
    assert views.resident(2**22 + 1) == 0
