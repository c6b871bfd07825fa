"""What `changeover model tune` answers, checked by another measurement that knows nothing of how it came about.

python benchmarks/tune.py [SECONDS] [MODEL ...]       (digits: latency and throughput; lstm, large_cnn: latency)

Each model is tuned through the command line with a golden set: held-out digits, else generated inputs with the classes
that the model itself gives them. The version that it writes is then timed beside the default by plain onnxruntime, in
fresh processes, one after the other, with the options of the written plan; and its answers are counted. `slower` is
true when the whole interval of the ratio (new over default, medians of the pairs) is over 1, unless the version is the
default, byte by byte and option by option (`same`: then the ratio tells what the check itself is worth). Two controls
show that the check can fail: the same model without optimisation must be found slower, one with shaken weights less
right. Prints a JSON line for each; the exit code is 1 when an answer was slower or less right than asked for, when the
budget was not kept, or when a control went unnoticed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
import yaml
from onnx import numpy_helper

from changeover.demo import digits
from changeover.prover.intervals import median
from models import large_cnn, lstm

_PAIRS = 12
_SLICE = 0.6
_LEAST_RUNS = 10
_ALLOWED = 0.01
"""Share of right answers that may be lost."""
_DEFAULT: Final = {
    "instances": 1, "intra_op_threads": 1, "optimization": "all", "providers": ["CPUExecutionProvider"], "max_batch": 32
}  # fmt: skip
_MODELS = (("digits", "latency"), ("digits", "throughput"), ("lstm", "latency"), ("large_cnn", "latency"))
Document = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A model's file, inputs, labels, the least share of right answers."""

    model: Path
    inputs: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    least: float


def main(budget: float, names: list[str]) -> int:
    """Tune and check; the exit code."""
    failed = False
    with tempfile.TemporaryDirectory(prefix="changeover-bench-") as name:
        for model, objective in _MODELS:
            if names and model not in names:
                continue
            folder = Path(name) / f"{model}-{objective}"
            case = _case(model, folder)
            told = _tuned(case, folder, objective, budget)
            version = folder / "tuned"
            checked = _checked(case, version, objective)
            failed |= checked["slower"] or checked["accuracy"] < case.least or told["spent_s"] > budget * 1.5 + 15
            print(json.dumps({"bench": "tune", "model": model, "objective": objective, **told, "checked": checked}))
        failed |= _controls(_case("digits", Path(name) / "control"), Path(name) / "control")
    return int(failed)


def _case(name: str, folder: Path) -> Case:
    folder.mkdir()
    model = folder / f"{name}.onnx"
    generator = np.random.default_rng(7)
    if name == "digits":
        samples = digits.load_samples()
        model.write_bytes(digits.model_bytes("2"))
        inputs, labels = samples.inputs(), samples.labels.astype(np.int64)
        right = float(np.mean(_classes(model, inputs) == labels))
    else:
        model.write_bytes(large_cnn(1) if name == "large_cnn" else lstm(1))
        shape = (256, 8, 8) if name == "large_cnn" else (32, 64)
        inputs = generator.standard_normal((200, *shape), np.float32)
        labels, right = _classes(model, inputs), 1.0
    (folder / "golden").mkdir()
    first = onnxruntime.InferenceSession(model).get_inputs()[0].name
    np.savez(folder / "golden" / "set.npz", **{first: inputs, "labels": labels})
    return Case(model, inputs, labels, round(right - _ALLOWED, 4))


def _classes(model: Path, inputs: np.ndarray[Any, Any], level: str = "all") -> np.ndarray[Any, Any]:
    session = _session(model, {"optimization": level})
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: row[None]})[0].argmax(axis=1) for row in inputs])


def _tuned(case: Case, folder: Path, objective: str, budget: float) -> Document:
    command = [
        sys.executable, "-m", "changeover.cli", "model", "tune", str(case.model), "--objective", objective,
        "--budget", f"{budget:g}s", "--golden", str(folder / "golden"), "--min-accuracy", str(case.least),
        "--write", str(folder / "tuned"), "-o", "json",
    ]  # fmt: skip
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found = json.loads(ended.stdout)
    names = ("kept", "gain", "sentence", "spent_s")
    return {
        "bytes": case.model.stat().st_size, "budget_s": budget, "answer": found["answer"]["name"],
        "settings": len(found["settings"]), "dropped": sorted(one["precision"] for one in found["dropped"]),
        **{name: found[name] for name in names},
    }  # fmt: skip


