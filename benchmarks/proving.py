"""What the gates cost: from a push to the first answer of the new version, and how much of that is the prover's.

python benchmarks/proving.py [ROUNDS]
"""

from __future__ import annotations

import sys
import time

from changeover.demo import digits
from models import large_cnn
from rig import INSTANT, Server, emit, median, say, verdict

UNGATED = INSTANT + "gates: {accuracy: {enabled: false}, performance: {enabled: false}, resources: {enabled: false}}\n"
PARTS = ("verify_s", "load_s", "warmup_s", "gates_s", "open_s")


def pushes(name: str, rounds: int, reach_s: float) -> None:
    """Version after version, with all gates and with those only that every version must pass."""
    large = name == "large"
    for label, plan in (("all gates", INSTANT), ("without the comparisons", UNGATED)):
        took: list[float] = []
        numbers: list[dict[str, float]] = []
        with Server({name: _model(name, 0)}, {name: plan}) as server:
            for number in range(1, rounds + 1):
                data = _model(name, number if large else number % 2)
                start = time.perf_counter()
                rollout = server.push(name, number + 1, data, plan)
                server.finished(rollout)
                took.append(time.perf_counter() - start)
                steps = server.certificate(rollout)["steps"]
                numbers.append(next(s for s in steps if s["name"] == "validating")["numbers"])
                say(f"{name}, {label}: {number} of {rounds}, {took[-1]:.3f} s")
        parts = {part: median([one[part] for one in numbers]) for part in PARTS}
        emit("push_to_serving", model=name, gates=label, met=median(took) <= reach_s, median_s=median(took),
             worst_s=round(max(took), 4), rounds=rounds, reach_s=reach_s, **parts)  # fmt: skip


def _model(name: str, number: int) -> bytes:
    return large_cnn(number) if name == "large" else digits.model_bytes("12"[number % 2])


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    pushes("digits", 2 * count, 0.3)
    pushes("large", count, 6.0)
    sys.exit(verdict())
