"""Which versions go wrong on purpose: the file of `--faults`, for rehearsals on loopback only.

```json
{"models": {"digits": {"4": [{"kind": "slow", "after": 3000, "factor": 3}, {"kind": "error", "rate": 0.05}]}}}
```

One fault or a list of them a version; the fields are those of `changeover.transport.control.Fault`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from changeover.errors import InvalidRequest
from changeover.transport.control import Fault, WorkerSpec


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    models: dict[str, dict[str, Fault | list[Fault]]]


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults by model and version; none of either is the rule."""

    by_version: Mapping[tuple[str, str], tuple[Fault, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        """`digits/4 slow, error`."""
        parts = (f"{model}/{version} {kinds(faults)}" for (model, version), faults in self.by_version.items())
        return "; ".join(parts) or "none"

    def of(self, model: str, version: str) -> tuple[Fault, ...]:
        """Return the faults of a version."""
        return self.by_version.get((model, version), ())

    def into(self, spec: WorkerSpec) -> WorkerSpec:
        """Return what the worker is to be told."""
        faults = self.of(spec.model, spec.version)
        return msgspec.structs.replace(spec, faults=faults) if faults else spec


def kinds(faults: tuple[Fault, ...]) -> str:
    """Return the kinds of faults in words."""
    return ", ".join(fault.kind for fault in faults)


def read_faults(path: str | None) -> Faults:
    """Read the file; no file, no faults.

    Raises:
        InvalidRequest: it cannot be read (reason `faults_file`).
    """
    if path is None:
        return Faults()
    try:
        told = msgspec.json.decode(Path(path).read_bytes(), type=_File)
    except (OSError, msgspec.MsgspecError) as error:
        raise InvalidRequest(f"the file of --faults, {path}: {error}", reason="faults_file") from None
    return Faults(
        {
            (model, version): (faults,) if isinstance(faults, Fault) else tuple(faults)
            for model, versions in told.models.items()
            for version, faults in versions.items()
        }
    )
