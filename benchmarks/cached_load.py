"""What the cache of optimised graphs saves: the load of a 47 MB CNN that is in it beside the load that puts it there.

python benchmarks/cached_load.py [ROUNDS]

Each round is two fresh processes, one after the other: the first finds an empty cache, the second what the first left.
All files are in the page cache. Seconds are those of `session.load`, hashing and writing of the entry included; the
ratio is the median over the rounds. Prints one JSON line.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from models import large_cnn

_ROUNDS = 10


def main(rounds: int) -> int:
    """Measure and print; the exit code."""
    first, second = [], []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model.onnx"
        path.write_bytes(large_cnn(1))
        for at in range(rounds + 1):
            cache = Path(name) / f"cache{at}"
            cache.mkdir()
            told = [_load(path, cache) for _ in range(2)]
            if [kind for kind, _ in told] != ["miss", "hit"]:
                print(f"the cache said {told}", file=sys.stderr)
                return 1
            if at:  # the first round warms the page cache
                first.append(told[0][1])
                second.append(told[1][1])
            for file in cache.iterdir():
                file.unlink()
        size = path.stat().st_size
    ratios = sorted(after / before for before, after in zip(first, second, strict=True))
    found = {
        "bench": "cached_load", "bytes": size, "rounds": rounds,
        "first_ms": round(statistics.median(first) * 1e3, 1), "second_ms": round(statistics.median(second) * 1e3, 1),
        "ratio": round(statistics.median(ratios), 3), "lowest": round(ratios[0], 3), "highest": round(ratios[-1], 3),
    }  # fmt: skip
    print(json.dumps(found))
    return 0


def _load(path: Path, cache: Path) -> tuple[str, float]:
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--load", str(path), str(cache)]
    ended = subprocess.run(command, capture_output=True, check=True, env=environment)
    kind, seconds = json.loads(ended.stdout)
    return kind, seconds


def _loading(path: str, cache: str) -> None:
    from changeover.runtime import session
    from changeover.transport.control import WorkerSpec

    spec = WorkerSpec(1, "m", "1", digest="d", path=path, cache=cache, empty=cache)
    began = time.perf_counter()
    loaded = session.load(spec)
    print(json.dumps([loaded.cache, time.perf_counter() - began]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--load"]:
        _loading(sys.argv[2], sys.argv[3])
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else _ROUNDS))
