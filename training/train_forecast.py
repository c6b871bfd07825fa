"""Train the recurrent network of the sequence examples and write its weights.

Run from the repository root:

    python training/train_forecast.py

It reads a sensor's value a step and says what the next one will be. The signal is made here: three oscillations whose
speed changes at random, and a little noise; all seeds are fixed, so a second run on the same machine gives the same
file. What is printed and kept in `forecast.json` is the error on signals that were not trained on, beside that of
saying "the same as now". `examples/sequences/forecast.py` writes ONNX files of the weights.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
from lstm import Array, Weights, gradients, new_weights

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "examples" / "sequences" / "forecast.npz"
FIGURES = Path(__file__).resolve().parent / "forecast.json"
HIDDEN = 32
STEPS = 64
ROWS = 32
PASSES = 600


def signals(rows: int, steps: int, rng: np.random.Generator) -> Array:
    """Return [steps, rows, 1] values of about -1 to 1."""
    speeds = rng.uniform(0.1, 0.9, (3, rows))
    sizes = rng.dirichlet((2.0, 2.0, 2.0), rows).T
    phases = rng.uniform(0, 2 * np.pi, (3, rows))
    made = np.empty((steps, rows, 1), np.float32)
    for at in range(steps):
        changing = rng.random((3, rows)) < 0.02
        speeds = np.where(changing, rng.uniform(0.1, 0.9, (3, rows)), speeds)
        phases += speeds
        made[at, :, 0] = (sizes * np.sin(phases)).sum(axis=0) + rng.normal(0, 0.01, rows)
    return made


def train(rng: np.random.Generator) -> Weights:
    """Return trained weights: Adam with a falling rate, gradients clipped."""
    weights = new_weights(1, HIDDEN, 1, rng)
    first, second = ({name: np.zeros_like(array) for name, array in weights.items()} for _ in range(2))
    for at in range(1, PASSES + 1):
        signal = signals(ROWS, STEPS + 1, rng)
        _, found = gradients(weights, signal[:-1], signal[1:])
        size = np.sqrt(sum(float(np.square(array).sum()) for array in found.values()))
        rate = 1e-2 * (1 - at / (PASSES + 1)) * np.sqrt(1 - 0.999**at) / (1 - 0.9**at)
        for name, array in found.items():
            clipped = array * min(1.0, 1.0 / size)
            first[name] = 0.9 * first[name] + 0.1 * clipped
            second[name] = 0.999 * second[name] + 0.001 * clipped**2
            weights[name] = (weights[name] - rate * first[name] / (np.sqrt(second[name]) + 1e-8)).astype(np.float32)
    return weights


def main() -> None:
    """Train, write the weights, print and keep the measured errors."""
    started = time.monotonic()
    weights = train(np.random.default_rng(6))
    unseen = signals(256, 200, np.random.default_rng(60))
    error, _ = gradients(weights, unseen[:-1], unseen[1:])
    naive = float(np.mean(np.square(unseen[1:] - unseen[:-1])))
    figures = {"mean_squared_error": round(error, 6), "of_the_last_value": round(naive, 6), "hidden": HIDDEN}
    if error > naive / 4:
        raise SystemExit(f"nothing was learnt: {figures}")
    np.savez_compressed(WEIGHTS, **weights)  # type: ignore[arg-type]
    FIGURES.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"{WEIGHTS.name} ({time.monotonic() - started:.1f} s, {WEIGHTS.stat().st_size} bytes): {json.dumps(figures)}")


if __name__ == "__main__":
    main()
