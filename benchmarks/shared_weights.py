"""What the weights that two versions have in common save: memory of the active version and its standby together.

    python benchmarks/shared_weights.py [ROUNDS]

Two models, each of 47 and of 94 MB, since what a worker has beside its weights (some 24 MB, with its share of the
zygote's pages and of libraries) does not grow with them: a CNN, whose weights are laid out anew by the optimisation,
and a chain of dense layers, whose weights operators pack while they are loaded. Each pair of versions is brought up
in a server of its own, the second by a push, and is measured in its undo window, after requests to both: the sum of
the proportional set sizes (PSS, from `smaps_rollup`) of both workers, which counts what n processes share as one n-th
for each. In a `shared` pair 90 % of the weights are equal; in a `separate` one, which is the control, none. One JSON
line a model.
"""

from __future__ import annotations

import statistics
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
from onnx import TensorProto, helper, numpy_helper

from models import large_cnn
from rig import Server, binary_body, emit, say, verdict

ROUNDS = 2
ASKED = 0.7
SHARED = 0.9
LAYERS = {"47": 20, "94": 40}
WIDTH = 768
PLAN = "rollout: {strategy: instant, undo_window: 1h, holdback: 0%}\ngates: {accuracy: {enabled: false}}\n"
_PATIENCE = 60.0


def dense(seed: int, layers: int = 20) -> bytes:
    """A chain of dense layers, 47 MB of twenty: input `x` [-1, 768], output `y` [-1, 768]."""
    generator = np.random.default_rng(seed)
    nodes, weights, last = [], [], "x"
    for i in range(layers):
        matrix = generator.standard_normal((WIDTH, WIDTH), np.float32) * np.float32(0.05)
        weights.append(numpy_helper.from_array(matrix, f"w{i}"))
        out = "y" if i == layers - 1 else f"r{i}"
        nodes += [helper.make_node("MatMul", [last, f"w{i}"], [f"m{i}"]), helper.make_node("Relu", [f"m{i}"], [out])]
        last = out
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", WIDTH]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "dense", ends[:1], ends[1:], weights)
    data: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    ).SerializeToString()
    return data


def changed(data: bytes, share: float) -> bytes:
    """The same model with this share of its weights, from the first on, made others."""
    made = onnx.load_from_string(data)
    large = [tensor for tensor in made.graph.initializer if tensor.name.startswith("w")]
    for tensor in large[: round(len(large) * share)]:
        array = numpy_helper.to_array(tensor) * np.float32(0.97)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return bytes(made.SerializeToString())


def pair(first: bytes, second: bytes, rows: np.ndarray) -> tuple[float, list[float]]:
    """MB of both workers, and of each."""
    with Server({"m": first}, {"m": PLAN}) as server:
        rollout = server.push("m", 2, second, PLAN)
        until = time.monotonic() + _PATIENCE
        while (found := server.get(f"/v1/rollouts/{rollout}"))["phase"] != "watching":
            if found["phase"] in ("failed", "rolled_back") or time.monotonic() > until:
                raise RuntimeError(f"{found['phase']}: {found.get('reason')} {found.get('detail')}")
            time.sleep(0.1)
        for version in ("1", "2"):
            for _ in range(5):
                body, headers = binary_body("x", rows)
                path = f"http://127.0.0.1:{server.port}/v2/models/m/versions/{version}/infer"
                with urllib.request.urlopen(urllib.request.Request(path, body, headers), timeout=30) as answer:
                    answer.read()
        each = [_pss(worker) for worker in _workers(server)]
        if len(each) != 2:
            raise RuntimeError(f"{len(each)} workers")
        return sum(each), [round(size, 1) for size in each]


def _workers(server: Server) -> list[int]:
    found = psutil.Process(server.process.pid).children(recursive=True)
    return [process.pid for process in found if " ".join(process.cmdline()).startswith("changeover: worker m/")]


def _pss(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def measured(make: Callable[[int], bytes], layers: int, rows: np.ndarray, rounds: int) -> dict[str, Any]:
    """MB of both workers of each pair, and their ratio: medians of the rounds."""
    first = make(layers)
    versions = {"shared": changed(first, 1 - SHARED), "separate": changed(first, 1)}
    sums: dict[str, list[float]] = {kind: [] for kind in versions}
    last: dict[str, list[float]] = {}
    for _ in range(rounds):
        for kind, second in versions.items():
            total, last[kind] = pair(first, second, rows)
            sums[kind].append(total)
    shared, separate = (statistics.median(sums[kind]) for kind in versions)
    return {"ratio": round(shared / separate, 3), "bytes": len(first), "shared_mb": round(shared, 1),
            "separate_mb": round(separate, 1), "each_mb": last}  # fmt: skip


def main(rounds: int) -> int:
    """Measure both models; the exit code."""
    generator = np.random.default_rng(1)
    models: dict[str, tuple[Callable[[int], bytes], tuple[int, ...]]] = {
        "cnn": (lambda layers: large_cnn(1, layers), (256, 8, 8)), "dense": (lambda layers: dense(1, layers), (WIDTH,)),
    }  # fmt: skip
    for name, (make, shape) in models.items():
        rows = generator.standard_normal((8, *shape), np.float32)
        found = {}
        for size, layers in LAYERS.items():
            say(f"{name} of {size} MB")
            found[f"of_{size}_mb"] = measured(make, layers, rows, rounds)
        ratio = found["of_94_mb"]["ratio"]
        emit(f"shared_weights_{name}", met=ratio <= ASKED, ratio=ratio, asked=ASKED, rounds=rounds, **found)
    return verdict()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))
