"""Certificates of changeovers that a restart interrupted."""

from __future__ import annotations

from changeover.rollout.driver import Driver
from tests.rollout.crash import lived, offers_of
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.stage import MODEL, Stage, bring, until


def test_a_certificate_after_a_restart(stage: Stage, fleet: MemoryFleet) -> None:
    """It says what is known, from which version to which with what gates, and nothing of a switch it did not see."""
    offers = offers_of(stage)
    lived(stage, fleet, lambda driver: bring(driver, offers[1], offers[4]))
    with stage.journal("one.sqlite") as journal:  # killed before it was written
        journal._database.write("UPDATE rollouts SET certificate = NULL")
        kept = journal.rollouts.of(MODEL)[0].record

    async def second(driver: Driver) -> None:
        await driver.taken_over.wait()
        await driver.idle()
        shown = driver.journal.rollouts.of(MODEL)[0]
        assert {name: shown.record[name] for name in ("offer", "from", "gates", "plan")} == {
            name: kept[name] for name in ("offer", "from", "gates", "plan")
        }
        await driver.undo()
        await until(lambda: driver.journal.rollouts.of(MODEL)[0].certificate is not None)
        certificate = driver.journal.rollouts.of(MODEL)[0].certificate
        assert certificate is not None
        assert (certificate.source, certificate.target) == (offers[1].ref, offers[4].ref)
        assert (certificate.outcome, certificate.decided_by) == ("rolled_back", "operator")
        assert [gate.gate for gate in certificate.gates] == ["integrity", "warmup"]
        assert certificate.requests is None
        assert certificate.latency.before is None

    lived(stage, fleet, second)


def test_a_certificate_of_the_last_term_is_kept(stage: Stage, fleet: MemoryFleet) -> None:
    """Its numbers stay; only how it ended is new."""
    offers = offers_of(stage)
    written: list[object] = []

    async def first(driver: Driver) -> None:
        await bring(driver, offers[1], offers[4])
        await until(lambda: driver.journal.rollouts.of(MODEL)[0].certificate is not None)
        certificate = driver.journal.rollouts.of(MODEL)[0].certificate
        assert certificate is not None
        assert certificate.outcome == "watching"
        written.append(certificate.switch)

    async def second(driver: Driver) -> None:
        await driver.taken_over.wait()
        await driver.idle()
        await driver.undo()

        def outcome() -> str:
            certificate = driver.journal.rollouts.of(MODEL)[0].certificate
            return certificate.outcome if certificate else ""

        await until(lambda: outcome() == "rolled_back")
        certificate = driver.journal.rollouts.of(MODEL)[0].certificate
        assert certificate is not None
        assert certificate.switch == written[0]
        assert certificate.requests is not None

    lived(stage, fleet, first)
    lived(stage, fleet, second)
