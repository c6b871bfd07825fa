"""The words of a plan as numbers: durations, sizes and shares, wherever a plan has them. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from changeover.rollout.quantities import seconds, share, size_bytes
from changeover.transport.control import BUCKETS

QUANTITIES: Final[dict[str, Callable[[object], float]]] = {
    "rollout.hold": seconds,
    "rollout.max_hold": seconds,
    "rollout.undo_window": seconds,
    "rollout.holdback": share,
    "rollout.limits.latency_increase": share,
    "rollout.limits.error_rate": share,
    "rollout.limits.memory": share,
    "rollout.limits.disagreement": share,
    "rollout.limits.state_divergence": share,
    "runtime.run_timeout": seconds,
    "runtime.max_queue_delay": seconds,
    "runtime.memory_limit": size_bytes,
    **{
        f"runtime.session.arena_options.{field}": size_bytes
        for field in (
            "max_mem",
            "initial_chunk_size_bytes",
            "initial_growth_chunk_size_bytes",
            "max_power_of_two_extend_bytes",
            "max_dead_bytes_per_chunk",
        )
    },
    "gates.accuracy.min": share,
    "gates.performance.min_difference": seconds,
    "gates.resources.max_memory": share,
    "adaptive.every": seconds,
    "adaptive.hold": seconds,
    "adaptive.budget": seconds,
    "sequence.idle": seconds,
    "sequence.answer_limit": size_bytes,
}
"""Fields by their path, and how their text is read."""

STEP_QUANTITIES: Final[dict[str, Callable[[object], float]]] = {"weight": share, "hold": seconds, "mirror": share}
"""The same of a step that is written as an object."""


def quantified(value: object) -> object:
    """A copy of a plan's value with numbers for its words; what is no plan at all is given back as it is.

    Raises:
        msgspec.ValidationError: a word is no quantity, or the steps cannot follow one another; with its place.
    """
    if not isinstance(value, dict):
        return value
    try:
        copied = _copy(value)
    except RecursionError:
        raise _wrong("it is nested too deeply", "$") from None
    for path, convert in QUANTITIES.items():
        *above, field = path.split(".")
        _convert(_section(copied, above), field, convert, f"$.{path}")
    rollout = copied.get("rollout")
    if isinstance(rollout, dict) and isinstance(rollout.get("steps"), list):
        rollout["steps"] = _steps(rollout["steps"])
    return copied


def _copy(value: Any) -> Any:
    return {key: _copy(part) for key, part in value.items()} if isinstance(value, dict) else value


def _section(value: Any, above: list[str]) -> Any:
    for name in above:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _convert(part: Any, field: str, convert: Callable[[object], float], path: str) -> None:
    if isinstance(part, dict) and part.get(field) is not None:
        try:
            part[field] = convert(part[field])
        except ValueError as error:
            raise _wrong(str(error), path) from error


def _steps(steps: list[Any]) -> list[Any]:
    read = [_step(step, f"$.rollout.steps[{index}]") for index, step in enumerate(steps)]
    weights = [step.get("weight") if isinstance(step, dict) else None for step in read]
    for index, weight in enumerate(weights):
        path = f"$.rollout.steps[{index}]"
        if weight == "shadow" and index:
            raise _wrong("'shadow' comes before all other steps", path)
        if weight == 1 and index < len(weights) - 1:
            raise _wrong("100% is the promotion, so no step follows it", path)
    return read


def _step(step: Any, path: str) -> Any:
    """A step as an object, with its weight as a fraction."""
    if isinstance(step, str | int | float) and not isinstance(step, bool):
        step = {"weight": step}
    if not isinstance(step, dict):
        return step
    step = dict(step)
    for field, convert in STEP_QUANTITIES.items():
        if field != "weight" or step.get("weight") != "shadow":
            _convert(step, field, convert, f"{path}.{field}" if len(step) > 1 else path)
    weight = step.get("weight")
    if isinstance(weight, float | int) and not isinstance(weight, bool):
        _check_weight(weight, path)
    return step


def _check_weight(weight: float, path: str) -> None:
    buckets = weight * BUCKETS
    if not 0 < weight <= 1:
        raise _wrong(f"a weight is more than 0% and at most 100%; {weight:g} stands for {weight * 100:g}%", path)
    if abs(buckets - round(buckets)) > 1e-6:
        raise _wrong(f"a weight is a multiple of 0.01%, and {weight * 100:g}% is none", path)


def _wrong(sentence: str, path: str) -> msgspec.ValidationError:
    return msgspec.ValidationError(f"{sentence} - at `{path}`")
