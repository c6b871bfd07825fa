"""Triton's model configuration, as far as a plan can say the same (pure).

What has no counterpart is named, never dropped in silence. Zeros, empty texts, lists and objects say nothing: that is
how Triton's own clients spell a field that is not set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from changeover.errors import InvalidRequest
from changeover.lifecycle.source import MODEL_FILE

_RUNTIMES: Final = ("onnxruntime", "onnxruntime_onnx")
_LEAST_BATCH: Final = 1


@dataclass(slots=True)
class Asked:
    """What a configuration comes to.

    Attributes:
        version: that its version policy names, None for the highest.
        plan: fields of a plan.
        ignored: sentences on what has no effect.
    """

    version: int | None = None
    plan: dict[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    def runs(self, name: str, value: object) -> None:
        """Set a field of the plan's section `runtime`."""
        self.plan.setdefault("runtime", {})[name] = value

    def ignore(self, what: str, why: str) -> None:
        """Name what has no effect."""
        sentence = f"{what}: {why}"
        if sentence not in self.ignored:
            self.ignored = (*self.ignored, sentence)


def plan_of_config(model: str, config: Mapping[str, Any]) -> Asked:
    """The plan of a configuration in Triton's JSON.

    Raises:
        InvalidRequest: `invalid_config`: a field is of the wrong type, or asks for another model or runtime.
    """
    asked = Asked()
    for name, value in config.items():
        if value in (0, "", None, False) or value in ([], {}):
            continue
        try:
            _FIELDS.get(name, _unknown(name))(asked, value)
        except (TypeError, ValueError, AttributeError, KeyError):
            raise _wrong(name, value) from None
        if name == "name" and value != model:
            raise InvalidRequest(f"config: it is of {value!r}, and the load of {model!r}", reason="invalid_config")
    return asked


def _name(_: Asked, value: Any) -> None:
    """Compared by the caller."""
    if not isinstance(value, str):
        raise TypeError


def _runtime(_: Asked, value: Any) -> None:
    if value not in _RUNTIMES:
        raise ValueError


def _file(_: Asked, value: Any) -> None:
    if value != MODEL_FILE:
        raise ValueError


def _max_batch(asked: Asked, value: Any) -> None:
    asked.runs("max_batch", max(_LEAST_BATCH, _whole(value)))


def _instances(asked: Asked, value: Any) -> None:
    """Instances on the processor; where they are to run is not ours to choose."""
    asked.runs("instances", sum(_whole(group.get("count", 1)) or 1 for group in value))
    if any(group.get("kind") in ("KIND_GPU", "KIND_MODEL") or group.get("gpus") for group in value):
        asked.ignore("instance_group.kind, gpus", "the plan's runtime.providers say where a model runs")


def _policy(asked: Asked, value: Any) -> None:
    if value.keys() - {"specific", "latest", "all"}:
        raise ValueError
    if "specific" in value:
        versions = [_whole(version) for version in value["specific"]["versions"]]
        asked.version = max(versions)
        if len(versions) > 1:
            asked.ignore("version_policy.specific", f"one version serves, {asked.version}")
    elif "all" in value or _whole(value["latest"].get("num_versions", 1)) > 1:
        asked.ignore("version_policy", "one version serves, the highest")


def _batching(asked: Asked, value: Any) -> None:
    """Batches form by themselves where the model allows them, without a delay."""
    queue = dict(value.get("default_queue_policy", {}))
    size = _whole(queue.pop("max_queue_size", 0))
    if size:
        asked.runs("queue_limit", size)
    rest = {f"default_queue_policy.{name}": v for name, v in queue.items()}
    rest |= {name: v for name, v in value.items() if name != "default_queue_policy"}
    left = sorted(name for name, v in rest.items() if v)
    if left:
        asked.ignore(f"dynamic_batching.{', '.join(left)}", "batches are as large as what waits, without a delay")


def _parameters(asked: Asked, value: Any) -> None:
    for name, parameter in value.items():
        if name == "intra_op_thread_count":
            asked.runs("intra_op_threads", max(1, _whole(parameter["string_value"])))
        else:
            asked.ignore(f"parameters.{name}", "not known here")


def _whole(value: Any) -> int:
    """Triton's JSON spells 64-bit numbers as texts."""
    number = int(value) if isinstance(value, str | int) and not isinstance(value, bool) else -1
    if number < 0:
        raise ValueError
    return number


def _declared(asked: Asked, value: Any) -> None:
    del value
    asked.ignore("input, output", "they are as the model itself declares them")


def _unknown(name: str) -> Callable[[Asked, Any], None]:
    return lambda asked, _: asked.ignore(name, "not supported here")


def _wrong(name: str, value: object) -> InvalidRequest:
    return InvalidRequest(f"config: {name} cannot be {str(value)[:100]!r} here", reason="invalid_config")


_FIELDS: Final[dict[str, Callable[[Asked, Any], None]]] = {
    "name": _name,
    "platform": _runtime,
    "backend": _runtime,
    "default_model_filename": _file,
    "max_batch_size": _max_batch,
    "instance_group": _instances,
    "version_policy": _policy,
    "dynamic_batching": _batching,
    "parameters": _parameters,
    "input": _declared,
    "output": _declared,
}
"""What is understood, by Triton's name; the rest is named as ignored."""
