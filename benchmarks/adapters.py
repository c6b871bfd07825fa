"""What an adapter costs: the MNIST CNN plain, with an adapter merged into it, and with the same adaptation in numpy.

python benchmarks/adapters.py [SECONDS]

Clients send FP64 [1, 28, 28] of 0 to 255 under another name; the model takes FP32 [1, 1, 28, 28]. The three take turns
run by run, so whatever the machine does meanwhile it does to all; a round's figure is the median run of each, and the
ratio is the median over the rounds with its 95 % interval. Prints one JSON line.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import time
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import msgspec
import numpy as np
import onnx
import onnxruntime as ort

from changeover.demo import digits
from changeover.interface.merge import adapt
from changeover.interface.ports import own_ports
from changeover.interface.steps import Step
from models import mnist

_ROUND = 100


def main(seconds: float) -> int:
    """Measure and print; the exit code."""
    plain = onnx.load_model_from_string(mnist() or digits.model_bytes("1"))
    (image,), _ = own_ports(plain)
    merged = onnx.ModelProto()
    merged.CopyFrom(plain)
    given: list[dict[str, Any]] = [
        {"rename": {image.name: "picture"}},
        {"unsqueeze": {"picture": [1]}},
        {"scale": {"picture": {"scale": 1 / 255}}},
        {"cast": {"picture": "FP64"}, "allow_lossy": True},
    ]
    adapt(merged, msgspec.convert(given, tuple[Step, ...]))
    sent = np.random.default_rng(1).random((1, 28, 28)) * 255
    ready = _converted(sent)
    sessions = {name: _session(model) for name, model in (("plain", plain), ("merged", merged))}
    calls = {
        "plain": lambda: sessions["plain"].run(None, {image.name: ready}),
        "merged": lambda: sessions["merged"].run(None, {"picture": sent}),
        "numpy": lambda: sessions["plain"].run(None, {image.name: _converted(sent)}),
    }
    answers = [call()[0] for call in calls.values()]
    assert all(np.allclose(answers[0], other, rtol=1e-4, atol=1e-3) for other in answers)
    rounds = _measure(calls, seconds)
    print(json.dumps(_figures(rounds, "mnist-8" if mnist() else "digits")))
    return 0


def _converted(sent: Any) -> Any:
    """What a gateway would do in its event loop."""
    return (sent * (1 / 255)).astype(np.float32)[:, None]


def _session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _measure(calls: dict[str, Any], seconds: float) -> list[dict[str, float]]:
    names, until, rounds = list(calls), time.perf_counter() + seconds, []
    while time.perf_counter() < until:
        spent: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(_ROUND):
            random.shuffle(names)
            for name in names:
                began = time.perf_counter()
                calls[name]()
                spent[name].append(time.perf_counter() - began)
        rounds.append({name: statistics.median(times) * 1e6 for name, times in spent.items()})
    return rounds[1:]


def _figures(rounds: list[dict[str, float]], model: str) -> dict[str, Any]:
    found: dict[str, Any] = {"bench": "adapters", "model": model, "rounds": len(rounds)}
    for name in ("plain", "merged", "numpy"):
        found[f"{name}_us"] = round(statistics.median(r[name] for r in rounds), 2)
    for name in ("merged", "numpy"):
        ratios = sorted(r[name] / r["plain"] for r in rounds)
        half = 0.98 * len(ratios) ** 0.5
        low, high = (ratios[max(0, min(len(ratios) - 1, round(len(ratios) / 2 + s * half)))] for s in (-1, 1))
        found[f"{name}_ratio"] = round(statistics.median(ratios), 4)
        found[f"{name}_interval"] = [round(low, 4), round(high, 4)]
    return found


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0))
