"""What a driver needs to act: sealed versions, a journal whose writes can be scripted, and a bounded run."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from changeover.errors import Internal
from changeover.lifecycle.artifacts import Artifact
from changeover.lifecycle.seal import seal_folder
from changeover.lifecycle.source import PLAN_FILE
from changeover.records.journal import Journal
from changeover.rollout.driver import Driver
from changeover.rollout.offer import Offer
from changeover.rollout.plan import parse_plan
from changeover.settings import Settings
from tests.lifecycle.onnx_files import linear, write
from tests.rollout.memory_fleet import Fate, MemoryFleet

MODEL = "mnist"
WORD = 1
PATIENCE = 90.0


def unwritable() -> Internal:
    """What a full disk comes to."""
    return Internal("The journal cannot be written (disk full).", reason="journal_unwritable")


class ScriptedJournal(Journal):
    """A real journal; `before` and `after` are called round each transaction, with its number from 1.

    What `before` raises, the writer gets, and nothing is written. What `after` raises comes when all is durable.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.writes = 0
        self.before: Callable[[int], None] = lambda _: None
        self.after: Callable[[int], None] = lambda _: None
        self._really = self._database.transaction
        # Dropped for speed: a killed process loses nothing of what it wrote, only a power cut would.
        self._database._connection.execute("PRAGMA synchronous=OFF")
        self._database.transaction = self._transaction  # type: ignore[method-assign]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._database._lock:
            outer = self._database._depth == 0
            if outer:
                self.writes += 1
                number = self.writes
                self.before(number)
            with self._really():
                yield
            if outer:
                self.after(number)

    def fail(self, *, at: int = 0) -> None:
        """From now on every write fails, or only the one of this number."""

        def before(number: int) -> None:
            if at in (0, number):
                raise unwritable()

        self.before = before

    def block(self) -> threading.Event:
        """From now on writes wait until the event is set (`PATIENCE` at most), then succeed."""
        gate = threading.Event()

        def before(_: int) -> None:
            if not gate.wait(PATIENCE):
                raise unwritable()

        self.before = before
        return gate

    def heal(self) -> None:
        """Writes succeed again."""
        self.before = lambda _: None


class Stage:
    """A state folder with sealed versions; journals and fleets are made for it as a test needs them."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        values = {"state_dir": str(folder), "drain_deadline": 0.05, "load_timeout": 0.05} | settings
        self.settings = Settings(**values)  # type: ignore[arg-type]
        self.store = folder / "artifacts"
        self.store.mkdir(exist_ok=True)

    def artifact(self, version: int, plan: str = "", flavour: str = "") -> Artifact:
        """A sealed version, its bytes told by its number and flavour."""
        files = {"weights_data": f"{version} {flavour}".encode()}
        folder = write(self.folder / "sources" / f"{version}{flavour}", linear(), **files)
        if plan:
            (folder / PLAN_FILE).write_text(plan)
        return seal_folder(folder, self.store)

    def offer(self, version: int, window: float = 0.0, flavour: str = "") -> Offer:
        """An offer of a version with an undo window of so many seconds."""
        text = f"rollout: {{strategy: instant, undo_window: {window}}}\n"
        return Offer(version, self.artifact(version, text, flavour), parse_plan(text), "push")

    def canary(self, version: int, fields: str = "steps: [shadow, 5%, 50%]", flavour: str = "") -> Offer:
        """An offer of a version that goes step by step."""
        text = f"rollout: {{strategy: canary, {fields}}}\n"
        return Offer(version, self.artifact(version, text, flavour), parse_plan(text), "push")

    def journal(self, name: str = "journal.sqlite") -> ScriptedJournal:
        """Opened, or opened again."""
        return ScriptedJournal(self.folder / name)

    def driver(self, fleet: MemoryFleet, journal: Journal) -> Driver:
        """Of the next term."""
        driver = Driver(MODEL, WORD, fleet, journal, journal.next_term(), self.settings)
        fleet.on_status = driver.loader.on_status
        return driver


Script = Callable[[Driver], Awaitable[None]]


async def act(driver: Driver, script: Script) -> BaseException | None:
    """Run a driver and what is asked of it, until the script is done or the driver dies; what it died of."""
    running, acting = asyncio.create_task(driver.run()), asyncio.ensure_future(script(driver))
    tasks: list[asyncio.Future[None]] = [running, acting]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE)
    died = running.exception() if running.done() else None
    finished = acting.done()
    for task in [*tasks, *driver.switch._debts]:
        task.cancel()
    await asyncio.gather(*tasks, *driver.switch._debts, return_exceptions=True)
    if finished:
        acting.result()
    elif died is None:
        raise TimeoutError("the script did not end")
    return died


def play(driver: Driver, script: Script) -> None:
    """The same in a loop of its own; the driver must survive."""
    died = asyncio.run(act(driver, script))
    assert died is None, died


async def bring(driver: Driver, *offers: Offer) -> str:
    """Offer one version after the other, and wait until nothing is under way; the last one's rollout."""
    rollout = ""
    for offer in offers:
        rollout = await driver.offer(offer)
    await driver.idle()
    return rollout


async def load_for_ever(driver: Driver, fleet: MemoryFleet, offer: Offer) -> None:
    """Offer a version whose load does not end, and wait until it is under way."""
    fleet.fates[str(offer.version)] = Fate.SILENT
    driver.loader._timeout = 10 * PATIENCE
    await driver.offer(offer)
    await until(lambda: driver.candidate is not None)


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = PATIENCE) -> None:
    """Wait for something that has no event of its own."""
    end = time.monotonic() + seconds
    while True:
        now = condition()
        if now if isinstance(now, bool) else await now:
            return
        assert time.monotonic() < end, "it did not come true"
        await asyncio.sleep(0.002)
