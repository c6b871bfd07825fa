"""Sealings and adaptations have threads of their own."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Semaphore
from typing import cast

import pytest

from changeover.controller import apart
from changeover.controller.apart import adapted_apart
from changeover.interface.steps import Step
from changeover.lifecycle.artifacts import Artifact
from tests.interface.adapting import steps

NAMES = steps({"rename": {"x": "rows"}})
PLAIN = cast(Artifact, "plain")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> tuple[Semaphore, Event]:
    """Adaptations that tell when they begin, and take until they may end."""
    begun, end = Semaphore(0), Event()

    def adapted(artifact: Artifact, steps: tuple[Step, ...], _store: Path) -> Artifact:
        begun.release()
        assert end.wait(20)
        return cast(Artifact, f"{artifact} by {len(steps)}")

    monkeypatch.setattr(apart, "adapted", adapted)
    monkeypatch.setattr(apart, "is_adapted", lambda _artifact, steps: not steps)
    return begun, end


def test_slow_adaptations_leave_the_threads_to_the_journal(slow: tuple[Semaphore, Event], tmp_path: Path) -> None:
    """With as many under way as there are such threads, two run, others' work is done, and what needs none passes."""
    begun, end = slow

    async def script() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(4))
        under_way = [asyncio.create_task(adapted_apart(PLAIN, NAMES, tmp_path)) for _ in range(4)]
        try:
            async with asyncio.timeout(15):
                for _ in range(2):
                    assert await asyncio.to_thread(begun.acquire, timeout=10)
                assert await asyncio.gather(*(asyncio.to_thread(int, "7") for _ in range(8))) == [7] * 8
                assert await adapted_apart(PLAIN, (), tmp_path) is PLAIN
            assert not begun.acquire(blocking=False)
            assert not any(task.done() for task in under_way)
        finally:
            end.set()
        assert await asyncio.gather(*under_way) == ["plain by 1"] * 4

    asyncio.run(script())
