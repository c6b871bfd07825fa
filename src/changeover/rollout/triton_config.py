"""What a model configuration of Triton's means for a plan and for a signature, be it a file or a load's JSON. Pure.

What has an equal here becomes a field of the plan, under what `model.yaml` says; what has none is named in a remark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from changeover.errors import InvalidPlan, ModelRejected
from changeover.lifecycle.source import CONFIG_FILE, MODEL_FILE
from changeover.protocol.model_config import Lines, read_config, read_json, triton_type
from changeover.protocol.text_format import refused
from changeover.rollout import triton_sequence
from changeover.transport.control import Signature, TensorEntry

MOST_BYTES: Final = 64 << 10
_HEEDED: Final = frozenset(
    """name platform backend max_batch_size input input.name input.data_type input.dims input.reshape
    input.reshape.shape output output.name output.data_type output.dims output.reshape output.reshape.shape
    output.label_filename instance_group instance_group.name instance_group.kind
    instance_group.count default_model_filename version_policy version_policy.latest version_policy.latest.num_versions
    version_policy.all version_policy.specific version_policy.specific.versions
    dynamic_batching dynamic_batching.max_queue_delay_microseconds dynamic_batching.default_queue_policy
    dynamic_batching.default_queue_policy.max_queue_size parameters
    dynamic_batching.default_queue_policy.default_timeout_microseconds""".split()  # noqa: SIM905 - a table
)
"""Fields that have an effect, or ask for what is done anyway: `max_queue_delay_microseconds` is the longest time that a
request may be held back to fill a batch, and none ever is."""
_RUNTIMES: Final = ("onnxruntime_onnx", "onnxruntime", "")
_SERVED: Final = {"platform": _RUNTIMES, "backend": _RUNTIMES, "default_model_filename": (MODEL_FILE, "")}
_THREADS: Final = "intra_op_thread_count"
_BOUNDS: Final = {"max_batch": 65536, "instances": 64, "intra_op_threads": 256, "queue_limit": 1_000_000}


@dataclass(frozen=True, slots=True)
class Understood:
    """A configuration that was read.

    Attributes:
        config: its fields, as Triton's JSON has them.
        plan: the fields of a plan that it speaks of.
        remarks: what has no effect, a sentence each.
        versions: which alone may serve; None for all.
    """

    config: dict[str, Any]
    plan: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    versions: tuple[int, ...] | None = None


@lru_cache(64)
def understood(text: bytes) -> Understood:
    """Read the text of a file.

    Raises:
        InvalidPlan: `invalid_config`: file, line and what is wrong there.
    """
    if len(text) > MOST_BYTES:
        raise InvalidPlan(f"{CONFIG_FILE} is over {MOST_BYTES >> 10} KiB.", reason="invalid_config")
    return _understood(*read_config(text, CONFIG_FILE))


def understood_json(config: Mapping[str, Any]) -> Understood:
    """Read the JSON of a load, where what is zero or empty says nothing.

    Raises:
        InvalidPlan: `invalid_config`: the field and what is wrong with it.
    """
    return _understood(*read_json(config))


def _understood(config: dict[str, Any], lines: Lines) -> Understood:
    remarks = tuple(dict.fromkeys(_remarks(config, lines)))
    return Understood(config, _plan(config, lines), remarks, _versions(config, lines))


def foreign(config: Mapping[str, Any]) -> list[str]:
    """The fields that name another runtime or file than the one there is; a file's have no effect."""
    return [name for name, served in _SERVED.items() if config.get(name, "") not in served]


def beneath(plan: Mapping[str, Any], spoken: object) -> object:
    """What `model.yaml` says, over the fields of a `config.pbtxt`; what is no plan is given back as it is.

    A list is the file's as a whole, where `model.yaml` has none.
    """
    if not isinstance(spoken, dict):
        return spoken
    merged = dict(spoken)
    for section, fields in plan.items():
        said = merged.get(section)
        if isinstance(fields, list):
            merged.setdefault(section, fields)
        elif said is None or isinstance(said, dict):
            merged[section] = {**fields, **(said or {})}
    return merged


