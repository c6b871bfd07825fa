"""A recurrent network of one LSTM layer and one dense layer in plain numpy: steps, and gradients through time.

Arrays are float32. The gates lie in the order of ONNX: input, output, forget, cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Weights = dict[str, Array]


def new_weights(inputs: int, hidden: int, outputs: int, rng: np.random.Generator) -> Weights:
    """Return untrained weights by name: `w` of the input, `r` of the state, `b`, and the dense layer's `v` and `d`."""
    scale = 1 / np.sqrt(hidden)
    shapes = {"w": (4 * hidden, inputs), "r": (4 * hidden, hidden), "v": (outputs, hidden)}
    made = {name: rng.uniform(-scale, scale, shape).astype(np.float32) for name, shape in shapes.items()}
    made["b"] = np.zeros(4 * hidden, np.float32)
    made["b"][2 * hidden : 3 * hidden] = 1  # a new network remembers
    made["d"] = np.zeros(outputs, np.float32)
    return made


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + e^-x)."""
    value: Array = 0.5 * (1 + np.tanh(0.5 * x))
    return value


def step(weights: Weights, x: Array, h: Array, c: Array) -> tuple[Array, Array, Array, tuple[Array, ...]]:
    """Return the output, the next h and c, and what `gradients` needs, for rows of x."""
    z = x @ weights["w"].T + h @ weights["r"].T + weights["b"]
    i, o, f = (sigmoid(part) for part in np.split(z, 4, axis=1)[:3])
    g = np.tanh(np.split(z, 4, axis=1)[3])
    after = f * c + i * g
    squashed = np.tanh(after)
    hidden = o * squashed
    return hidden @ weights["v"].T + weights["d"], hidden, after, (x, h, c, i, o, f, g, squashed, hidden)


def gradients(weights: Weights, x: Array, target: Array) -> tuple[float, Weights]:
    """Return the mean squared error of [steps, rows, inputs] against [steps, rows, outputs], and its gradients."""
    rows, hidden = x.shape[1], weights["r"].shape[1]
    h = c = np.zeros((rows, hidden), np.float32)
    kept, errors = [], []
    for now, wanted in zip(x, target, strict=True):
        y, h, c, memory = step(weights, now, h, c)
        kept.append(memory)
        errors.append(y - wanted)
    made = {name: np.zeros_like(array) for name, array in weights.items()}
    back_h = back_c = np.zeros((rows, hidden), np.float32)
    for error, memory in zip(reversed(errors), reversed(kept), strict=True):
        back_h, back_c = _step_back(weights, made, 2 * error / target.size, memory, (back_h, back_c))
    return float(np.mean(np.square(errors))), made


def _step_back(
    weights: Weights, made: Weights, error: Array, memory: tuple[Array, ...], back: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Add one step's part to the gradients, and return those of the h and c before it."""
    x, h, c, i, o, f, g, squashed, hidden = memory
    made["v"] += error.T @ hidden
    made["d"] += error.sum(axis=0)
    to_h = back[0] + error @ weights["v"]
    to_c = back[1] + to_h * o * (1 - squashed**2)
    parts = to_c * g * i * (1 - i), to_h * squashed * o * (1 - o), to_c * c * f * (1 - f), to_c * i * (1 - g**2)
    z = np.concatenate(parts, axis=1)
    made["w"] += z.T @ x
    made["r"] += z.T @ h
    made["b"] += z.sum(axis=0)
    return z @ weights["r"], to_c * f
