"""What is served: two versions of a model, a few inputs, and what each version answers to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from changeover.demo import digits
from models import large_cnn, mnist
from rig import say

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Model:
    """A model in two versions; version n has the bytes and answers of `(n - 1) % 2`.

    Attributes:
        inputs: samples on the first axis, each of which is one request's tensor less its first dimension of 1.
        shape: of the input as the model declares it, -1 for any.
        width: values in one answer.
    """

    name: str
    files: tuple[bytes, bytes]
    input: str
    output: str
    shape: tuple[int, ...]
    width: int
    inputs: Array
    answers: tuple[Array, Array]

    def file(self, version: int) -> bytes:
        """The ONNX file of a version."""
        return self.files[(version - 1) % 2]

    def expected(self, versions: int) -> dict[str, Array]:
        """What the versions 1 to `versions` answer to each sample."""
        return {str(n): self.answers[(n - 1) % 2] for n in range(1, versions + 1)}

    @property
    def tolerance(self) -> float:
        """How far an answer may be off: well below the difference between the two versions."""
        return 1e-3 * float(np.abs(self.answers[0]).max())


def small() -> Model:
    """The classic MNIST CNN where the test data is at hand, else the package's digits CNN."""
    classic = mnist()
    if classic is None:
        say("the MNIST CNN is not at hand: the package's digits CNN stands in for it")
        files = digits.model_bytes("1"), digits.model_bytes("2")
        return _model("digits", files, digits.load_samples().inputs()[:8])
    images = np.random.default_rng(7).integers(0, 256, (8, 1, 28, 28)).astype(np.float32)
    return _model("mnist", (classic, classic), images)


def large() -> Model:
    """A CNN of 47 MB and some 15 ms. Its inputs are eighths: short as JSON too."""
    inputs = (np.random.default_rng(3).integers(0, 8, (8, 256, 8, 8)) / 8).astype(np.float32)
    return _model("large_cnn", (large_cnn(1), large_cnn(2)), inputs)


def _model(name: str, files: tuple[bytes, bytes], inputs: Array) -> Model:
    first, second = (_session(data) for data in files)
    given, made = first.get_inputs()[0], first.get_outputs()[0]
    shape = tuple(d if isinstance(d, int) else -1 for d in given.shape)
    answers = _answers(first, given.name, inputs), _answers(second, given.name, inputs)
    return Model(name, files, given.name, made.name, shape, answers[0].shape[1], inputs, answers)


def _session(data: bytes) -> ort.InferenceSession:
    return ort.InferenceSession(data, providers=["CPUExecutionProvider"])


def _answers(session: ort.InferenceSession, name: str, inputs: Array) -> Array:
    rows = [np.asarray(session.run(None, {name: sample[None]})[0]) for sample in inputs]
    return np.concatenate(rows)
