"""A whole service over a repository and a fleet in memory, and its client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from changeover.controller.api import make_app
from changeover.controller.fleet import Fleet
from changeover.controller.service import Service
from changeover.controller.visits import Visits
from changeover.lifecycle.source import PLAN_FILE
from changeover.testing import INSTANT
from changeover.transport.page import SERVER_WORD
from tests.lifecycle.onnx_files import linear, write
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.stage import MODEL, PATIENCE, ScriptedJournal, Stage, until


@dataclass(frozen=True)
class Answer:
    """Of the control API."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


MODEL_FILE = linear().SerializeToString()


class Client:
    """Calls the application as its server does, without a socket."""

    def __init__(self, service: Service) -> None:
        self._app = make_app(service)

    async def call(self, method: str, path: str, body: bytes = b"", query: str = "") -> Answer:
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [],
        }
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        whole = b"".join(part.get("body", b"") for part in sent[1:])
        return Answer(sent[0]["status"], dict(sent[0]["headers"]), whole)


class House:
    """A service over a repository, and its client."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.repository = folder / "models"
        self.repository.mkdir()
        self.stage = Stage(folder, repository=str(self.repository), settle=0.05, **settings)
        (folder / "incoming").mkdir()
        self.fleet = MemoryFleet()
        self.journal: ScriptedJournal

    def put(self, version: int, model: bytes = MODEL_FILE, name: str = MODEL) -> None:
        write(self.repository / name / str(version), model)
        (self.repository / name / PLAN_FILE).write_text(INSTANT)

    def run(self, script: Callable[[Service, Client], Awaitable[None]]) -> None:
        """One term of it, until the script is done; the service must survive."""
        self.fleet.new_term()
        with self.stage.journal() as self.journal:
            asyncio.run(asyncio.wait_for(self._term(script), PATIENCE))

    async def _term(self, script: Callable[[Service, Client], Awaitable[None]]) -> None:
        self.fleet.visits = Visits(lambda _: None, 1)  # type: ignore[attr-defined]
        fleet = cast(Fleet, self.fleet)
        service = Service(self.stage.settings, self.journal, fleet, self.journal.next_term())
        running = asyncio.create_task(service.run())
        await until(lambda: running.done() or bool(self.fleet.page.words[SERVER_WORD]))
        await script(service, Client(service))
        assert not running.done(), running
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    def serving(self) -> dict[str, str | None]:
        """Active version of each model by its rollouts."""
        done = [r for name in self.journal.versions.models() for r in self.journal.rollouts.of(name)]
        return {f"{r.model}/{r.target.version}": r.phase for r in done}


async def serves(service: Service, model: str, version: str) -> bool:
    """Whether it is the active one."""
    return bool((await service.model(model))["active"] == version)


async def knows_some(service: Service) -> bool:
    """Whether any model is known."""
    return bool(await service.models())


async def is_watching(service: Service, model: str) -> bool:
    """Whether the newest rollout has switched, and can be undone."""
    return (await service.steering.status(model)).phase == "watching"


async def proves(service: Service, version: str) -> bool:
    """Whether it is the candidate."""
    return bool((await service.model(MODEL))["candidate"] == version)
