"""A house whose sweeper keeps two versions, and what is pushed, sealed and removed there."""

from __future__ import annotations

from pathlib import Path

import pytest

from changeover.controller import sweeper
from changeover.controller.service import Service
from changeover.lifecycle import artifacts
from changeover.records.events import Event
from tests.controller.service_house import MODEL_FILE, Client, House, serves
from tests.rollout.stage import MODEL, Stage, until

PLAN = "rollout: {strategy: instant, undo_window: 60s}\n"


def made_house(folder: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """Two versions are kept, and calm comes at once."""
    monkeypatch.setattr(sweeper, "_CALM", 0.02)
    made = House(folder)
    made.stage = Stage(folder, repository=str(made.repository), settle=0.05, keep_versions=2, cache_limit=100)
    (made.repository / MODEL).mkdir()
    (made.repository / MODEL / "model.yaml").write_text(PLAN)
    return made


async def pushed(client: Client, number: int, name: str = MODEL) -> str:
    """Push different bytes, wait for nothing; the digest."""
    answer = await client.call("POST", f"/v1/models/{name}/versions", MODEL_FILE + b"\x12\x00" * number)
    assert answer.status == 202
    return str(answer.json()["digest"])


async def deployed(service: Service, client: Client, number: int) -> str:
    """Push, and wait until it serves."""
    digest = await pushed(client, number)
    await until(lambda: serves(service, MODEL, str(number)))
    return digest


def sealed(house: House) -> set[str]:
    return set(artifacts.digests(house.stage.store))


def removals(house: House) -> list[Event]:
    """The events that tell of a removal."""
    return [event for event in house.journal.events.after() if event.body.get("state") == "removed"]
