"""The folders of the optimised-graph cache as the control plane sees them: how full they are, and what goes.

Workers write and read them (`runtime/cache.py`, `runtime/weights.py`), several at a time and without locks. Anything
may be removed at any moment: an entry counts only with its digest beside it, a worker that loses one while it loads
takes the model's own file instead, a graph that is loaded was read whole, and weights that are mapped stay until nobody
maps them.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Final

from changeover.lifecycle.retention import Graph

_ENTRY: Final = re.compile(r"([0-9a-f]{40})\.(?:onnx|sha256)|([0-9a-f]{64})\.weights")
_TEMPORARY: Final = re.compile(r"\.[0-9a-f]{40}\.onnx\.(\d+)\.(?:tmp|digest|data)|\.[0-9a-f]{64}\.weights\.(\d+)\.tmp")

_DIGITS: Final = 64


def graphs(folder: Path) -> list[Graph]:
    """All entries, halves of entries too, and all weights, each counted for itself."""
    found = []
    for name in {entry[1] or entry[2] for path in folder.iterdir() if (entry := _ENTRY.fullmatch(path.name))}:
        with contextlib.suppress(OSError):  # another one went, or is just being replaced
            stats = [path.stat() for path in _files(folder, name) if path.exists()]
            used = max((status.st_mtime_ns for status in stats), default=None)
            if used is not None:
                found.append(Graph(name, sum(status.st_size for status in stats), used))
    return found


def remove(folder: Path, graph: Graph) -> None:
    """Delete an entry, its digest first: without that it is not used; or one file of weights.

    Raises:
        OSError: it cannot be deleted.
    """
    for path in _files(folder, graph.name):
        path.unlink(missing_ok=True)


def sweep(folder: Path) -> int:
    """Delete what workers that are dead were writing; how many files there were."""
    left = [
        name for name in os.listdir(folder) if (found := _TEMPORARY.fullmatch(name)) and _dead(found[1] or found[2])
    ]
    for name in left:
        with contextlib.suppress(OSError):
            (folder / name).unlink(missing_ok=True)
    return len(left)


def _files(folder: Path, name: str) -> tuple[Path, ...]:
    if len(name) == _DIGITS:
        return (folder / f"{name}.weights",)
    return folder / f"{name}.sha256", folder / f"{name}.onnx"


def _dead(pid: str) -> bool:
    return not os.path.exists(f"/proc/{pid}")
