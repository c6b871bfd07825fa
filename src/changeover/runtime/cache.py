"""The optimised-graph cache: what a first load worked out, a second load of the same digest need not.

An entry is keyed by everything its content depends on: the model's digest, onnxruntime's version, providers,
optimisation level and the CPU's features. It is used only when its own digest still matches. Large weights lie beside
it, in files of their own (`weights.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CPUINFO: Final = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A place in the cache; `fresh` is where a first load writes, unseen by others until `publish`."""

    path: Path

    @property
    def fresh(self) -> Path:
        """Where this process writes a new entry."""
        return self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")

    @property
    def fresh_weights(self) -> Path:
        """Where it writes the large weights of one."""
        return self.fresh.with_suffix(".data")

    @property
    def _digest_file(self) -> Path:
        return self.path.with_suffix(".sha256")

    def read(self) -> bytes | None:
        """The entry, when it is there and is what was published; a use of it, for the cache's limit."""
        try:
            found = self.path.read_bytes()
            if self._digest_file.read_bytes() != hashlib.sha256(found).hexdigest().encode():
                return None
        except OSError:
            return None
        with contextlib.suppress(OSError):
            os.utime(self.path)
        return found

    def publish(self) -> None:
        """Make the fresh file the entry; a full disk only means that there is none."""
        try:
            with self.fresh.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            staged = self.fresh.with_suffix(".digest")
            staged.write_text(digest)
            self.fresh.rename(self.path)
            staged.rename(self._digest_file)
        except OSError:
            self.discard()

    def discard(self) -> None:
        """Remove what was written and not published."""
        for path in (self.fresh, self.fresh_weights, self.fresh.with_suffix(".digest")):
            path.unlink(missing_ok=True)


def entry(folder: str, *parts: str) -> CacheEntry:
    """The entry for a model under exactly these conditions on this machine."""
    key = hashlib.sha256("\0".join([*parts, cpu_features()]).encode()).hexdigest()[:40]
    return CacheEntry(Path(folder) / f"{key}.onnx")


def cpu_features() -> str:
    """What onnxruntime chooses kernels and layouts by."""
    keys = ("model name", "flags", "Features", "CPU part")
    with _CPUINFO.open() as lines:
        first = [line for line in lines if line.split(":")[0].strip() in keys]
    return "".join(sorted(set(first)))
