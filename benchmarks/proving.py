"""What the gates cost: from a push to the switch, alone and under load, and what clients feel of it.

    python benchmarks/proving.py [ROUNDS]

Alone: with all gates, and with those only that no plan can switch off; and where the time went. Under load: at 0.6 and
0.9 of capacity (open loop) and saturated (closed loop), with the p99 of the 4 s from the push beside the 4 s before it.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

from changeover.bench.figures import window_figures
from changeover.bench.process import BenchProcess
from changeover.demo import digits
from felt import Subject, capacity, large, small, spec_for
from models import large_cnn
from rig import INSTANT, Server, emit, median, say, verdict

UNGATED = INSTANT + "gates: {accuracy: {enabled: false}, performance: {enabled: false}, resources: {enabled: false}}\n"
GATED = INSTANT + "gates: {performance: {max_ratio: 10}}\n"
PARTS = ("verify_s", "load_s", "warmup_s", "gates_s", "open_s")
WINDOW = 4.0
WITHIN = 120.0
SATURATED = 1.0


def switched(server: Server, name: str, version: int, data: bytes, plan: str) -> tuple[str, float]:
    """Push a version; its rollout, and seconds until it serves."""
    start = time.perf_counter()
    rollout = server.push(name, version, data, plan)
    while server.get(f"/v1/models/{name}")["active"] != str(version):
        found = server.get(f"/v1/rollouts/{rollout}")
        took = time.perf_counter() - start
        if found["phase"] == "failed" or took > WITHIN:
            raise RuntimeError(f"{rollout}: {found}")
        time.sleep(0.01)
    return rollout, time.perf_counter() - start


def alone(name: str, rounds: int, reach_s: float) -> None:
    """Version after version, with all gates and with those only that every version must pass."""
    for label, plan in (("all gates", GATED), ("without the comparisons", UNGATED)):
        took: list[float] = []
        numbers: list[dict[str, float]] = []
        with Server({name: _model(name, 0)}, {name: plan}) as server:
            for number in range(1, rounds + 1):
                rollout, seconds = switched(server, name, number + 1, _model(name, number), plan)
                took.append(seconds)
                steps = server.certificate(rollout)["steps"]
                numbers.append(next(s for s in steps if s["name"] == "validating")["numbers"])
                server.finished(rollout)
                say(f"{name}, {label}: {number} of {rounds}, {seconds:.3f} s")
        parts = {part: median([one[part] for one in numbers]) for part in PARTS}
        emit("push_to_serving", model=name, gates=label, met=median(took) <= reach_s, median_s=median(took),
             worst_s=round(max(took), 4), rounds=rounds, reach_s=reach_s, **parts)  # fmt: skip


def loaded(subject: Subject, share: float, rounds: int, reach_s: float) -> None:
    """The same while clients ask."""
    took: list[float] = []
    pairs: list[tuple[float, float]] = []
    with Server({subject.name: subject.versions[0]}, {subject.name: GATED}) as server:
        spec = spec_for(subject, server.port, rounds)
        found = capacity(spec)
        open_loop = replace(spec, mode="open", rate=share * found, arrivals="poisson", connections=64)
        load = replace(open_loop if share < SATURATED else replace(spec, mode="closed"), duration_s=rounds * WITHIN)
        with BenchProcess(load) as bench:
            for number in range(1, rounds + 1):
                time.sleep(WINDOW + 1)
                pushed = time.monotonic()
                rollout, seconds = switched(server, subject.name, number + 1, subject.versions[number % 2], GATED)
                took.append(seconds)
                time.sleep(max(0.0, pushed + WINDOW - time.monotonic()))
                pairs.append((pushed, max(WINDOW, seconds)))
                server.finished(rollout, WITHIN)
                say(f"{subject.name} at {share:g} of capacity: {number} of {rounds}, {seconds:.2f} s")
            bench.stop()
            result = bench.result(120)
            records = bench.records()
    before = [window_figures(records, pushed - WINDOW, pushed)["p99"] for pushed, _ in pairs]
    after = [window_figures(records, pushed, pushed + length)["p99"] for pushed, length in pairs]
    emit("push_to_serving_under_load", model=subject.name, load="saturated" if share >= SATURATED else share,
         met=median(took) <= reach_s and bool(result["clean"]), median_s=median(took), worst_s=round(max(took), 3),
         rounds=rounds, reach_s=reach_s, p99_before_ms=median(before), p99_after_ms=median(after),
         capacity=round(found), clean=result["clean"])  # fmt: skip


def _model(name: str, number: int) -> bytes:
    return large_cnn(number) if name == "large" else digits.model_bytes("12"[number % 2])


def main(rounds: int) -> None:
    """Alone, then under load."""
    alone("digits", 2 * rounds, 0.5)
    alone("large", rounds, 6.0)
    for subject in (small(), large()):
        for share, reach_s in ((0.6, 10.0), (0.9, 20.0), (SATURATED, 30.0)):
            loaded(subject, share, rounds, reach_s)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
    sys.exit(verdict())
