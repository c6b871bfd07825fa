"""Provers as the controller asks and hears them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from changeover.rollout.fleet import Proof
from changeover.transport.control import WorkerSpec, WorkerStatus
from changeover.transport.link import Kind
from changeover.transport.proving import ProverSpec, ProverStatus
from tests.controller.house import House

SPEC = ProverSpec(WorkerSpec(5, "m", "2", digest="d", path="p", cache="c", empty="e"))


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.close()


def proven(house: House, *said: ProverStatus, dies: bool = False, patience: float = 5.0) -> Proof:
    """Ask, let the prover say this, and let it die perhaps."""

    async def scenario() -> Proof:
        asked = asyncio.ensure_future(house.fleet.prove(SPEC, patience))
        await asyncio.sleep(0)
        for status in said:
            house.says(9, Kind.PROVED, status)
            await asyncio.sleep(0.01)
        if dies:
            house.dies("prover", loading=5, restart=False, cause="crashed")
        return await asked

    return asyncio.run(scenario())


def told(house: House) -> list[Kind]:
    return [frame.kind for frame in house.sent]


def test_progress_and_the_end(house: House) -> None:
    """States reached are handed on, as a worker's are; the last report is the answer."""
    reached: list[WorkerStatus] = []
    house.fleet.on_status = reached.append
    end = ProverStatus(5, "performance", "ready")
    found = proven(house, ProverStatus(5, "structure", "verifying"), ProverStatus(5, "load", "loading"), end)
    assert found == Proof(end, None)
    assert [status.state for status in reached] == ["verifying", "loading"]
    assert told(house) == [Kind.PROVE]


def test_a_death_comes_with_the_last_words(house: House) -> None:
    """They tell the gate at which it died."""
    found = proven(house, ProverStatus(5, "load", "loading"), dies=True)
    assert found.status is not None
    assert found.death is not None
    assert (found.status.gate, found.death.code, found.death.cause) == ("load", -9, "crashed")
    assert told(house) == [Kind.PROVE]


def test_silence_is_ended(house: House) -> None:
    """Each word gives it the same patience anew; then it is killed."""
    found = proven(house, ProverStatus(5, "load", "loading"), patience=0.05)
    assert (found.death, found.status and found.status.gate) == (None, "load")
    assert told(house) == [Kind.PROVE, Kind.RETIRE]


def test_what_comes_late_is_not_heard(house: House) -> None:
    """Of a loading that nobody asks for any more; a report that cannot be read gets its prover killed."""
    house.says(9, Kind.PROVED, ProverStatus(5, "load", "loading"))
    house.dies("prover", loading=5, restart=False, cause="crashed")
    assert told(house) == []
    house.says(9, Kind.PROVED, WorkerStatus(5, "loading"))
    assert house.killed() == [9]
