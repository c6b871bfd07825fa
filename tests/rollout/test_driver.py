"""A whole rollout, driven: real journal, real artifacts, real page and store, scripted gateways and workers."""

from __future__ import annotations

import pytest

from changeover.errors import Internal
from changeover.rollout.driver import Driver
from changeover.rollout.machine import Phase
from tests.rollout.memory_fleet import Fate, MemoryFleet
from tests.rollout.stage import MODEL, WORD, ScriptedJournal, Stage, bring, play, until


def serves(driver: Driver, fleet: MemoryFleet) -> tuple[str, list[str]]:
    """The version in force, and all versions that have a worker."""
    table = fleet.in_force(WORD)
    assert table is not None
    assert table.epoch == driver.epoch
    active = next(e.version for e in table.loadings if e.loading == table.active)
    assert driver.active is not None
    assert active == str(driver.active.version)
    return active, sorted(spec.version for spec in fleet.alive.values())


def phases(journal: ScriptedJournal) -> dict[str, str]:
    """Phase of each rollout by the version it was for, oldest first."""
    return {str(r.target.version): r.phase for r in reversed(journal.rollouts.of(MODEL))}


def test_the_first_version_serves(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """No window, no standby, and the journal's committed table is the page's."""

    async def script(driver: Driver) -> None:
        rollout = await bring(driver, stage.offer(1, window=60))
        assert serves(driver, fleet) == ("1", ["1"])
        record = journal.rollouts.get(rollout)
        assert (record.phase, record.source) == ("succeeded", None)
        assert record.ended
        assert driver.standby is driver.candidate is None
        committed = journal.epochs.committed(MODEL)
        assert committed is not None
        assert committed.epoch == fleet.epoch(WORD)

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


@pytest.mark.parametrize("how", ["prepare", "journal"])
def test_a_first_version_that_cannot_be_switched_to_leaves_nothing(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Its worker ends, whether the gateways cannot serve it or its promotion cannot be recorded."""

    async def script(driver: Driver) -> None:
        if how == "prepare":
            fleet.prepare_error = Internal("no channel", reason="prepare_failed")
        else:
            moved = journal.rollouts.move

            def move(rollout: str, phase: str, **more: object) -> object:
                if phase == Phase.PROMOTING:
                    raise Internal("the disk is full", reason="journal_unwritable")
                return moved(rollout, phase, **more)  # type: ignore[arg-type]

            monkeypatch.setattr(journal.rollouts, "move", move)
        rollout = await bring(driver, stage.offer(1))
        assert journal.rollouts.get(rollout).phase == "failed"
        assert fleet.alive == {}
        assert driver.candidate is driver.active is driver.standby is None

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


def test_a_changeover_and_the_end_of_its_window(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """The old version is kept warm for the window, then a table that does not name it, a drain, the end."""

    async def script(driver: Driver) -> None:
        await driver.offer(stage.offer(1))
        rollout = await bring(driver, stage.offer(2, window=0.05))
        assert serves(driver, fleet) == ("2", ["1", "2"])
        assert driver.can_undo(rollout)
        assert driver.standby is not None
        assert [driver.role(x) for x in (driver.active, driver.standby) if x] == ["active", "standby"]
        fleet.calls.clear()
        await until(lambda: phases(journal)["2"] == "succeeded")
        await driver.idle()
        assert serves(driver, fleet) == ("2", ["2"])
        assert driver.standby is None
        assert not driver.can_undo(rollout)
        order = [call.split()[0] for call in fleet.calls]
        assert order == ["publish", "prepare", "store", "acknowledged", "drained", "retire", "gone", "forget"]
        assert journal.loadings.get(1).state == "released"

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


@pytest.mark.parametrize(
    ("fate", "reason", "gate"),
    [
        (Fate.FAILS, "output_not_finite", "warmup"),
        (Fate.DIES, "prover_crashed", "warmup"),
        (Fate.SILENT, "load_timeout", "warmup"),
    ],
)
def test_a_refused_candidate_leaves_everything(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal, fate: Fate, reason: str, gate: str
) -> None:
    """The page, the workers and the roles are as before, and the record says why."""

    async def script(driver: Driver) -> None:
        await bring(driver, stage.offer(1))
        epoch, active = fleet.epoch(WORD), driver.active
        fleet.fates["2"] = fate
        rollout = await bring(driver, stage.offer(2))
        record = journal.rollouts.get(rollout)
        assert (record.phase, record.record["reason"]) == ("failed", reason)
        assert record.ended
        assert fleet.epoch(WORD) == epoch
        assert driver.active is active
        assert serves(driver, fleet) == ("1", ["1"])
        assert journal.loadings.get(2).state == "failed"
        assert journal.loadings.get(2).reason == reason
        await until(lambda: journal.rollouts.get(rollout).certificate is not None)
        certificate = journal.rollouts.get(rollout).certificate
        assert certificate is not None
        assert certificate.decided_by == f"gate:{gate}"

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


def test_a_switch_that_cannot_be_prepared(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """The candidate is let go and the rollout failed; the next one succeeds."""

    async def script(driver: Driver) -> None:
        await bring(driver, stage.offer(1))
        fleet.prepare_error = Internal("no channel", reason="prepare_failed")
        await bring(driver, stage.offer(2))
        assert phases(journal)["2"] == "failed"
        assert serves(driver, fleet) == ("1", ["1"])
        fleet.prepare_error = None
        await bring(driver, stage.offer(3, window=60))
        assert serves(driver, fleet) == ("3", ["1", "3"])

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


def test_a_silent_gateway_does_not_cost_the_version_in_force(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal
) -> None:
    """After the store nobody may take the candidate for one that never served: its worker lives on."""

    async def script(driver: Driver) -> None:
        await bring(driver, stage.offer(1))
        fleet.acknowledge_error = Internal("gateways [7] do not acknowledge", reason="gateway_silent")
        rollout = await bring(driver, stage.offer(2, window=60))
        assert serves(driver, fleet) == ("2", ["1", "2"])
        assert phases(journal)["2"] == "watching"
        await until(lambda: journal.rollouts.get(rollout).certificate is not None)
        certificate = journal.rollouts.get(rollout).certificate
        assert certificate is not None
        assert certificate.switch is not None
        assert certificate.switch.stale_picks is certificate.switch.last_ack_ms is None

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


def test_a_newer_offer_ends_the_window_first(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """Never more than three workers: the standby has gone before the next candidate comes."""

    async def script(driver: Driver) -> None:
        await bring(driver, stage.offer(1), stage.offer(2, window=60))
        await bring(driver, stage.offer(3, window=60))
        assert phases(journal) == {"1": "succeeded", "2": "succeeded", "3": "watching"}
        assert serves(driver, fleet) == ("3", ["2", "3"])
        assert fleet.calls.index("retire 1") < fleet.calls.index("prove 3") < fleet.calls.index("spawn 3")

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


def test_offers_queue_and_run_in_order(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """All are recorded at once, one is under way at a time, and each starts from what the one before left."""

    async def script(driver: Driver) -> None:
        fleet.fates["3"] = Fate.FAILS
        ids = [await driver.offer(stage.offer(version, window=60)) for version in (1, 2, 3, 4)]
        assert ids == ["r-000001", "r-000002", "r-000003", "r-000004"]
        await driver.idle()
        assert phases(journal) == {"1": "succeeded", "2": "succeeded", "3": "failed", "4": "watching"}
        assert [c for c in fleet.calls if c.startswith("prove")] == ["prove 1", "prove 2", "prove 3", "prove 4"]
        assert serves(driver, fleet) == ("4", ["2", "4"])
        record = await driver.undo()
        assert record.target.version == 4
        assert serves(driver, fleet) == ("2", ["2"])

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


def test_the_highest_found_version_serves_at_the_first_start(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal
) -> None:
    """However quickly the lower ones are found after it, none of them is rolled out."""

    async def script(driver: Driver) -> None:
        for version in (3, 2, 1):
            await driver.offer_found(stage.offer(version))
        await driver.idle()
        assert phases(journal) == {"3": "succeeded"}
        assert serves(driver, fleet) == ("3", ["3"])

    play(stage.driver(fleet, journal), script)


def test_a_lower_version_serves_when_the_highest_fails(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal
) -> None:
    """The next lower one that passes its gates, and no other after it."""

    async def script(driver: Driver) -> None:
        fleet.fates["4"], fleet.fates["3"] = Fate.FAILS, Fate.DIES
        for version in (4, 3, 2, 1):
            await driver.offer_found(stage.offer(version))
        await driver.idle()
        assert phases(journal) == {"4": "failed", "3": "failed", "2": "succeeded"}
        assert serves(driver, fleet) == ("2", ["2"])

    play(stage.driver(fleet, journal), script)


def test_a_version_that_was_tried_is_not_tried_again(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal
) -> None:
    """Neither the refused nor the active one, however often they are found; a newer one is."""

    async def script(driver: Driver) -> None:
        fleet.fates["2"] = Fate.FAILS
        await driver.offer_found(stage.offer(1))
        for _ in range(3):
            await driver.offer_found(stage.offer(2))
            await driver.offer_found(stage.offer(1))
        await driver.offer_found(stage.offer(3))
        await driver.idle()
        assert (phases(journal)["1"], phases(journal)["2"]) == ("succeeded", "failed")
        assert [r.target.version for r in journal.rollouts.of(MODEL)] == [3, 2, 1]

    play(stage.driver(fleet, journal), script)


def test_the_same_number_with_new_bytes_is_news(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """It is another digest, and a rollout of its own."""

    async def script(driver: Driver) -> None:
        first, second = stage.offer(1), stage.offer(1, window=60, flavour="retrained")
        await driver.offer_found(first)
        await driver.offer_found(second)
        await driver.idle()
        assert driver.active is not None
        assert driver.active.digest == second.artifact.digest != first.artifact.digest
        assert driver.standby is not None
        assert driver.standby.digest == first.artifact.digest
        assert [r.target for r in journal.rollouts.of(MODEL)] == [second.ref, first.ref]
        assert driver.standby is not None
        assert (driver.standby.version, driver.standby.digest) == (1, first.artifact.digest)

    play(stage.driver(fleet, journal), script)


def test_a_repr_of_the_roles(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """The candidate is shown as such only while it is neither active nor standby."""

    async def script(driver: Driver) -> None:
        await bring(driver, stage.offer(1))
        fleet.fates["2"] = Fate.SILENT
        await driver.offer(stage.offer(2))
        await until(lambda: driver.candidate is not None)
        assert driver.candidate is not None
        assert driver.role(driver.candidate) == "candidate"
        assert driver.candidate.name.startswith("2@")
        candidate = driver.candidate
        await driver.idle()
        assert driver.candidate is None
        assert driver.role(candidate) == "none"
        assert driver.current is not None
        assert driver.current.rollout.phase is Phase.FAILED

    play(stage.driver(fleet, journal), script)
