"""Triton's model configuration extension: what is in force of a version, over what its `config.pbtxt` says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from changeover.protocol.model_config import triton_type, whole
from changeover.transport.control import LoadingEntry, TensorEntry

_PINNED: Final = {f"{side}_pinned_memory": {"enable": True} for side in ("input", "output")}
"""What Triton says where nothing was said; it means nothing without a GPU."""


def model_config(model: str, entry: LoadingEntry, instances: int) -> dict[str, Any]:
    """The configuration of a version, as Triton's JSON.

    Args:
        model: its name.
        entry: of its loading.
        instances: batches that run at once.
    """
    said = entry.config or {}
    batches = entry.signature.batchable and said.get("max_batch_size", 1) > 0
    config: dict[str, Any] = {
        **said,
        "name": model,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "version_policy": said.get("version_policy", {"latest": {"num_versions": 1}}),
        "max_batch_size": entry.max_batch if batches else 0,
        "input": [_tensor(e, said.get("input", ()), batches=batches) for e in entry.signature.inputs],
        "output": [
            _tensor(e, said.get("output", ()), batches=batches)
            | {"label_filename": entry.labels.get(e.name, "").rpartition("/")[2]}
            for e in entry.signature.outputs
        ],
        "instance_group": [_group(model, said.get("instance_group", ()), instances)],
        "default_model_filename": "model.onnx",
        "optimization": {**_PINNED, **said.get("optimization", {})},
    }
    return whole(config)


def _tensor(entry: TensorEntry, said: list[Mapping[str, Any]], *, batches: bool) -> dict[str, Any]:
    """One input or output; without the first dimension when that is the batch."""
    more = next((tensor for tensor in said if tensor.get("name") == entry.name), {})
    dims = entry.shape[1:] if batches else list(entry.shape)
    tensor = {field: value for field, value in more.items() if field != "reshape" or more.get("dims") == dims}
    tensor |= {"name": entry.name, "data_type": triton_type(entry.datatype), "dims": dims or [1]}
    if not dims:
        tensor["reshape"] = {"shape": []}
    return tensor


def _group(model: str, said: list[Mapping[str, Any]], instances: int) -> dict[str, Any]:
    """All instances as one group: they are threads of one worker."""
    name, kind = (said[0].get("name"), said[0].get("kind")) if said else (None, None)
    return {"name": name or (f"{model}_0" if said else model), "kind": kind or "KIND_CPU", "count": instances}
