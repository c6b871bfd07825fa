"""A small convolutional network in plain numpy: forward, backward, Adam.

Arrays are float32 in NCHW order. A layer keeps what its own backward pass needs between one `forward` and
the next `backward`, so a network is trained by one caller at a time.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float32]


class Layer(Protocol):
    """One step of the network, with its parameters and their gradients in the same order."""

    parameters: list[Array]
    gradients: list[Array]

    def forward(self, x: Array) -> Array:
        """Return the output for a batch and remember what `backward` needs."""

    def backward(self, upstream: Array) -> Array:
        """Return the gradient of the input and fill `gradients`, from the gradient of the output."""


class Conv:
    """Convolution with a square kernel, stride 1, no padding: [n, c, h, w] to [n, f, h-k+1, w-k+1]."""

    def __init__(self, rng: np.random.Generator, channels: int, filters: int, kernel: int) -> None:
        scale = np.sqrt(2.0 / (channels * kernel * kernel))
        weight = rng.normal(0.0, scale, (filters, channels, kernel, kernel)).astype(np.float32)
        self.parameters = [weight, np.zeros(filters, np.float32)]
        self.gradients = [np.zeros_like(p) for p in self.parameters]

    def forward(self, x: Array) -> Array:
        """Gather the windows as columns (im2col) and multiply once."""
        weight, bias = self.parameters
        filters, channels, kernel, _ = weight.shape
        windows = sliding_window_view(x, (kernel, kernel), axis=(2, 3))
        n, _, rows, columns = windows.shape[:4]
        self._input_shape = x.shape
        self._columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, channels * kernel * kernel)
        flat = self._columns @ weight.reshape(filters, -1).T + bias
        return np.ascontiguousarray(flat.reshape(n, rows, columns, filters).transpose(0, 3, 1, 2))

    def backward(self, upstream: Array) -> Array:
        """Scatter the windows' gradients back onto the input (col2im)."""
        weight, _ = self.parameters
        filters, channels, kernel, _ = weight.shape
        n, _, rows, columns = upstream.shape
        flat = upstream.transpose(0, 2, 3, 1).reshape(-1, filters)
        self.gradients = [(flat.T @ self._columns).reshape(weight.shape), flat.sum(axis=0)]
        windows = (flat @ weight.reshape(filters, -1)).reshape(n, rows, columns, channels, kernel, kernel)
        result = np.zeros(self._input_shape, np.float32)
        for i in range(kernel):
            for j in range(kernel):
                result[:, :, i : i + rows, j : j + columns] += windows[..., i, j].transpose(0, 3, 1, 2)
        return result


class Relu:
    """Negative values become zero."""

    def __init__(self) -> None:
        self.parameters: list[Array] = []
        self.gradients: list[Array] = []

    def forward(self, x: Array) -> Array:
        """Keep which values were positive."""
        self._mask = x > 0
        return x * self._mask

    def backward(self, upstream: Array) -> Array:
        """Let the gradient through where the input was positive."""
        return upstream * self._mask


class MaxPool:
    """The largest of each block of 2 by 2: [n, c, h, w] to [n, c, h/2, w/2], for even h and w."""

    def __init__(self) -> None:
        self.parameters: list[Array] = []
        self.gradients: list[Array] = []

    def forward(self, x: Array) -> Array:
        """Keep where the largest value was."""
        n, c, h, w = x.shape
        blocks = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5)
        blocks = blocks.reshape(n, c, h // 2, w // 2, 4)
        self._where = blocks.argmax(axis=4)[..., None]
        return np.take_along_axis(blocks, self._where, axis=4)[..., 0]

    def backward(self, upstream: Array) -> Array:
        """Give the gradient to the value that won its block."""
        n, c, h, w = upstream.shape
        blocks = np.zeros((n, c, h, w, 4), np.float32)
        np.put_along_axis(blocks, self._where, upstream[..., None], axis=4)
        return blocks.reshape(n, c, h, w, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h * 2, w * 2)


class Dense:
    """Fully connected: flattens all but the first axis, [n, …] to [n, size]."""

    def __init__(self, rng: np.random.Generator, inputs: int, size: int) -> None:
        weight = rng.normal(0.0, np.sqrt(2.0 / inputs), (size, inputs)).astype(np.float32)
        self.parameters = [weight, np.zeros(size, np.float32)]
        self.gradients = [np.zeros_like(p) for p in self.parameters]

    def forward(self, x: Array) -> Array:
        """Multiply by the weights and add the bias."""
        self._shape = x.shape
        self._flat = x.reshape(len(x), -1)
        scores: Array = self._flat @ self.parameters[0].T + self.parameters[1]
        return scores

    def backward(self, upstream: Array) -> Array:
        """Return the gradient in the shape the input had."""
        self.gradients = [upstream.T @ self._flat, upstream.sum(axis=0)]
        return (upstream @ self.parameters[0]).reshape(self._shape)


class Adam:
    """Kingma and Ba (2015), with its usual constants."""

    def __init__(self, layers: list[Layer], rate: float) -> None:
        self.layers = layers
        self.rate = rate
        self._step = 0
        self._first = [[np.zeros_like(p) for p in layer.parameters] for layer in layers]
        self._second = [[np.zeros_like(p) for p in layer.parameters] for layer in layers]

    def step(self) -> None:
        """Move each parameter against its gradient."""
        self._step += 1
        rate = self.rate * np.sqrt(1 - 0.999**self._step) / (1 - 0.9**self._step)
        for layer, firsts, seconds in zip(self.layers, self._first, self._second, strict=True):
            for i, gradient in enumerate(layer.gradients):
                firsts[i] += 0.1 * (gradient - firsts[i])
                seconds[i] += 0.001 * (gradient * gradient - seconds[i])
                layer.parameters[i] -= (rate * firsts[i] / (np.sqrt(seconds[i]) + 1e-8)).astype(np.float32)


def predict(layers: list[Layer], x: Array) -> Array:
    """Return the scores (logits) of a batch, [n, classes]."""
    for layer in layers:
        x = layer.forward(x)
    return x


def train_step(layers: list[Layer], optimiser: Adam, x: Array, labels: NDArray[np.int64]) -> float:
    """Run one batch forward and back and move the parameters; return its mean cross-entropy."""
    scores = predict(layers, x)
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    chances = shifted / shifted.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = float(-np.log(chances[rows, labels] + 1e-12).mean())
    gradient = chances.copy()
    gradient[rows, labels] -= 1
    gradient /= np.float32(len(labels))
    for layer in reversed(layers):
        gradient = layer.backward(gradient)
    optimiser.step()
    return loss
