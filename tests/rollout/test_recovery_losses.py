"""Recovery where something was lost or spoilt meanwhile: an artifact, a plan."""

from __future__ import annotations

import pytest

from changeover.lifecycle.artifacts import discard
from changeover.rollout.driver import Driver
from changeover.rollout.offer import Offer, plan_for
from tests.rollout.crash import check, lived, offers_of, recovered, restarted
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.stage import MODEL, Stage, bring

COLD = pytest.mark.parametrize("cold", [False, True], ids=["controller killed", "machine restarted"])


@COLD
def test_a_mistake_in_the_plan_takes_nothing_down(stage: Stage, fleet: MemoryFleet, cold: bool) -> None:
    """`model.yaml` was edited, and edited wrongly: what was proven before it serves on, or again."""
    repository = stage.folder / "models"
    (repository / MODEL).mkdir(parents=True)
    stage = Stage(stage.folder, repository=str(repository))

    async def first(driver: Driver) -> None:
        artifact = stage.artifact(1)
        await driver.offer(Offer(1, artifact, plan_for(artifact, MODEL, stage.settings), "repository"))
        await driver.idle()

    lived(stage, fleet, first)
    (repository / MODEL / "model.yaml").write_text("rollout: {undo_windw: 9s}")
    fleet = restarted(fleet, cold=cold)
    recovered(stage, fleet, "one.sqlite", lambda driver: check(driver, fleet, "1"))


def test_a_lost_artifact_leaves_the_standby(stage: Stage, fleet: MemoryFleet) -> None:
    """After a restart of the machine the version before serves when the chosen one cannot; without both, none."""
    offers = offers_of(stage)
    lived(stage, fleet, lambda driver: bring(driver, offers[1], offers[4]))
    discard(offers[4].artifact.path)
    again = MemoryFleet()
    recovered(stage, again, "one.sqlite", lambda driver: check(driver, again, "1"))
    discard(offers[1].artifact.path)
    nobody = MemoryFleet()
    recovered(stage, nobody, "one.sqlite", lambda driver: check(driver, nobody, None))


def test_a_living_worker_outlives_its_artifact(stage: Stage, fleet: MemoryFleet) -> None:
    """Its sealed copy is lost, and the controller dies: it serves on and is managed, a next version can follow it."""
    offers = offers_of(stage)

    async def first(driver: Driver) -> None:
        await driver.offer(offers[1])
        await driver.idle()

    async def second(driver: Driver) -> None:
        await driver.taken_over.wait()
        await driver.idle()
        check(driver, fleet, "1")
        await driver.offer(offers[4])
        await driver.idle()
        check(driver, fleet, "4")

    lived(stage, fleet, first)
    discard(offers[1].artifact.path)
    lived(stage, fleet, second)


def test_what_once_served_may_serve_again_when_nothing_does(stage: Stage, fleet: MemoryFleet) -> None:
    """Its artifact was lost, its folder is still in the repository: found again, it is no old news."""
    offer = stage.offer(1)

    async def first(driver: Driver) -> None:
        await driver.offer(offer)
        await driver.idle()

    lived(stage, fleet, first)
    discard(offer.artifact.path)
    again = MemoryFleet()

    async def second(driver: Driver) -> None:
        await driver.taken_over.wait()
        await driver.idle()
        assert driver.active is None
        await driver.offer_found(stage.offer(1))
        await driver.idle()
        check(driver, again, "1")

    lived(stage, again, second)