def require_fitting(config: Mapping[str, Any], signature: Signature) -> None:
    """Let a configuration pass that speaks of the model that it lies beside.

    Raises:
        ModelRejected: `config_mismatch`: a name, datatype or shape is not the model's.
    """
    batched = config.get("max_batch_size", 0) > 0
    if batched and not signature.batchable:
        raise _mismatch("max_batch_size is over 0, and the first dimension of the model's tensors is not free")
    for kind, entries in (("input", signature.inputs), ("output", signature.outputs)):
        known = {entry.name: entry for entry in entries}
        for tensor in config.get(kind, ()):
            entry = known.get(tensor.get("name", ""))
            if entry is None:
                raise _mismatch(f"the model has no {kind} {tensor.get('name', '')!r}, it has {', '.join(known)}")
            _require_tensor(f"{kind} {entry.name!r}", tensor, entry, batched=batched)


def _require_tensor(what: str, tensor: Mapping[str, Any], entry: TensorEntry, *, batched: bool) -> None:
    datatype = tensor.get("data_type", "TYPE_INVALID")
    if datatype not in ("TYPE_INVALID", triton_type(entry.datatype)):
        raise _mismatch(f"{what} is {datatype}, and the model's is {triton_type(entry.datatype)}")
    given = _is_reshaped(tensor, batched=batched) or "reshape" not in tensor
    dims = tensor.get("dims") if given else tensor["reshape"].get("shape", [])
    if dims is None:
        return
    told = [-1, *dims] if batched else list(dims)
    if len(told) != len(entry.shape) or any(
        -1 not in (a, b) and a != b for a, b in zip(told, entry.shape, strict=True)
    ):
        raise _mismatch(f"{what} has dims {list(dims)}, which with its batch is {told}; the model's is {entry.shape}")


def _mismatch(what: str) -> ModelRejected:
    return ModelRejected(f"{CONFIG_FILE}: {what}.", reason="config_mismatch")


def _is_reshaped(tensor: Mapping[str, Any], *, batched: bool) -> bool:
    """Whether clients send or get `dims` where the model has another shape: one dimension may be free, or the batch."""
    reshaped, dims = tensor.get("reshape"), tensor.get("dims", ())
    if reshaped is None or "name" not in tensor:
        return False
    free = [list(shape).count(-1) for shape in (dims, reshaped.get("shape", ()))]
    return free == [0, 0] or (free == [1, 1] and not batched)


