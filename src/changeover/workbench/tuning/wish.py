"""What is wanted of a tuning, a setting, and all the settings that are tried. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, get_args

from msgspec.structs import replace as with_fields

from changeover.rollout.plan import Optimization, Provider, RuntimePlan
from changeover.workbench.precision import PRECISIONS

Objective = Literal["latency", "p99", "throughput", "memory"]
"""Median of a run of one row; its 99th percentile; rows a second with full batches; memory of the process."""
LEVELS: Final = tuple(one.value for one in Optimization)
_CPU: Final = "CPUExecutionProvider"
_BATCHES: Final = (1, 8, 32, 128)
"""Rows of a run that are tried for throughput."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to run the model."""

    precision: str = "fp32"
    providers: tuple[str, ...] = (_CPU,)
    level: str = "all"
    threads: int = 1
    instances: int = 1
    max_batch: int = 32

    def __str__(self) -> str:
        parts = [self.precision, self.level, f"{self.threads} thread{'s' * (self.threads > 1)}"]
        if self.instances > 1:
            parts.append(f"{self.instances} instances")
        if self.providers != (_CPU,):
            parts.append(self.providers[0].removesuffix("ExecutionProvider"))
        return ", ".join([*parts, f"max batch {self.max_batch}"])

    def under(self, base: RuntimePlan) -> RuntimePlan:
        """The plan's `runtime` with this setting; what is not tuned stays."""
        return with_fields(
            base,
            instances=self.instances,
            intra_op_threads=self.threads,
            optimization=Optimization(self.level),
            providers=self.providers,
            max_batch=self.max_batch,
        )


@dataclass(frozen=True, slots=True)
class Space:
    """What is tried of each; empty: what makes sense on this machine and for the objective."""

    precisions: tuple[str, ...] = PRECISIONS
    levels: tuple[str, ...] = LEVELS
    threads: tuple[int, ...] = ()
    instances: tuple[int, ...] = ()
    batches: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted.

    Attributes:
        budget: seconds for all of it.
        golden: folder of a golden set; its inputs are what is run, and what int8_static is calibrated with.
        requests: archive (.npz) of recorded inputs by name, where there is no golden set.
        min_accuracy: least share of right answers; None: of a golden set what the gate `accuracy` would ask for,
            without one 0.99 of the best classes as by the default.
        max_difference: of a value from the recorded one; without a golden set, share by which answers may differ.
        base: the options that the result is compared with, and that it keeps where they are not tuned.
        cores: processors that may be used.
        custom_ops: folder of the libraries with operators that `base` may name.
    """

    objective: Objective = "latency"
    budget: float = 120.0
    golden: Path | None = None
    requests: Path | None = None
    min_accuracy: float | None = None
    max_difference: float | None = None
    space: Space = Space()
    base: RuntimePlan = field(default_factory=RuntimePlan)
    cores: int = 1
    custom_ops: str = ""

    @property
    def default(self) -> Setting:
        """What is compared with: the model as it is, as the plan runs it."""
        base = self.base
        return Setting(
            "fp32", base.providers, base.optimization.value, base.intra_op_threads, base.instances, base.max_batch
        )  # fmt: skip


def settings(wish: Wish, offered: Sequence[str], *, batchable: bool) -> list[Setting]:
    """All settings that are tried, the default left out; what is likelier to win first.

    Args:
        wish: what is wanted.
        offered: execution providers of this ONNX Runtime.
        batchable: the model takes rows.
    """
    found = dict.fromkeys(_combined(wish, offered, batchable))
    found.pop(wish.default, None)
    return list(found)


def _combined(wish: Wish, offered: Sequence[str], batchable: bool) -> Iterator[Setting]:
    precisions = sorted(wish.space.precisions, key=PRECISIONS.index)
    for level in sorted(wish.space.levels, key=LEVELS.index, reverse=True):
        for precision in precisions:
            for providers in _providers(wish.base, offered):
                for threads, instances in _crews(wish):
                    for rows in _batches(wish, batchable):
                        yield Setting(precision, providers, level, threads, instances, rows)


def _providers(base: RuntimePlan, offered: Sequence[str]) -> list[tuple[str, ...]]:
    known = [name for name in offered if name in get_args(Provider)]
    singles = [(name,) if name == _CPU else (name, _CPU) for name in known]
    if base.session.provider_options:
        return [base.providers]  # they are of these
    return list(dict.fromkeys([base.providers, *singles]))


def _crews(wish: Wish) -> Iterator[tuple[int, int]]:
    """Threads of a run and runs at a time: no more threads in all than there are processors, but for the default's."""
    base = wish.base
    threads = wish.space.threads or tuple(dict.fromkeys([base.intra_op_threads, *_doubling(wish.cores)]))
    if base.session.affinities:
        threads = (base.intra_op_threads,)  # which name each thread
    instances = wish.space.instances or (base.instances,)
    if wish.objective == "throughput" and not wish.space.instances:
        instances = tuple(dict.fromkeys([base.instances, *_doubling(wish.cores)]))
    for many in threads:
        for runs in instances:
            asked = wish.space.threads and wish.space.instances
            if asked or many * runs <= wish.cores or (many, runs) == (base.intra_op_threads, base.instances):
                yield many, runs


def _batches(wish: Wish, batchable: bool) -> tuple[int, ...]:
    if not batchable:
        return (wish.base.max_batch,)
    if wish.objective != "throughput":
        return wish.space.batches or (wish.base.max_batch,)
    return wish.space.batches or tuple(sorted({wish.base.max_batch, *_BATCHES}))


def _doubling(most: int) -> list[int]:
    found = [1]
    while found[-1] * 2 <= most:
        found.append(found[-1] * 2)
    return found if found[-1] == most else [*found, most]


def without(wish: Wish, precision: str) -> Wish:
    """The same wish without a precision that cannot be had."""
    left = tuple(one for one in wish.space.precisions if one != precision)
    return replace(wish, space=replace(wish.space, precisions=left))
