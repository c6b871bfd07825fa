"""The optimisation microscope: what ONNX Runtime makes of a model at each level, and what that buys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from changeover.errors import ModelRejected
from changeover.runtime import levels
from changeover.runtime.levels import AtLevel
from changeover.runtime.session import Array
from changeover.runtime.warmup import head
from changeover.scratch import scratch_folder
from changeover.workbench.described import read
from changeover.workbench.fusion import Rewritten, name_nodes, operator, rewritten

if TYPE_CHECKING:
    from onnx import ModelProto

Document = dict[str, Any]
_INSIDE: Final = 1 << 30
"""Bytes of weights that a file is written with; more go beside it."""
_PATIENCE: Final = 300.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted.

    Attributes:
        levels: of optimisation; `off` is always looked at, as that to compare with.
        max_batch: rows of the larger run, where the model takes rows.
        threads: of a run.
        seconds: of measuring, for each batch size.
    """

    levels: tuple[str, ...] = levels.LEVELS
    max_batch: int = 32
    threads: int = 1
    seconds: float = 2.0


def look(path: Path, wish: Wish) -> tuple[Document, list[Rewritten]]:
    """Load a model at each level and measure.

    Returns:
        What was found as one document, and the graphs in its order.

    Raises:
        ModelRejected: it is no model, or onnxruntime refuses it.
        ModelRunFailed: a run on generated inputs failed.
    """
    model = read(path)
    name_nodes(model)
    wanted = [level for level in levels.LEVELS if level in wish.levels or level == "off"]
    with scratch_folder("optimize") as folder:
        source = _written(model, folder)
        loaded = [levels.load(source, level, folder, wish.threads) for level in wanted]
        graphs = [_graph(one) for one in loaded]
        made = [rewritten(model, graph) for graph in graphs]
        rows, batchable = levels.rows_for(loaded[0].session, wish.max_batch)
        sizes = [1, wish.max_batch] if batchable and wish.max_batch > 1 else [1]
        times = {size: levels.timed(loaded, head(rows, size, batchable), wish.seconds) for size in sizes}
        apart = _apart(loaded, head(rows, sizes[-1], batchable))
        memory = {level: _weighed(source, level, sizes[-1]) for level in wanted}
    found = [
        {
            "level": one.level,
            "nodes": len(graph.graph.node),
            "operators": dict(sorted(Counter(operator(node) for node in graph.graph.node).items())),
            "rewrites": _rewrites(model, rewrite),
            "folded": list(rewrite.folded),
            "removed": list(rewrite.removed),
            "latency_us": {str(size): _percentiles(times[size][one.level]) for size in sizes},
            "load_ms": round(one.load_s * 1e3, 2),
            "memory_bytes": memory[one.level],
            "difference": apart[one.level],
        }
        for one, graph, rewrite in zip(loaded, graphs, made, strict=True)
    ]
    return {"model": str(path), "threads": wish.threads, "batches": sizes, "levels": found}, made


def _written(model: ModelProto, folder: Path) -> Path:
    import onnx

    path = folder / "model.onnx"
    onnx.save(model, path, save_as_external_data=model.ByteSize() > _INSIDE, location="model.data")
    return path


def _graph(one: AtLevel) -> ModelProto:
    import onnx

    return onnx.load(one.graph, load_external_data=False)


def _rewrites(model: ModelProto, made: Rewritten) -> list[Document]:
    kinds = {node.name: operator(node) for node in model.graph.node}
    return [
        {"into": node.operator, "kind": node.kind, "of": [kinds[name] for name in node.of], "nodes": list(node.of)}
        for node in made.nodes
        if node.kind != "kept"
    ]


def _percentiles(seconds: Sequence[float]) -> Document:
    ordered = np.sort(np.asarray(seconds)) * 1e6
    return {
        "p50": round(float(np.percentile(ordered, 50)), 2),
        "p99": round(float(np.percentile(ordered, 99)), 2),
        "runs": len(seconds),
    }


def _apart(loaded: Sequence[AtLevel], rows: list[Array]) -> dict[str, Document]:
    """The largest difference of any output from that without optimisation; None where only one of both is finite."""
    wanted = loaded[0].session.run(rows)
    found = {}
    for one in loaded:
        absolute = relative = 0.0
        for mine, theirs in zip(one.session.run(rows), wanted, strict=True):
            if mine.dtype.kind not in "fiu" or not mine.size:
                continue
            new, old = mine.astype(np.float64), theirs.astype(np.float64)
            with np.errstate(invalid="ignore"):
                gap = np.where((new == old) | (np.isnan(new) & np.isnan(old)), 0.0, np.abs(new - old))
            furthest = float(np.nan_to_num(gap, nan=np.inf, posinf=np.inf).max())
            largest = float(np.abs(old[np.isfinite(old)]).max(initial=0.0))
            absolute = max(absolute, furthest)
            relative = max(relative, furthest / largest if largest else 0.0)
        found[one.level] = {"max_abs": _number(absolute), "max_rel": _number(relative)}
    return found


def _number(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None


def _weighed(path: Path, level: str, most: int) -> int | None:
    """Bytes that the model takes in a process of its own; None when that cannot be told."""
    command = [sys.executable, "-m", "changeover.workbench.microscope", str(path), level, str(most)]
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        ended = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=True, env=environment)
        return int(json.loads(ended.stdout))
    except (subprocess.SubprocessError, ValueError):
        return None


def checked_levels(text: str) -> tuple[str, ...]:
    """The levels of `off,basic,all`.

    Raises:
        ModelRejected: one of them is none (`unknown_level`).
    """
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    wrong = [name for name in names if name not in levels.LEVELS]
    if wrong or not names:
        raise ModelRejected(
            f"{wrong[0] if wrong else text!r} is no level; there are {', '.join(levels.LEVELS)}.",
            reason="unknown_level",
        )
    return names


if __name__ == "__main__":
    print(json.dumps(levels.weigh(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))  # noqa: T201 - its answer