def _interface(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The steps of a plan that make the clients' shapes."""
    batched = config.get("max_batch_size", 0) > 0
    tensors = (*config.get("input", ()), *config.get("output", ()))
    shapes = {
        tensor["name"]: [-1, *tensor.get("dims", ())] if batched else list(tensor.get("dims", ()))
        for tensor in tensors
        if _is_reshaped(tensor, batched=batched)
    }
    return [{"reshape": shapes}] if shapes else []


def _plan(config: Mapping[str, Any], lines: Lines) -> dict[str, Any]:
    runtime: dict[str, Any] = {}
    if "max_batch_size" in config:
        runtime["max_batch"] = max(_at_least(0, config["max_batch_size"], "max_batch_size", lines), 1)
    groups = [g for g in config.get("instance_group", ()) if not g.get("passive")]
    if groups:
        counts = [_at_least(0, g.get("count", 1), "instance_group.count", lines) or 1 for g in groups]
        runtime["instances"] = sum(counts)
    policy = config.get("dynamic_batching", {}).get("default_queue_policy", {})
    if policy.get("max_queue_size"):
        runtime["queue_limit"] = policy["max_queue_size"]
    if policy.get("default_timeout_microseconds"):
        runtime["max_queue_delay"] = min(max(policy["default_timeout_microseconds"] * 1e-6, 0.001), 86400.0)
    threads = config.get("parameters", {}).get(_THREADS, {}).get("string_value", "0")
    if not threads.isdecimal() or len(threads) > 9:
        raise _refused("parameters", f"{_THREADS} is no number of threads", lines)
    if int(threads):
        runtime["intra_op_threads"] = int(threads)
    for name, most in _BOUNDS.items():
        if runtime.get(name, 0) > most:
            raise _refused(_SPOKEN[name], f"{most} is the most", lines)
    labels = {
        o["name"]: o["label_filename"] for o in config.get("output", ()) if o.get("label_filename") and "name" in o
    }
    sequence = _sequence(config["sequence_batching"], lines) if "sequence_batching" in config else {}
    interface = _interface(config)
    sections: dict[str, Any] = {"runtime": runtime, "labels": labels, "sequence": sequence, "interface": interface}
    return {section: fields for section, fields in sections.items() if fields}


def _sequence(batching: Mapping[str, Any], lines: Lines) -> dict[str, Any]:
    if not triton_sequence.speaks(batching):
        return {}
    return triton_sequence.section(batching, lambda path, sentence: _refused(path, sentence, lines))


_SPOKEN: Final = {
    "max_batch": "max_batch_size",
    "instances": "instance_group.count",
    "intra_op_threads": "parameters",
    "queue_limit": "dynamic_batching.default_queue_policy.max_queue_size",
}


def _at_least(least: int, value: int, path: str, lines: Lines) -> int:
    if value < least:
        raise _refused(path, f"expected {least} or more, found {value}", lines)
    return value


def _versions(config: Mapping[str, Any], lines: Lines) -> tuple[int, ...] | None:
    """What a version policy names."""
    named = config.get("version_policy", {}).get("specific")
    if named is None:
        return None
    versions = tuple(named.get("versions", ()))
    if not versions or min(versions) < 1:
        raise _refused("version_policy", "specific: expected versions of 1 or more", lines)
    return versions


def _refused(path: str, what: str, lines: Lines) -> InvalidPlan:
    line = next((line for found, line in lines if found == path), 1)
    if line:
        return refused(CONFIG_FILE, line, f"{path}: {what}")
    return InvalidPlan(f"config: {path}: {what}", reason="invalid_config")


def _at(path: str, lines: Lines) -> str:
    """Where a remark is about, in front of it: JSON has no lines."""
    line = next((line for found, line in lines if found == path), 1)
    return f"line {line}: " if line else ""


def _remarks(config: Mapping[str, Any], lines: Lines) -> Iterator[str]:
    """Fields without an effect, each with its line; what is inside such a field is not told again."""
    speaks = triton_sequence.speaks(config.get("sequence_batching", {}))
    heeded = _HEEDED | triton_sequence.HEEDED if speaks else _HEEDED
    above = "\0"
    for path, line in lines:
        if path in heeded or path.startswith((f"{above}.", "parameters.")) or _is_warmup(path):
            continue
        above = path
        yield f"line {line}: {path} has no effect here" if line else f"{path}: it has no effect here"
    for path, idle in (
        *((name, True) for name in foreign(config)),
        ("version_policy", _several(config.get("version_policy", {}))),
        ("input.reshape", _keeps_shape(config, "input")),
        ("output.reshape", _keeps_shape(config, "output")),
        ("instance_group.kind", any(g.get("kind") == "KIND_GPU" for g in config.get("instance_group", ()))),
        ("parameters", bool(config.get("parameters", {}).keys() - {_THREADS})),
    ):
        if idle:
            yield f"{_at(path, lines)}{_IDLE[path]}"


def _is_warmup(path: str) -> bool:
    """First runs with made-up inputs: every version has them, at every size in use; files of inputs are not read."""
    return path.split(".")[0] == "model_warmup" and not path.endswith(".input_data_file")


def _keeps_shape(config: Mapping[str, Any], kind: str) -> bool:
    """Whether a tensor is to be reshaped, and is not."""
    batched = config.get("max_batch_size", 0) > 0
    return any("reshape" in t and not _is_reshaped(t, batched=batched) for t in config.get(kind, ()))


def _several(policy: Mapping[str, Any]) -> bool:
    """Whether a version policy wants more than one version to serve."""
    versions = policy.get("specific", {}).get("versions", ())
    return "all" in policy or policy.get("latest", {}).get("num_versions", 1) > 1 or len(versions) > 1


_IDLE: Final = {
    "platform": "platform: model.onnx is run by ONNX Runtime all the same",
    "backend": "backend: model.onnx is run by ONNX Runtime all the same",
    "default_model_filename": "default_model_filename: the file is model.onnx",
    "version_policy": "version_policy: one version serves, the highest, and the next one by its rollout",
    "input.reshape": "input.reshape: it has no effect where more than one dimension is free",
    "output.reshape": "output.reshape: it has no effect where more than one dimension is free",
    "instance_group.kind": "instance_group.kind: providers are chosen by runtime.providers in model.yaml",
    "parameters": f"parameters: they are shown, and have no effect, but {_THREADS}",
}
