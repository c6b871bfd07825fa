"""Does anybody feel a changeover? p99 around each one beside p99 before it, at 0.6 of capacity.

    python benchmarks/felt.py [CHANGEOVERS]

Two windows of each: the 4 s around the switch beside the 4 s before them, and all from the command to 2 s after the
switch, loading and releasing included, beside the 4 s before the command.

Latency counts from the due time of an open loop, every answer is checked by value. Beside each changeover stands a
pair of windows without one, which says what the machine's own noise gives. The negative control does the same with
a server that loads and destroys sessions in the process that serves: it must be felt, or the bench measures nothing.
"""

from __future__ import annotations

import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from changeover.bench.figures import window_figures
from changeover.bench.process import BenchProcess
from changeover.bench.records import Records
from changeover.bench.spec import LoadSpec
from changeover.demo import digits
from models import large_cnn
from rig import Server, child, emit, median, say, verdict

PERIOD = 12.5
HALF = 2.0
BEFORE = 4.0
SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Subject:
    """Two versions of a model and what each answers."""

    name: str
    versions: tuple[bytes, bytes]
    inputs: dict[str, np.ndarray]
    expected: tuple[np.ndarray, np.ndarray]
    allowed_ms: float
    tolerance: float = 1e-3
    control: bool = False


def small() -> Subject:
    """The package's digits CNN, well below a millisecond."""
    samples = digits.load_samples()
    return Subject(
        "small_cnn",
        (digits.model_bytes("1"), digits.model_bytes("2")),
        {digits.INPUT: samples.inputs()},
        (samples.scores["1"], samples.scores["2"]),
        3.0,
    )


def large() -> Subject:
    """A CNN of 47 MB and some 15 ms."""
    import onnxruntime as ort

    versions = large_cnn(1), large_cnn(2)
    x = np.random.default_rng(3).random((8, 256, 8, 8), np.float32)
    answers = [ort.InferenceSession(v, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0] for v in versions]
    return Subject("large_cnn", versions, {"x": x}, (answers[0], answers[1]), 0.0, tolerance=1e-2)


def spec_for(subject: Subject, port: int, versions: int) -> LoadSpec:
    """The load: odd versions are the first model, even ones the second."""
    order = tuple(str(i) for i in range(1, versions + 2))
    expected = {v: subject.expected[(int(v) - 1) % 2] for v in order}
    return LoadSpec(
        subject.name, subject.inputs, expected, port=port, order=order, tolerance=subject.tolerance, fresh=0.05
    )


def capacity(spec: LoadSpec) -> float:
    """Requests per second of a closed loop, checked like all others."""
    with BenchProcess(replace(spec, mode="closed", duration_s=2.0), capacity=True) as bench:
        return float(bench.result(120)["capacity"])


def measure(subject: Subject, spec: LoadSpec, changeovers: int, change: Callable[[int], None]) -> None:
    """Run the load, change over every 12.5 s, compare the windows."""
    found = capacity(spec)
    total = (changeovers + 1) * PERIOD + BEFORE
    # longer than it should take: a change that takes longer than its period must not outlast the load
    load = replace(spec, mode="open", rate=SHARE * found, arrivals="poisson", duration_s=3 * total, connections=64)
    changes: list[tuple[float, float]] = []
    with BenchProcess(load) as bench:
        time.sleep(PERIOD)
        for number in range(changeovers):
            began = time.monotonic()
            change(number + 2)
            changes.append((began, time.monotonic()))
            say(f"felt {subject.name}: changeover {number + 1} of {changeovers} took {changes[-1][1] - began:.1f} s")
            time.sleep(max(HALF + 2 * BEFORE, began + PERIOD - time.monotonic()))
        bench.stop()
        result = bench.result(120)
        records = bench.records()
    report(subject, records, changes, {"capacity": round(found), "clean": result["clean"], **counts(result)})


def counts(result: dict[str, object]) -> dict[str, object]:
    """What must be 0."""
    return {key: result[key] for key in ("requests", "failed", "wrong", "wrong_version", "stale")}


def report(subject: Subject, records: Records, changes: list[tuple[float, float]], about: dict[str, object]) -> None:
    """Medians over all changeovers, and over as many pairs of windows without one."""
    around = [_pair(records, switch - HALF, switch + HALF) for _, switch in changes]
    whole = [_pair(records, began, switch + HALF) for began, switch in changes]
    quiet = [_pair(records, began - BEFORE, began) for began, _ in changes]
    felt = _felt(subject, around) or _felt(subject, whole)
    emit(
        "felt",
        met=felt if subject.control else not felt and bool(about["clean"]),
        model=subject.name,
        changeovers=len(changes),
        took_s=median([switch - began for began, switch in changes]),
        p99_before_ms=median([b for b, _ in around]),
        p99_around_ms=median([a for _, a in around]),
        ratio=_ratio(around),
        added_ms=_added(around),
        ratio_whole=_ratio(whole),
        added_ms_whole=_added(whole),
        ratio_without=_ratio(quiet),
        added_ms_without=_added(quiet),
        reach="ratio <= 1.2" if not subject.allowed_ms else f"ratio <= 1.2, or added <= {subject.allowed_ms} ms",
        **about,
    )


def _felt(subject: Subject, pairs: list[tuple[float, float]]) -> bool:
    return _ratio(pairs) > 1.2 and (not subject.allowed_ms or _added(pairs) > subject.allowed_ms)


def _ratio(pairs: list[tuple[float, float]]) -> float:
    return median([window / before for before, window in pairs])


def _added(pairs: list[tuple[float, float]]) -> float:
    return median([window - before for before, window in pairs])


def _pair(records: Records, start: float, end: float) -> tuple[float, float]:
    """p99 of the 4 s before `start`, and from there to `end`; ms."""
    return window_figures(records, start - BEFORE, start)["p99"], window_figures(records, start, end)["p99"]


def ours(subject: Subject, changeovers: int) -> None:
    """Through the server."""
    with Server({subject.name: subject.versions[0]}) as server:

        def change(version: int) -> None:
            rollout = server.push(subject.name, version, subject.versions[(version - 1) % 2])
            assert server.finished(rollout)["phase"] == "succeeded"

        measure(subject, spec_for(subject, server.port, changeovers), changeovers, change)


def control(subject: Subject, changeovers: int) -> None:
    """Negative control: load and destroy in the process that serves."""
    with child("in_process_server.py", subject.name) as port:

        def change(version: int) -> None:
            url = f"http://127.0.0.1:{port}/change/{version}"
            urllib.request.urlopen(url, b"", timeout=60).read()

        in_process = replace(subject, name=f"{subject.name}, in process (negative control)", control=True)
        measure(in_process, spec_for(subject, port, changeovers), changeovers, change)


def main(changeovers: int) -> None:
    """Both models, then the control."""
    ours(small(), changeovers)
    ours(large(), changeovers)
    control(small(), max(5, changeovers // 3))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
    sys.exit(verdict())
