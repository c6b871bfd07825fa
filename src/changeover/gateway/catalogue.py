"""What clients are told of the server and its models, whichever protocol they speak."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from changeover import __version__
from changeover.errors import ChangeoverError, InvalidRequest, ModelNotReady, NotFound
from changeover.gateway.models import Models
from changeover.gateway.router import Model, Target
from changeover.transport.control import TensorEntry

EXTENSIONS: Final = ["binary_tensor_data", "classification", "schedule_policy", "sequence"]
"""By Triton's names: what every protocol has of them."""
METADATA: Final = {
    "name": "changeover",
    "version": __version__,
    "extensions": EXTENSIONS,
}
"""The server's metadata."""
_PLATFORM: Final = "onnxruntime_onnx"


def known(models: Models, name: str) -> Model:
    """The model of a name.

    Raises:
        NotFound: there is none (reason `model_not_found`).
        ModelNotReady: there is none while the first load goes on: a server that starts anew knows nobody yet.
    """
    model = models.by_name.get(name)
    if model is not None:
        return model
    if not models.ready:
        raise ModelNotReady(f"model {name!r} is not known yet: the server is still loading; retry later")
    raise NotFound(f"unknown model {name!r}; GET /v2/models lists what is served", reason="model_not_found")


def target_of(models: Models, name: str, version: str | None) -> Target:
    """The target that a version names, or none: the active one. Without a lease: nothing runs.

    Raises:
        NotFound: no such model, or no such version of it serves.
        ModelNotReady: no version of it serves.
    """
    table = known(models, name).refresh()
    if version is None:
        return table.active
    target = table.by_version.get(version)
    if target is None:
        raise NotFound(f"model {name!r} has no version {version!r} that serves", reason="version_not_found")
    return target


def as_mistake(error: ChangeoverError) -> ChangeoverError:
    """What Triton says to a readiness, a statistic or a setting of nobody: that the request is wrong."""
    return InvalidRequest(error.message, reason=error.reason) if isinstance(error, NotFound) else error


def describe(models: Models, name: str, version: str | None) -> dict[str, Any]:
    """A model's metadata, of all versions that serve or of the one that was asked for; raises as `target_of`."""
    target = target_of(models, name, version)
    table = known(models, name).refresh()
    versions = sorted((t.version for t in table.targets.values()), key=lambda v: (len(v), v))
    signature = target.entry.signature
    return {
        "name": name,
        "versions": versions if version is None else [target.version],
        "platform": _PLATFORM,
        "inputs": _tensors(signature.inputs),
        "outputs": _tensors(signature.outputs),
    }


def _tensors(entries: Sequence[TensorEntry]) -> list[dict[str, Any]]:
    return [{"name": e.name, "datatype": e.datatype, "shape": e.shape} for e in entries]
