"""The optimised-graph cache: what a first load worked out, a second load of the same digest need not.

An entry is keyed by everything its content depends on: the model's digest, onnxruntime's version, providers,
optimisation level and the CPU's features. It is used only when its own digest still matches.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A place in the cache; `fresh` is where a first load writes, unseen by others until `publish`."""

    path: Path

    @property
    def fresh(self) -> Path:
        """Where this process writes a new entry."""
        return self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")

    @property
    def _digest_file(self) -> Path:
        return self.path.with_suffix(".sha256")

    def usable(self) -> bool:
        """Whether the entry is there and is what was published; asking counts as a use, for the cache's limit."""
        try:
            found = self._digest_file.read_bytes() == _digest(self.path).encode()
        except OSError:
            return False
        with contextlib.suppress(OSError):
            os.utime(self.path)
        return found

    def publish(self) -> None:
        """Make the fresh file the entry; a full disk only means that there is none."""
        try:
            digest = _digest(self.fresh)
            staged = self.fresh.with_suffix(".digest")
            staged.write_text(digest)
            self.fresh.rename(self.path)
            staged.rename(self._digest_file)
        except OSError:
            self.discard()

    def discard(self) -> None:
        """Remove what was written and not published."""
        for path in (self.fresh, self.fresh.with_suffix(".digest")):
            path.unlink(missing_ok=True)


def entry(folder: str, *parts: str) -> CacheEntry:
    """The entry for a model under exactly these conditions on this machine."""
    key = hashlib.sha256("\0".join([*parts, cpu_features()]).encode()).hexdigest()[:40]
    return CacheEntry(Path(folder) / f"{key}.onnx")


def cpu_features() -> str:
    """What onnxruntime chooses kernels and layouts by."""
    keys = ("model name", "flags", "Features", "CPU part")
    with Path("/proc/cpuinfo").open() as lines:
        first = [line for line in lines if line.split(":")[0].strip() in keys]
    return "".join(sorted(set(first)))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
