"""Plays a transcript: what is done above each `----`, and what came of it below.

A real driver with a real journal, route page and table store, over gateways and workers in memory and a judge that says
what the transcript has it say. A block is a command, a line `----`, and what it led to, up to an empty line:

    phase            each transition, in order: phase, step, who decided, why
    > call           each call to the fleet
    = table          the table in force, when it is another
    ! reason         a refusal
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from changeover.errors import ChangeoverError
from changeover.rollout.current import Current
from changeover.rollout.driver import Driver
from changeover.rollout.fleet import Death
from changeover.rollout.offer import Offer
from changeover.rollout.plan import parse_plan
from changeover.rollout.quantities import percent, share
from changeover.transport.control import BUCKETS, RoutingTable, WorkerHealth
from tests.rollout.memory_fleet import Fate, MemoryFleet
from tests.rollout.scripted_judge import ScriptedJudge, says
from tests.rollout.stage import WORD, ScriptedJournal, Stage, until

_QUIET = ("loaded", "gone", "forget", "acknowledged", "publish")
"""Calls that say nothing to a reader: they always come with another."""


@dataclass(frozen=True)
class Block:
    """One command with its further lines."""

    command: str
    body: str
    expected: str

    def __str__(self) -> str:
        return "\n".join(part for part in (self.command, self.body, "----", self.expected) if part)


def read(text: str) -> Iterator[str | Block]:
    """Comments and blocks of a transcript."""
    for part in text.strip().split("\n\n"):
        if part.startswith("#"):
            yield part
            continue
        done, _, expected = part.partition("\n----")
        command, _, body = done.partition("\n")
        yield Block(command, body, expected.strip("\n"))


class Play:
    """One transcript being played."""

    def __init__(self, folder: Path) -> None:
        self._stage = Stage(folder)
        self._fleet = MemoryFleet()
        self._plan = ""
        self._driver: Driver
        self._journal: ScriptedJournal
        self._judge = ScriptedJudge()
        self._running: asyncio.Task[None]
        self._shown: dict[str, int] = {}
        self._epoch = 0
        self._lives: dict[str, Current] = {}

    async def transcript(self, text: str) -> str:
        """The same transcript, with what really happened."""
        self._begin()
        told = [part if isinstance(part, str) else str(await self._played(part)) for part in read(text)]
        self._end()
        await asyncio.gather(self._running, return_exceptions=True)
        assert not self._fleet.broken, self._fleet.broken
        return "\n\n".join(told) + "\n"

    async def _played(self, block: Block) -> Block:
        name, *words = block.command.split()
        self._fleet.calls.clear()
        lines: list[str] = []
        try:
            await getattr(self, f"_do_{name}")(*words, **({"body": block.body} if block.body else {}))
        except ChangeoverError as error:
            lines.append(f"! {error.reason}: {error.message}")
        await self._driver.idle()
        return Block(block.command, block.body, "\n".join([*lines, *self._happened()]))

    # -- what came of it -----------------------------------------------------------------------------------

    def _happened(self) -> list[str]:
        return [*self._transitions(), *self._calls(), *self._table()]

    def _transitions(self) -> Iterator[str]:
        for current in self._lives.values():
            new = current.history[self._shown.get(current.id, 0) :]
            self._shown[current.id] = len(current.history)
            for entry in new:
                step = f" {entry['step']}" if entry["step"] and entry["phase"] not in ("validating",) else ""
                why = f": {entry['reason']}, {entry['detail']}" if entry["reason"] else ""
                yield f"{current.offer.version} {entry['phase']}{step} by {entry['by']} ({entry['event']}){why}"

    def _calls(self) -> Iterator[str]:
        for call in self._fleet.calls:
            if call.split()[0] not in _QUIET:
                yield f"> {call}"

    def _table(self) -> Iterator[str]:
        table = self._fleet.in_force(WORD)
        if table is not None and table.epoch != self._epoch:
            self._epoch = table.epoch
            yield f"= {drawn(table)}"

    # -- life ----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._journal = self._stage.journal()
        self._driver = driver = self._stage.driver(self._fleet, self._journal)
        driver.vigil.hearing.make = lambda _: self._judge
        take = driver.take_in_hand

        def noted(rollout_id: str, offer: Offer, source: object) -> Current:
            current = take(rollout_id, offer, source)  # type: ignore[arg-type]
            self._lives[current.id] = current
            return current

        driver.take_in_hand = noted  # type: ignore[method-assign]
        self._running = asyncio.create_task(driver.run())

    def _end(self) -> None:
        self._running.cancel()
        for debt in self._driver.switch._debts:
            debt.cancel()
        self._journal.close()

    # -- commands ------------------------------------------------------------------------------------------

    async def _do_plan(self, body: str = "") -> None:
        parse_plan(body)
        self._plan = body

    async def _do_offer(self, version: str) -> None:
        await self._driver.offer(self._offer(version, "push"))

    async def _do_found(self, version: str) -> None:
        await self._driver.offer_found(self._offer(version, "repository"))

    def _offer(self, version: str, source: str) -> Offer:
        artifact = self._stage.artifact(int(version), self._plan, flavour=str(len(self._plan)))
        return Offer(int(version), artifact, parse_plan(self._plan), source)

    async def _do_fate(self, version: str, word: str) -> None:
        self._fleet.fates[version] = Fate(word)

    async def _do_tick(self, verdict: str = "waiting", reason: str | None = None) -> None:
        self._judge.says = says(verdict, reason)
        self._driver.enqueue(self._driver.look)

    async def _do_pause(self) -> None:
        await self._driver.pause()

    async def _do_resume(self) -> None:
        await self._driver.resume()

    async def _do_promote(self) -> None:
        await self._driver.promote()

    async def _do_abort(self) -> None:
        await self._driver.abort()

    async def _do_undo(self) -> None:
        await self._driver.undo()

    async def _do_weight(self, weight: str) -> None:
        await self._driver.set_weight(round(share(weight) * BUCKETS))

    async def _do_end(self) -> None:
        """The undo window is over."""
        self._driver.enqueue(self._driver.end_window)

    async def _do_death(self, loading: str, cause: str) -> None:
        self._driver.on_news(Death(int(loading), -9, restarts=True, cause=cause))

    async def _do_crashes(self, loading: str) -> None:
        self._driver.on_news(WorkerHealth(int(loading), "open", 5, "crashed", -11, 10.0))

    async def _do_disk(self, word: str) -> None:
        if word == "full":
            self._journal.fail()
        else:
            self._journal.heal()
            await until(lambda: not self._driver.switch.owes)
            await asyncio.sleep(0.05)  # what is tried again each 10 ms
            await self._driver.idle()

    async def _do_restart(self, what: str) -> None:
        """Of the controller, or of the machine."""
        self._end()
        await asyncio.gather(self._running, return_exceptions=True)
        if what == "machine":
            self._fleet = MemoryFleet(fates=self._fleet.fates)
            self._epoch = 0
        self._fleet.new_term()
        self._begin()
        await self._driver.taken_over.wait()
        await self._driver.idle()


def drawn(table: RoutingTable) -> str:
    """A table in a line: versions with their shares, roles, and what the gateways do for a step."""
    versions = {entry.loading: entry.version for entry in table.loadings}
    shares = ", ".join(f"{percent(count / BUCKETS)} to {versions[number]}" for count, number in table.buckets)
    roles = [f"{name} {versions[n]}" for name in ("active", "candidate", "standby") if (n := getattr(table, name))]
    step = [f"step {table.step}"] if table.step else []
    extra = [f"mirror {percent(table.mirror / BUCKETS)}"] if table.mirror else []
    extra += ["shield"] if table.shield else []
    return "; ".join([f"epoch {table.epoch}: {shares}", ", ".join(roles), *step, *extra])
