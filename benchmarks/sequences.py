"""Sequences over changeovers, rollbacks and killed workers, against what a run without any of it answers.

    python benchmarks/sequences.py [SEQUENCES] [STEPS] [--only NAME ...]

`changeover`: another graph with the same weights takes over in the middle. `rollback`: it gets half of the sequences,
gives half of these back, and is taken back; clients go on at other gateways meanwhile. `kills`: workers are killed
20 times. `lossy`: weights in half precision are stopped by the gate. `pause`: what the step takes in which a
sequence of 64 KiB moves. `batched`: 256 sequences, put together or one by one. `controls`: what must fail: `kills`
where a step has no commit word, `rollback` where a sequence that was released goes on where it was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from household import Household
from rig import Server, emit, median, say, verdict
from sequence_load import Array, Load
from sequence_models import forecast, heavy, signals, unswitched

CONNECTIONS = 64
LEAST = 16.0
"""Seconds that a run takes at least: what happens in its midst takes some."""
KILLS = 20
SEED = 6
PLAN = """rollout: {strategy: %s, undo_window: 1h}
runtime: {max_batch: %d, max_queue_delay: 1m, queue_limit: 10000}
sequence: {max: %d, state: %s}
"""
FORECAST = "[{input: h, output: h_next}, {input: c, output: c_next}]"
SUM = "[{input: h, output: h_next}]"
MODEL = "sequences"
TWO = ("--gateways", "2")
Act = Callable[[], Awaitable[None]]


class Stage:
    """A server with one sequence model, and what operators do to it."""

    def __init__(self, server: Server, plan: str) -> None:
        self.server = server
        self.plan = plan
        self.rollout = ""

    async def push(self, data: bytes) -> None:
        """Bring version 2, and wait until it has what its plan gives it at once."""
        self.rollout = await asyncio.to_thread(self.server.push, MODEL, 2, data, self.plan)
        await asyncio.to_thread(self._reached, ("watching", "paused", "failed", "rolled_back"))

    async def steer(self, verb: str, body: bytes = b"") -> None:
        """A verb of the rollout."""
        path = f"/v1/models/{MODEL}/rollout/{verb}"
        await asyncio.to_thread(self.server.post, path, body, "application/json")

    def _reached(self, phases: tuple[str, ...], seconds: float = 60.0) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.server.get(f"/v1/rollouts/{self.rollout}")["phase"] in phases:
                return
            time.sleep(0.05)
        raise RuntimeError(f"{self.rollout} is not {' or '.join(phases)}")


@contextmanager
def stage(data: bytes, plan: str, *arguments: str) -> Iterator[Stage]:
    """A server that serves the first version."""
    with Server({MODEL: data}, {MODEL: plan}, (*arguments, *_arguments)) as server:
        yield Stage(server, plan)


def plan(sequences: int, *, strategy: str = "instant", state: str = FORECAST, max_batch: int = 64) -> str:
    """`model.yaml`."""
    return PLAN % (strategy, max_batch, max(2 * sequences, 16), state)


# -- figures -----------------------------------------------------------------------------------------------


def changeover(sent: Array, expected: Array) -> None:
    """All traffic goes to another graph in the middle."""
    with stage(forecast("lstm"), plan(len(sent)), *TWO) as here:
        load = Load(here.server.port, MODEL, sent, CONNECTIONS, sent.size / LEAST, doors=3)
        told = load.run([(0.5, lambda: here.push(forecast("gates")))]).against(expected)
    _tell("sequences_changeover", told, moved=len(told["by_version"]) == 2)


def rollback(sent: Array, expected: Array) -> None:
    """The candidate gets half of the sequences, then a quarter, and is taken back.

    A gateway that saw a sequence last before all that, or never, has to find it where it is now.
    """
    with stage(forecast("lstm"), plan(len(sent), strategy="manual"), *TWO) as here:
        load = Load(here.server.port, MODEL, sent, CONNECTIONS, sent.size / LEAST)

        async def there_and_back() -> None:
            await here.push(forecast("gates"))
            for weight in (b"50", b"25"):  # each next step comes to a gateway that may not have seen the one before
                async with load.still():
                    await here.steer("weight", b'{"weight": "%b%%"}' % weight)
                await load.more(2 * len(sent))
            await here.steer("abort")

        told = load.run([(0.2, there_and_back)]).against(expected)
    _tell("sequences_rollback", told, moved=len(told["by_version"]) == 2)


def kills(sent: Array, expected: Array) -> None:
    """Workers die at random moments, while sequences move from version to version."""
    chance = random.Random(SEED)
    killed: list[int] = []
    with stage(forecast("lstm"), plan(len(sent)), *TWO) as here:
        house = Household(here.server.process.pid, here.server.port)

        turn = asyncio.Lock()  # a candidate that is killed while it loads is no candidate any more

        async def kill() -> None:
            async with turn:
                await asyncio.to_thread(_kill_one, house, chance)
                killed.append(1)

        async def push() -> None:
            async with turn:
                await here.push(forecast("gates"))

        moments: list[tuple[float, Act]] = [(0.02 + 0.94 * n / KILLS, kill) for n in range(KILLS)]
        moments.append((0.5, push))
        load = Load(here.server.port, MODEL, sent, CONNECTIONS, sent.size / LEAST, doors=3)
        told = load.run(moments).against(expected)
    _tell("sequences_kills", told, moved=len(told["by_version"]) == 2, kills=len(killed))


def lossy() -> None:
    """Half precision has the same layout, and is stopped."""
    with stage(forecast("lstm"), plan(16)) as here:
        ended = here.server.finished(here.server.push(MODEL, 2, forecast("half"), here.plan))
    gate = next((g for g in ended["gates"] if g["gate"] == "state"), {"result": "none", "evidence": {}})
    stopped = ended["phase"] == "failed" and ended["reason"] == "state_diverges"
    evidence = {name: gate["evidence"].get(name) for name in ("divergence", "limit", "worst")}
    emit("sequences_lossy", met=stopped, phase=ended["phase"], reason=ended["reason"], **evidence,
         reach="stopped by the gate")  # fmt: skip


def pause(sequences: int) -> None:
    """What the step takes in which a sequence of 64 KiB moves, at an easy load."""
    sent = np.zeros((sequences, 16), np.float32)
    data = heavy(16_384)
    with stage(data, plan(sequences, state=SUM)) as here:
        load = Load(here.server.port, MODEL, sent, 16, min(400.0, sent.size / LEAST))
        found = load.run([(0.5, lambda: here.push(data))])
    moved, still = np.sort(found.moved()) * 1e3, np.sort(found.latency[:, 1:6].ravel()) * 1e3
    p99 = float(np.percentile(moved, 99)) if moved.size else float("nan")
    emit("sequences_pause", met=moved.size > 0 and p99 <= 20 and not found.errors, moved=int(moved.size),
         state_kib=64, p50_ms=round(float(np.median(moved)), 2), p99_ms=round(p99, 2),
         p50_before_ms=round(float(np.median(still)), 2), p99_before_ms=round(float(np.percentile(still, 99)), 2),
         errors=found.errors, reach="p99 <= 20 ms")  # fmt: skip


def batched(steps: int) -> None:
    """256 sequences at once: their steps together, and one by one; the same server, in turns."""
    data, rates = heavy(256, wide=4096), {1: [], 64: []}
    sent = np.ones((256, steps), np.float32)
    for _ in range(3):
        for most in rates:
            with stage(data, plan(256, state=SUM, max_batch=most)) as here:
                found = Load(here.server.port, MODEL, sent, 256).run()
            assert not found.errors, found.errors
            rates[most].append(found.answers.size / found.seconds)
    ratio = median([together / alone for together, alone in zip(rates[64], rates[1], strict=True)])
    emit("sequences_batched", met=ratio >= 3, ratio=ratio, together_per_second=round(median(rates[64])),
         one_by_one_per_second=round(median(rates[1])), sequences=256, reach=">= 3")  # fmt: skip


def controls(sent: Array, expected: Array) -> None:
    """Without the commit word kills are felt, without RELEASE moves are: answers from a state that is not the last."""
    for kind, disturb in (("torn", kills), ("deaf", rollback)):
        with tempfile.TemporaryDirectory() as folder:
            faults = Path(folder) / "faults.json"
            faults.write_text(json.dumps({"models": {MODEL: {version: {"kind": kind} for version in "12"}}}))
            found = _with_faults(str(faults), disturb, sent, expected)
        emit(f"sequences_control_{kind}", met=found["wrong"] > 0, **found, reach="wrong answers")


# -- parts -------------------------------------------------------------------------------------------------


def _kill_one(house: Household, chance: random.Random) -> None:
    """A worker, soon; its successor of the last time may still be on its way."""
    time.sleep(chance.random() * 0.2)
    while not (pids := house.pids("worker")):
        time.sleep(0.01)
    house.kill(chance.choice(pids), "worker")


_found: list[dict[str, Any]] = []
_arguments: tuple[str, ...] = ()


def _tell(figure: str, told: dict[str, Any], *, moved: bool, **more: Any) -> None:
    if _arguments:  # a control: what it comes to is its own figure
        _found.append(told)
        return
    whole = not told["lost"] and not told["wrong"]
    emit(figure, met=whole and moved, **told, **more, reach="0 lost, 0 wrong by over 1e-6")


def _with_faults(file: str, disturb: Callable[[Array, Array], None], sent: Array, expected: Array) -> dict[str, Any]:
    global _arguments  # noqa: PLW0603 - the runs above are used as they are
    _arguments = ("--faults", file)
    try:
        disturb(sent, expected)
    finally:
        _arguments = ()
    return _found.pop()


def main(sequences: int, steps: int, only: list[str]) -> None:
    """Run and print."""
    sent = signals(sequences, steps)
    expected = unswitched(sent)
    few = signals(min(sequences, 200), steps)
    runs: dict[str, Callable[[], None]] = {
        "changeover": lambda: changeover(sent, expected),
        "rollback": lambda: rollback(sent, expected),
        "kills": lambda: kills(sent, expected),
        "lossy": lossy,
        "pause": lambda: pause(sequences),
        "batched": lambda: batched(max(steps // 4, 2)),
        "controls": lambda: controls(few, unswitched(few)),
    }
    for name, run in runs.items():
        if not only or name in only:
            say(f"sequences: {name}")
            run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="sequences.py")
    parser.add_argument("sequences", type=int, nargs="?", default=1000)
    parser.add_argument("steps", type=int, nargs="?", default=100)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    given = parser.parse_args()
    main(given.sequences, given.steps, given.only)
    sys.exit(verdict())
