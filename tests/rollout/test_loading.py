"""Bringing a version up and letting it go: states on record, and no worker left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace

from changeover.errors import Internal, ModelRejected
from changeover.lifecycle.states import LoadingState
from changeover.rollout.loading import Loader, Loading
from changeover.rollout.plan import parse_plan
from changeover.sequences.declared import Layout
from changeover.transport.control import WorkerStatus
from tests.rollout.memory_fleet import MEASURED, Fate, MemoryFleet, signature
from tests.rollout.stage import MODEL, ScriptedJournal, Stage


@pytest.fixture
def loader(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> Loader:
    made = Loader(MODEL, fleet, journal, stage.settings)
    fleet.on_status = made.on_status
    return made


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


async def loaded(loader: Loader, stage: Stage, version: int = 1, active: Loading | None = None) -> Loading:
    """A loading that went through everything."""
    offer = stage.offer(version)
    loading = await loader.load(version, offer.artifact, offer.plan)
    await loader.ready(loading, active)
    return loading


def test_a_version_comes_up(loader: Loader, stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """It has an entry for routing tables, its measures and its gates, and the journal says ready."""

    async def scenario() -> None:
        loading = await loaded(loader, stage)
        assert loading.state is LoadingState.READY
        assert loading.entry is not None
        assert (loading.entry.loading, loading.entry.version) == (loading.number, "1")
        assert loading.entry.digest == loading.digest
        assert loading.entry.signature == signature()
        assert loading.measured == MEASURED
        assert [(gate.gate, gate.result) for gate in loading.gates] == [("integrity", "passed"), ("warmup", "passed")]
        assert loading.gates[0].evidence["bytes"] == loading.artifact.manifest.size
        record = journal.loadings.get(loading.number)
        assert (record.state, record.digest) == ("ready", loading.digest)
        assert record.measured["load_s"] == MEASURED.load_s
        assert loader.live == {loading.number: loading}

    run(scenario)


def test_the_worker_gets_the_plan(loader: Loader, stage: Stage, fleet: MemoryFleet) -> None:
    """Runtime options, gates and places; the model's path is the sealed one."""
    text = (
        "runtime: {intra_op_threads: 3, optimization: basic, max_batch: 8, memory_limit: 2MiB, queue_limit: 9}\n"
        "gates: {warmup: {finite: false}}\n"
    )

    async def scenario() -> None:
        artifact = stage.artifact(5, text)
        loading = await loader.load(5, artifact, parse_plan(text))
        spec = fleet.alive[loading.number]
        assert (spec.model, spec.version, spec.digest) == (MODEL, "5", artifact.digest)
        assert spec.path == str(stage.store / artifact.digest / "files" / "model.onnx")
        assert (spec.intra_op_threads, spec.optimization, spec.max_batch) == (3, "basic", 8)
        assert (spec.memory_limit, spec.warmup_finite, spec.verify) == (2 << 20, False, True)
        await loader.ready(loading, None)
        assert loading.entry is not None
        assert (loading.entry.max_batch, loading.entry.run_timeout) == (8, 30.0)
        assert (loading.entry.queue_limit, loading.entry.max_queue_delay) == (9, None)

    run(scenario)


@pytest.mark.parametrize(
    ("fate", "reason", "words"),
    [
        (Fate.FAILS, "output_not_finite", "the output y holds NaN"),
        (Fate.DIES, "worker_crashed", "died by SIGSEGV while it was validating"),
        (Fate.SILENT, "load_timeout", "was not ready after 0.05 s"),
    ],
)
def test_what_does_not_come_up(
    loader: Loader, stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal, fate: Fate, reason: str, words: str
) -> None:
    """The reason and the failed gate are told and recorded, and the worker is gone when it is raised."""

    async def scenario() -> None:
        fleet.fates["1"] = fate
        offer = stage.offer(1)
        loading = await loader.load(1, offer.artifact, offer.plan)
        with pytest.raises(ModelRejected) as caught:
            await loader.ready(loading, None)
        assert caught.value.reason == reason
        assert words in caught.value.message
        assert not fleet.alive
        assert not loader.live
        assert fleet.loadings_of(MODEL) == set()
        assert loading.state is LoadingState.FAILED
        assert loading.entry is None
        record = journal.loadings.get(loading.number)
        assert (record.state, record.reason, record.detail) == ("failed", reason, caught.value.message)
        failed = loading.gates[-1]
        assert (failed.gate, failed.result, failed.evidence) == ("warmup", "failed", {"reason": reason})

    run(scenario)


def test_another_signature_is_refused(loader: Loader, stage: Stage, fleet: MemoryFleet) -> None:
    """By the structure gate, with both shapes in the sentence; the active loading is not touched."""

    async def scenario() -> None:
        active = await loaded(loader, stage)
        fleet.signatures["2"] = signature(columns=5)
        with pytest.raises(ModelRejected) as caught:
            await loaded(loader, stage, 2, active)
        assert caught.value.reason == "signature_changed"
        assert "5" in caught.value.message
        assert list(loader.live.values()) == [active]
        assert list(fleet.alive) == [active.number]

    run(scenario)


