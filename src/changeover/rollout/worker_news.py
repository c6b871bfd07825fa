"""News of workers that are a verdict on the candidate at once: no test needs to count them. Pure."""

from __future__ import annotations

from typing import Final

from changeover.rollout.current import Current
from changeover.rollout.fleet import Death
from changeover.rollout.machine import Phase, Told
from changeover.rollout.vigil import in_spite
from changeover.transport.control import WorkerHealth
from changeover.transport.exits import how

_AT_ONCE: Final = {
    "denounced": ("worker_hung", "hung in a run and was killed"),
    "memory_limit": ("memory", "took more than runtime.memory_limit"),
    "out_of_memory": ("memory", "was killed because the machine ran out of memory"),
}
"""Causes of a death that is no accident."""


def lost(current: Current | None, news: Death | WorkerHealth) -> Told | None:
    """Why the candidate of the rollout in hand is lost, `None` when it is not, or when it is another's worker."""
    if current is None or current.candidate is None or current.candidate.number != news.loading:
        return None
    if not (current.rollout.phase.compares or current.rollout.phase is Phase.WATCHING):
        return None
    found = _of_health(news) if isinstance(news, WorkerHealth) else _of_death(news)
    if found is None:
        return None
    reason, what = found
    return Told(reason, f"the worker of version {current.candidate.name} {what}{in_spite(current)}", "worker")


def _of_health(health: WorkerHealth) -> tuple[str, str] | None:
    if health.circuit != "open":
        return None
    return "worker_crash_loop", f"died {health.deaths} times in a row, last by {how(health.code)}"


def _of_death(death: Death) -> tuple[str, str] | None:
    if not death.restarts:
        return "worker_crashed", f"died by {how(death.code)} and is not replaced"
    return _AT_ONCE.get(death.cause)
