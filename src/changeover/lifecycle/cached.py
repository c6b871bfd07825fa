"""The folder of the optimised-graph cache as the control plane sees it: how full it is, and what goes.

Workers write and read it (`runtime/cache.py`), several at a time and without locks. Anything may be removed at any
moment: an entry counts only with its digest beside it, a worker that loses one while it loads takes the model's own
file instead, and a graph that is loaded was read whole.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Final

from changeover.lifecycle.retention import Graph

_ENTRY: Final = re.compile(r"[0-9a-f]{40}")
_TEMPORARY: Final = re.compile(r"\.[0-9a-f]{40}\.onnx\.(\d+)\.(?:tmp|digest)")


def graphs(folder: Path) -> list[Graph]:
    """All entries, halves of entries too."""
    found = []
    for name in {path.stem for path in folder.iterdir() if _ENTRY.fullmatch(path.stem)}:
        with contextlib.suppress(OSError):  # another one went, or is just being replaced
            stats = [path.stat() for path in _files(folder, name) if path.exists()]
            used = max((status.st_mtime_ns for status in stats), default=None)
            if used is not None:
                found.append(Graph(name, sum(status.st_size for status in stats), used))
    return found


def remove(folder: Path, graph: Graph) -> None:
    """Delete an entry, its digest first: without that it is not used.

    Raises:
        OSError: it cannot be deleted.
    """
    for path in _files(folder, graph.name):
        path.unlink(missing_ok=True)


def sweep(folder: Path) -> int:
    """Delete what workers that are dead were writing; how many files there were."""
    left = [name for name in os.listdir(folder) if (found := _TEMPORARY.fullmatch(name)) and _dead(found[1])]
    for name in left:
        with contextlib.suppress(OSError):
            (folder / name).unlink(missing_ok=True)
    return len(left)


def _files(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.sha256", folder / f"{name}.onnx"


def _dead(pid: str) -> bool:
    return not os.path.exists(f"/proc/{pid}")