def test_a_failing_journal_leaves_no_worker(
    loader: Loader, stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal
) -> None:
    """A loading that cannot be recorded as ready is no loading: its worker ends, and no gate is blamed."""

    async def scenario() -> None:
        offer = stage.offer(1)
        loading = await loader.load(1, offer.artifact, offer.plan)
        journal.fail(at=journal.writes + 1)
        with pytest.raises(Internal) as caught:
            await loader.ready(loading, None)
        assert caught.value.reason == "journal_unwritable"
        assert not fleet.alive
        assert not loader.live
        assert loading.entry is None
        assert {gate.result for gate in loading.gates} == {"passed"}
        assert journal.loadings.get(loading.number).state == "failed"

    run(scenario)


def test_a_refusal_is_told_although_it_cannot_be_recorded(
    loader: Loader, stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal
) -> None:
    """The operator hears what is wrong with the model, not what is wrong with the disk."""

    async def scenario() -> None:
        fleet.fates["1"] = Fate.FAILS
        offer = stage.offer(1)
        loading = await loader.load(1, offer.artifact, offer.plan)
        journal.fail()
        with pytest.raises(ModelRejected) as caught:
            await loader.ready(loading, None)
        assert caught.value.reason == "output_not_finite"
        assert not fleet.alive

    run(scenario)


def test_a_journal_that_takes_no_new_loading(
    loader: Loader, stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal
) -> None:
    """Then no worker is asked for at all."""

    async def scenario() -> None:
        offer = stage.offer(1)
        journal.fail()
        with pytest.raises(Internal):
            await loader.load(1, offer.artifact, offer.plan)
        assert not fleet.calls
        assert not loader.live

    run(scenario)


@pytest.mark.parametrize("stubborn", [False, True])
def test_release(loader: Loader, stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal, stubborn: bool) -> None:
    """The worker ends, and it is told whether that was in time; either way the loading is over."""

    async def scenario() -> None:
        loading = await loaded(loader, stage)
        if stubborn:
            fleet.stubborn.add(loading.number)
        assert await loader.release(loading) is not stubborn
        assert loading.state is LoadingState.RELEASED
        assert not loader.live
        assert not fleet.alive
        assert journal.loadings.get(loading.number).state == "released"

    run(scenario)


def test_the_begin_of_a_drain_is_on_record(loader: Loader, stage: Stage, journal: ScriptedJournal) -> None:
    """Of a version with sequences; what of its time has passed before this term is over."""

    async def scenario() -> None:
        plain, kept = await loaded(loader, stage), await loaded(loader, stage, 2)
        assert await loader.drain(plain, 30.0) == 30.0
        assert journal.loadings.get(plain.number).state == "ready"
        assert kept.entry is not None
        kept.entry = replace(kept.entry, sequence=Layout([], [], 60.0, 4, "drain", 0, 8, 500))
        assert await loader.drain(kept, 30.0) == 90.0
        begun = journal.loadings.get(kept.number)
        assert begun.state == "draining"
        kept.drained = 50.0
        assert await loader.drain(kept, 30.0) == 40.0
        assert journal.loadings.get(kept.number).updated == begun.updated
        kept.drained = 100.0
        assert await loader.drain(kept, 30.0) == 0.0

    run(scenario)


def test_a_failing_journal_holds_up_no_release(
    loader: Loader, stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal
) -> None:
    """The memory is what matters; the record is only late."""

    async def scenario() -> None:
        loading = await loaded(loader, stage)
        journal.fail()
        assert await loader.release(loading)
        assert not fleet.alive
        assert not loader.live

    run(scenario)


def test_progress_is_followed_until_it_is_ready(loader: Loader, stage: Stage, fleet: MemoryFleet) -> None:
    """A replacement of a proven worker goes through the states again, and the loading stays ready."""

    async def scenario() -> None:
        offer = stage.offer(1)
        loading = await loader.load(1, offer.artifact, offer.plan)
        assert loading.state is LoadingState.NEW
        loader.on_status(WorkerStatus(loading.number, "loading"))
        assert loading.state is LoadingState.LOADING
        loader.on_status(WorkerStatus(loading.number, "failed"))
        assert loading.state is LoadingState.LOADING
        loader.on_status(WorkerStatus(99, "loading"))
        await loader.ready(loading, None)
        loader.on_status(WorkerStatus(loading.number, "loading"))
        assert loading.state is LoadingState.READY
        assert repr(loading) == f"<Loading {loading.number} {loading.name} ready>"

    run(scenario)


def test_a_living_worker_is_adopted(loader: Loader, stage: Stage, fleet: MemoryFleet) -> None:
    """Without a new loading, and ready at once."""

    async def scenario() -> None:
        first = await loaded(loader, stage)
        assert first.entry is not None
        fleet.calls.clear()
        adopted = loader.adopt(first.entry, first.artifact, first.plan)
        assert (adopted.number, adopted.version, adopted.state) == (first.number, 1, LoadingState.READY)
        assert loader.live == {first.number: adopted}
        assert not fleet.calls

    run(scenario)