def _checked(case: Case, version: Path, objective: str) -> Document:
    """The written version beside the default: ratio of the times of a row, and share of right answers."""
    plan = yaml.safe_load((version / "model.yaml").read_text())["runtime"]
    rows = case.model.parent / "inputs.npy"
    np.save(rows, case.inputs)
    ratios = []
    for at in range(_PAIRS):
        spent = {}
        for side in ((0, 1), (1, 0))[at % 2]:
            model, options = ((case.model, _DEFAULT), (version / "model.onnx", plan))[side]
            spent[side] = _timed(model, options, rows, objective)
        ratios.append(spent[1] / spent[0])
    low, high = median(ratios)
    told = {**_DEFAULT, **plan}
    same = told == _DEFAULT and case.model.read_bytes() == (version / "model.onnx").read_bytes()
    accuracy = float(np.mean(_classes(version / "model.onnx", case.inputs, plan["optimization"]) == case.labels))
    return {
        "ratio": round(float(np.median(ratios)), 4), "low": round(low, 4), "high": round(high, 4), "same": same,
        "slower": low > 1.0 and not same, "accuracy": round(accuracy, 4), "least": case.least,
    }  # fmt: skip


def _timed(model: Path, options: Document, rows: Path, objective: str) -> float:
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--time", str(model), json.dumps(options), str(rows), objective]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment).stdout)


def _session(model: Path, options: Document) -> onnxruntime.InferenceSession:
    made = onnxruntime.SessionOptions()
    made.intra_op_num_threads = options.get("intra_op_threads", 1)
    made.inter_op_num_threads = 1
    made.log_severity_level = 4
    made.add_session_config_entry("session.intra_op.allow_spinning", "0")
    levels = {"off": "DISABLE_ALL", "basic": "ENABLE_BASIC", "extended": "ENABLE_EXTENDED", "all": "ENABLE_ALL"}
    chosen = levels[options.get("optimization", "all")]
    made.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{chosen}")
    return onnxruntime.InferenceSession(model, made, providers=options.get("providers", ["CPUExecutionProvider"]))


def _time(model: str, options: Document, rows: str, objective: str) -> None:
    """In a process of its own: the median run of one row, or the time for a row in full batches by all instances."""
    session, inputs = _session(Path(model), options), np.load(rows)
    name = session.get_inputs()[0].name
    full = objective == "throughput"
    size, callers = (options["max_batch"], options.get("instances", 1)) if full else (1, 1)
    parts = [np.ascontiguousarray(inputs[(np.arange(size) + at) % len(inputs)]) for at in range(callers)]
    for _ in range(3):
        session.run(None, {name: parts[0]})
    times: list[list[float]] = [[] for _ in parts]
    began = time.perf_counter()

    def call(at: int) -> None:
        while len(times[at]) < _LEAST_RUNS or time.perf_counter() < began + _SLICE:
            start = time.perf_counter()
            session.run(None, {name: parts[at]})
            times[at].append(time.perf_counter() - start)

    threads = [threading.Thread(target=call, args=(at,)) for at in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    print(took / (size * sum(map(len, times))) if full else float(np.median(times[0])))


def _controls(case: Case, folder: Path) -> bool:
    """Versions that a bad tuner would have answered with; whether one of them went unnoticed."""
    slow, wrong = folder / "slow", folder / "wrong"
    for version, level, data in ((slow, "off", case.model.read_bytes()), (wrong, "all", _shaken(case.model))):
        version.mkdir()
        (version / "model.onnx").write_bytes(data)
        (version / "model.yaml").write_text(yaml.safe_dump({"runtime": {"optimization": level, "max_batch": 32}}))
    found = {"slow": _checked(case, slow, "latency"), "wrong": _checked(case, wrong, "latency")}
    caught = {"slow": found["slow"]["slower"], "wrong": found["wrong"]["accuracy"] < case.least}
    print(json.dumps({"bench": "tune", "controls": found, "caught": caught}))
    return not all(caught.values())


def _shaken(model: Path) -> bytes:
    proto, generator = onnx.load(model), np.random.default_rng(8)
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.ndim > 1:
            noise = generator.normal(0, values.std(), values.shape).astype(values.dtype)
            tensor.CopyFrom(numpy_helper.from_array(values + noise, tensor.name))
    data: bytes = proto.SerializeToString()
    return data


if __name__ == "__main__":
    if sys.argv[1:2] == ["--time"]:
        _time(sys.argv[2], json.loads(sys.argv[3]), sys.argv[4], sys.argv[5])
    else:
        sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 120.0, sys.argv[2:]))
